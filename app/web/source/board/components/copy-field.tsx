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
  const [copied, setCopied] = useState<string | null>(null);
  const [selected, setSelected] = useState<string | null>(null);
  const word = copied === value ? "Copied" : "Copy";

  function copy(): void {
    field.current!.focus();
    field.current!.select();
    // Browsers offer the clipboard over https only, and may refuse it.
    const isWritten = navigator.clipboard?.writeText(value) ?? Promise.reject();
    isWritten.then(() => setCopied(value), copySelection);
  }

  /** Copies without the API of the clipboard; if that fails too, the user can copy the selected text. */
  function copySelection(): void {
    if (document.execCommand("copy")) setCopied(value);
    else setSelected(value);
  }

  return (
    <div className="copy-field">
      <label htmlFor={id}>{label}</label>
      <textarea ref={field} id={id} readOnly rows={rows} value={value} spellCheck={false} />
      <button type="button" aria-label={`${word}: ${label}`} onClick={copy}>
        {word}
      </button>
      <small role="status">{selected === value && "Selected: press Ctrl+C."}</small>
    </div>
  );
}
