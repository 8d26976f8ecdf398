// A modal dialog: the browser holds the focus in it and returns the focus afterwards.

import { useEffect, useId, useLayoutEffect, useRef, type ReactNode } from "react";

interface Props {
  readonly title: string;
  readonly children: ReactNode;
  /** Called after Escape; a dialog without it stays open. */
  readonly onClose?: () => void;
}

export function Dialog({ title, children, onClose }: Props) {
  const dialog = useRef<HTMLDialogElement>(null);
  const titleId = useId();
  useEffect(() => {
    // Also after a render: browsers close a dialog on a repeated Escape without asking.
    if (!dialog.current!.open) dialog.current!.showModal();
  });
  // A layout effect, which ends before the element is removed: a removed dialog does not return the focus.
  useLayoutEffect(() => {
    const element = dialog.current!;
    return () => element.close();
  }, []);
  return (
    <dialog
      ref={dialog}
      aria-labelledby={titleId}
      closedby={onClose ? "closerequest" : "none"}
      onCancel={(event) => {
        event.preventDefault();
        onClose?.();
      }}
      onClose={({ currentTarget }) => {
        if (onClose) onClose();
        else if (currentTarget.isConnected) currentTarget.showModal();
      }}
    >
      <h2 id={titleId}>{title}</h2>
      {children}
    </dialog>
  );
}

/** The button of a dialog that only shows something. */
export function CloseButton({ onClose }: { readonly onClose: () => void }) {
  return (
    <div className="buttons">
      <button type="button" onClick={onClose}>
        Close
      </button>
    </div>
  );
}
