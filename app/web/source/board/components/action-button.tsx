// A button that stays focusable while it is disabled, and says why it is.

import { useId, type ReactNode } from "react";

interface Props {
  readonly children: ReactNode;
  /** Why the action is not possible; null if it is. */
  readonly disabledReason: string | null;
  readonly isBusy?: boolean;
  readonly onPress: () => void;
}

export function ActionButton({ children, disabledReason, isBusy = false, onPress }: Props) {
  const id = useId();
  const isDisabled = disabledReason !== null || isBusy;
  return (
    <span className="action">
      <button
        type="button"
        aria-disabled={isDisabled}
        aria-describedby={disabledReason === null ? undefined : id}
        onClick={() => !isDisabled && onPress()}
      >
        {children}
        {isBusy && "…"}
      </button>
      {disabledReason !== null && (
        <small id={id} className="disabled-reason">
          {disabledReason}
        </small>
      )}
    </span>
  );
}
