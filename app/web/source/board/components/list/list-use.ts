// Detects that the pointer or the focus is in a list, so that its rows stay where they are.

import { useEffect, useState } from "react";

export interface ListUse {
  readonly isInUse: boolean;
  /** Event handlers of the elements that contain the rows. */
  readonly handlers: {
    readonly onPointerEnter: () => void;
    readonly onPointerLeave: () => void;
    readonly onFocus: () => void;
    readonly onBlur: () => void;
  };
}

export function useListUse(): ListUse {
  const [hasPointer, setPointer] = useState(false);
  const [hasFocus, setFocus] = useState(false);
  // Browsers report no blur of an element that is removed, such as the button that clears the selection.
  useEffect(() => {
    if (hasFocus && document.activeElement === document.body) setFocus(false);
  });
  return {
    isInUse: hasPointer || hasFocus,
    handlers: {
      onPointerEnter: () => setPointer(true),
      onPointerLeave: () => setPointer(false),
      onFocus: () => setFocus(true),
      onBlur: () => setFocus(false),
    },
  };
}
