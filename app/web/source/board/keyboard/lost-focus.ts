// Moves the focus near the place of the element that had it, when that element is removed.

import { useEffect } from "react";

/** Elements that take the focus: what replaces the removed one, else the heading of a part or of the page. */
const SUCCESSORS = ["[data-next-focus=true]", ":is(h1, h2)[tabindex='-1']"];
/** Rows that scrolling removes; the browser continues at their place. */
const VIRTUAL_ROW = "[data-index]";

export function useLostFocus(): void {
  useEffect(() => {
    /** The element that has the focus and those around it, from the inside; empty if none has it. */
    let focused: readonly Element[] = [];

    function remember({ target }: FocusEvent): void {
      focused = target instanceof Element ? [target, ...ancestors(target)] : [];
    }

    function move(): void {
      const [lost, ...around] = focused;
      if (!lost || lost.isConnected || document.activeElement !== document.body) return;
      if (lost.closest(VIRTUAL_ROW)) return;
      const successors = around
        .filter((element) => element.isConnected)
        .flatMap((element) => SUCCESSORS.map((selector) => element.querySelector<HTMLElement>(selector)));
      successors.find(Boolean)?.focus({ preventScroll: true });
    }

    const observer = new MutationObserver(move);
    observer.observe(document.body, { childList: true, subtree: true });
    document.addEventListener("focusin", remember);
    return () => {
      observer.disconnect();
      document.removeEventListener("focusin", remember);
    };
  }, []);
}

function ancestors(element: Element): Element[] {
  const parent = element.parentElement;
  return parent ? [parent, ...ancestors(parent)] : [];
}
