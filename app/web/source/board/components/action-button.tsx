// A button that stays focusable while its action is not possible, and says why it is not.

import { useId, type ReactNode } from "react";

interface Props {
  readonly children: ReactNode;
  /** Reason why the action is not possible; null if it is. */
  readonly obstacle: string | null;
  readonly isBusy?: boolean;
  readonly onPress: () => void;
}

export function ActionButton({ children, obstacle, isBusy = false, onPress }: Props) {
  const id = useId();
  const isDisabled = obstacle !== null || isBusy;
  return (
    <span className="action">
      <button
        type="button"
        aria-disabled={isDisabled}
        aria-describedby={obstacle === null ? undefined : id}
        onClick={() => !isDisabled && onPress()}
      >
        {children}
        {isBusy && "…"}
      </button>
      {obstacle !== null && (
        <small id={id} className="obstacle">
          {obstacle}
        </small>
      )}
    </span>
  );
}
