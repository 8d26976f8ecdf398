// Moves the focus to what replaces the element that had it.

import { useEffect, useRef, type RefObject } from "react";

/** Gives the element of the ref the focus when it is shown, unless the user came by a link. */
export function useFocusAtFirst<T extends HTMLElement>(takesFocus: boolean): RefObject<T | null> {
  const element = useRef<T>(null);
  useEffect(() => {
    if (takesFocus) element.current?.focus();
  }, []); // only at first: later, the user decides where the focus is
  return element;
}
