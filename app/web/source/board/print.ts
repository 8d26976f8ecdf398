// Printing: the page shows what paper needs while the browser lays it out.

import { flushSync } from "react-dom";

import { ValueStore } from "./store";
import { applyTheme, storedTheme } from "./theme";

/** True while the browser prints. */
export const isPrinting = new ValueStore(false);

window.addEventListener("beforeprint", () => {
  applyTheme("light"); // charts are drawn with the colors of the theme
  flushSync(() => isPrinting.set(true));
});
window.addEventListener("afterprint", () => {
  applyTheme(storedTheme());
  isPrinting.set(false);
});
