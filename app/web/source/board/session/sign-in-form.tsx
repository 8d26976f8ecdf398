// Exchanges an API key for a session.

import { useRef, useState, type FormEvent } from "react";

import { DEMO_KEY, KEY_PREFIX } from "../config";
import { ServerError } from "../relay/server-error";
import { recordUse } from "./idle";
import { signIn, type SignInInput } from "./session-store";

interface Props {
  /** Called after sign-in; returns false if the server does not see the session. */
  readonly onSignedIn: () => Promise<boolean>;
}

const NO_COOKIE = "This browser did not store the session cookie. Allow cookies for this page.";
const KEY_DIGITS = 32;

/** Removes what people copy together with a key: spaces and quotes. */
function trimKey(text: string): string {
  return text
    .trim()
    .replace(/^["']+|["']+$/g, "")
    .trim();
}

/** Why a text cannot be a key, so that it is not sent; null if it can. */
function keyProblem(key: string): string | null {
  const digits = key.slice(KEY_PREFIX.length);
  const isKey = key.startsWith(KEY_PREFIX) && digits.length === KEY_DIGITS && /^[0-9a-f]+$/.test(digits);
  return isKey ? null : `A key is ${KEY_PREFIX} followed by ${KEY_DIGITS} digits of 0-9 and a-f.`;
}

export function SignInForm({ onSignedIn }: Props) {
  const keyField = useRef<HTMLInputElement>(null);
  const [problem, setProblem] = useState<string | null>(null);
  const [isBusy, setBusy] = useState(false);

  async function send(input: SignInInput): Promise<void> {
    setBusy(true);
    try {
      await signIn(input);
      recordUse();
      setProblem((await onSignedIn()) ? null : NO_COOKIE);
    } catch (error) {
      if (!(error instanceof ServerError)) throw error;
      setProblem(error.message);
    } finally {
      setBusy(false);
    }
  }

  function submit(event: FormEvent<HTMLFormElement>): void {
    event.preventDefault();
    const fields = new FormData(event.currentTarget);
    const key = trimKey(String(fields.get("key")));
    const found = keyProblem(key);
    setProblem(found);
    if (found || isBusy) return;
    keyField.current!.value = "";
    const access = fields.get("access");
    void send({
      key,
      person: String(fields.get("person")).trim(),
      readOnly: access === "read",
      fullAccess: access === "full",
    });
  }

  return (
    <form className="sign-in" onSubmit={submit} noValidate>
      <label>
        API key
        <input
          ref={keyField}
          name="key"
          type="password"
          autoComplete="off"
          spellCheck={false}
          aria-describedby="key-help"
          autoFocus
        />
      </label>
      <p id="key-help" className="muted">
        The operator of this server creates one by <code>post-results keys create</code>. It is used once, and
        not stored in this browser.
      </p>
      <label>
        Your name <span className="muted">(optional; recorded with the changes you make)</span>
        <input name="person" autoComplete="name" maxLength={100} />
      </label>
      <fieldset>
        <legend>This sign-in may</legend>
        <label className="check">
          <input name="access" type="radio" value="act" defaultChecked /> Read and act
        </label>
        <label className="check">
          <input name="access" type="radio" value="read" /> Read only, for instance on a shared screen
        </label>
        <label className="check">
          <input name="access" type="radio" value="full" /> Read, act and publish: all scopes of the key
        </label>
      </fieldset>
      <p role="alert" className="problem">
        {problem}
      </p>
      <div className="buttons">
        <button type="submit" className="primary" aria-disabled={isBusy}>
          Sign in
        </button>
        {DEMO_KEY && (
          <button
            type="button"
            onClick={() => {
              if (!isBusy) void send({ key: DEMO_KEY, person: "", readOnly: false, fullAccess: false });
            }}
          >
            Open the demo
          </button>
        )}
      </div>
      {!window.isSecureContext && (
        <p className="muted">
          This page is not encrypted (http): others on this network can read what you enter.
        </p>
      )}
    </form>
  );
}
