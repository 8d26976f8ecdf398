// Renders the page.

import "graphiql/style.css";
import "@graphiql/plugin-explorer/style.css";
import "./page.css";
import "./workers";

import { createRoot } from "react-dom/client";

import { ROOT } from "./config";
import { Page } from "./page";

createRoot(ROOT).render(<Page />);
