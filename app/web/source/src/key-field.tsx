// The field for the API key, and beside it what the server says of the key.

import { useId } from "react";

import type { Access, Verdict } from "./access";
import { DEMO_KEY, KEY_PREFIX } from "./config";

export function KeyField({ access }: { access: Access }) {
  const id = useId();
  const { key, setKey, verdict } = access;
  return (
    <div className="key" data-verdict={verdict.kind}>
      <label htmlFor={id}>API key</label>
      <input
        id={id}
        value={key}
        placeholder={`${KEY_PREFIX}…`}
        spellCheck={false}
        autoComplete="off"
        aria-invalid={verdict.kind === "malformed" || verdict.kind === "refused"}
        aria-describedby={`${id}-verdict`}
        onChange={(event) => setKey(event.target.value.trim())}
      />
      <output id={`${id}-verdict`}>
        {sentence(verdict)}
        {key === DEMO_KEY && verdict.kind === "accepted" && " · demo key"}
      </output>
    </div>
  );
}

function sentence(verdict: Verdict): string {
  switch (verdict.kind) {
    case "missing":
      return "Enter a key. `post-results keys create` makes one.";
    case "malformed":
      return `A key is ${KEY_PREFIX} followed by 32 digits of 0-9 and a-f.`;
    case "checking":
      return "Checking …";
    case "accepted":
      return `Workspace ${verdict.workspace}: ${scopes(verdict.scopes)}`;
    case "refused":
      return verdict.reason;
  }
}

function scopes(names: string[]): string {
  return names.map((name) => name.toLowerCase().replace("_", ":")).join(", ");
}
