// Starts the board.

import { StrictMode } from "react";
import { createRoot } from "react-dom/client";
import { Router } from "wouter";

import "./styles/index.css";
import "./shared";
import { App } from "./app";
import { BOARD_PATH } from "./config";

const root = createRoot(document.getElementById("board")!, {
  onCaughtError: () => undefined, // the panel shows it
});
root.render(
  <StrictMode>
    <Router base={BOARD_PATH}>
      <App />
    </Router>
  </StrictMode>,
);
