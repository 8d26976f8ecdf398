// Moves the focus to what replaces the element that had it.

import { useLayoutEffect, useRef, type RefObject } from "react";

/** Gives the element of the ref the focus when it is shown, unless the user came by a link. */
export function useFocusAtFirst<T extends HTMLElement>(takesFocus: boolean): RefObject<T | null> {
  const element = useRef<T>(null);
  // A layout effect, so that it takes no focus from what a key has chosen since.
  useLayoutEffect(() => {
    if (takesFocus) element.current?.focus();
  }, []); // only at first: later, the user decides where the focus is
  return element;
}
