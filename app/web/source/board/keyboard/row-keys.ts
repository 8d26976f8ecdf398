// Keys that move the focus between the rows of a page whose rows are not a virtual table.

import { useShortcuts } from "./shortcuts";

/** Lets `j` and `k` move the focus between the elements that match the selector; Enter opens them if they are links. */
export function useRowKeys(selector: string): void {
  function move(step: number): void {
    const rows = [...document.querySelectorAll<HTMLElement>(selector)];
    const index = rows.findIndex((row) => row === document.activeElement);
    const next = index === -1 ? 0 : index + step;
    rows[Math.min(rows.length - 1, Math.max(0, next))]?.focus();
  }
  useShortcuts({ j: () => move(1), k: () => move(-1) });
}
