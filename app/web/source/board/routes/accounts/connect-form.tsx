// The form of a platform's credentials. Its fields belong to the browser, so they keep what was typed.

import { useId, type ReactNode } from "react";

import { ErrorMessage } from "../../components/error-panel";
import type { ConnectInput } from "./connect-account";

/** Properties of the form of each platform. */
export interface PlatformFormProps {
  /** True for an account that is not connected yet. */
  readonly isNew: boolean;
  readonly isBusy: boolean;
  readonly error: Error | null;
  readonly onSubmit: (connection: ConnectInput, newSecret?: string) => void;
  readonly onError: (error: Error | null) => void;
  readonly onClose: () => void;
}

/** Texts of the fields that are not empty, by their names. */
type Texts = Readonly<Record<string, string>>;

interface FormProps {
  /** Label of the button that sends the texts. */
  readonly verb: string;
  readonly isBusy: boolean;
  readonly error: Error | null;
  readonly onSubmit: (texts: Texts) => void;
  readonly onClose: () => void;
  readonly children: ReactNode;
}

export function ConnectForm({ verb, isBusy, error, onSubmit, onClose, children }: FormProps) {
  return (
    <form
      className="webhook-form"
      onSubmit={(event) => {
        event.preventDefault();
        if (!isBusy) onSubmit(textsOf(event.currentTarget));
      }}
    >
      {children}
      {error && <ErrorMessage error={error} />}
      <div className="buttons">
        <button type="submit" className="primary" aria-disabled={isBusy}>
          {verb}
          {isBusy && "…"}
        </button>
        <button type="button" onClick={() => !isBusy && onClose()} aria-disabled={isBusy}>
          Close
        </button>
      </div>
    </form>
  );
}

function textsOf(form: HTMLFormElement): Texts {
  const entries = [...new FormData(form)].map(([name, text]) => [name, String(text).trim()] as const);
  return Object.fromEntries(entries.filter(([, text]) => text !== ""));
}

interface FieldProps {
  readonly label: string;
  readonly hint?: string;
  readonly name: string;
  /** `password` for secrets. */
  readonly type?: "text" | "url" | "password";
  readonly initial?: string;
  readonly isOptional?: boolean;
}

export function Field({ label, hint, name, type = "text", initial = "", isOptional = false }: FieldProps) {
  const id = useId();
  return (
    <div className="field">
      <label>
        {isOptional ? `${label} (optional)` : label}
        <input
          name={name}
          type={type}
          defaultValue={initial}
          required={!isOptional}
          autoComplete="off"
          autoCapitalize="none"
          spellCheck={false}
          aria-describedby={hint && id}
        />
      </label>
      {hint && (
        <small id={id} className="muted">
          {hint}
        </small>
      )}
    </div>
  );
}

export function NameField({ initial = "" }: { readonly initial?: string }) {
  return <Field label="Name in this workspace" name="accountName" initial={initial} isOptional />;
}
