// Detects that the pointer or the focus is in a list, so that its rows stay where they are.

import {
  useCallback,
  useEffect,
  useState,
  type FocusEvent,
  type PointerEvent,
  type RefCallback,
} from "react";

export interface ListInteraction {
  readonly isInUse: boolean;
  /** Properties of the elements that contain the rows. */
  readonly container: {
    readonly ref: RefCallback<Element>;
    readonly onPointerEnter: (event: PointerEvent) => void;
    readonly onPointerLeave: () => void;
    readonly onFocus: (event: FocusEvent) => void;
    readonly onBlur: () => void;
  };
}

export function useListInteraction(): ListInteraction {
  const [pointed, setPointed] = useState<Element | null>(null);
  const [focused, setFocused] = useState<Element | null>(null);
  // Browsers report neither a leaving pointer nor a blur of an element that is removed: here a container, below
  // something in it, such as the button that clears the selection.
  const ref = useCallback(
    (container: Element | null) => () => {
      for (const set of [setPointed, setFocused]) set((before) => (before === container ? null : before));
    },
    [],
  );
  useEffect(() => {
    if (focused && !focused.contains(document.activeElement)) setFocused(null);
  });
  return {
    isInUse: pointed !== null || focused !== null,
    container: {
      ref,
      onPointerEnter: ({ currentTarget }) => setPointed(currentTarget),
      onPointerLeave: () => setPointed(null),
      onFocus: ({ currentTarget }) => setFocused(currentTarget),
      onBlur: () => setFocused(null),
    },
  };
}
