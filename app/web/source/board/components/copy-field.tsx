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
  const [isCopied, setCopied] = useState(false);
  const word = isCopied ? "Copied" : "Copy";

  async function copy(): Promise<void> {
    field.current!.select();
    // Browsers offer the clipboard over https only; otherwise the selected text can be copied by hand.
    if (!navigator.clipboard) return;
    await navigator.clipboard.writeText(value);
    setCopied(true);
  }

  return (
    <div className="copy-field">
      <label htmlFor={id}>{label}</label>
      <textarea ref={field} id={id} readOnly rows={rows} value={value} spellCheck={false} />
      <button type="button" aria-label={`${word}: ${label}`} onClick={() => void copy()}>
        {word}
      </button>
    </div>
  );
}
