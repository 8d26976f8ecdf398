// The last step of a dialog that has made a secret, which is shown only here.

import { useEffect, useRef, type ReactNode } from "react";

import { CopyField } from "../../components/copy-field";

interface Props {
  readonly secret: string;
  /** Advice of the server. */
  readonly warning: string;
  readonly onClose: () => void;
  /** Further advice. */
  readonly children?: ReactNode;
}

export function SecretStep({ secret, warning, onClose, children }: Props) {
  const sentence = useRef<HTMLParagraphElement>(null);
  useEffect(() => sentence.current?.focus(), []); // the button that had it is gone
  return (
    <>
      <p ref={sentence} tabIndex={-1} className="fix">
        {warning}
      </p>
      <CopyField label="Secret" value={secret} rows={2} />
      <p className="muted">The receiver verifies with it that requests come from this server.</p>
      {children}
      <div className="buttons">
        <button type="button" className="primary" onClick={onClose}>
          I have stored it
        </button>
      </div>
    </>
  );
}
