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
  const word = copied === value ? "Copied" : "Copy";

  function copy(): void {
    field.current!.select();
    // Browsers offer the clipboard over https only, and may refuse it; the selected text can be copied by hand.
    navigator.clipboard?.writeText(value).then(
      () => setCopied(value),
      () => undefined,
    );
  }

  return (
    <div className="copy-field">
      <label htmlFor={id}>{label}</label>
      <textarea ref={field} id={id} readOnly rows={rows} value={value} spellCheck={false} />
      <button type="button" aria-label={`${word}: ${label}`} onClick={copy}>
        {word}
      </button>
    </div>
  );
}
