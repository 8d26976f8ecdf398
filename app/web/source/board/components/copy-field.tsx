// A text to copy.

import { useId, useRef, useState } from "react";

interface Props {
  readonly label: string;
  readonly value: string;
  readonly rows: number;
}

export function CopyField({ label, value, rows }: Props) {
  const id = useId();
  const field = useRef<HTMLTextAreaElement>(null);
  const [last, setLast] = useState<{ readonly value: string; readonly isCopied: boolean } | null>(null);
  const isCopied = last?.value === value ? last.isCopied : null;
  const word = isCopied ? "Copied" : "Copy";

  function copy(): void {
    field.current!.focus();
    field.current!.select();
    // Browsers offer the clipboard over https only, and may refuse it.
    const isWritten = navigator.clipboard?.writeText(value) ?? Promise.reject();
    isWritten.then(() => setLast({ value, isCopied: true }), copySelection);
  }

  /** Copies without the API of the clipboard; if that fails too, the user can copy the selected text. */
  function copySelection(): void {
    setLast({ value, isCopied: document.execCommand("copy") });
  }

  return (
    <div className="copy-field">
      <label htmlFor={id}>{label}</label>
      <textarea ref={field} id={id} readOnly rows={rows} value={value} spellCheck={false} />
      <button type="button" aria-label={`${word}: ${label}`} onClick={copy}>
        {word}
      </button>
      <small role="status">{isCopied === false && "Selected: press Ctrl+C."}</small>
    </div>
  );
}
