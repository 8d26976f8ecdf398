// The field for the API key, with the status of the key beside it.

import { useId } from "react";

import type { Access, KeyStatus } from "./access";
import { DEMO_KEY, KEY_PREFIX } from "./config";

export function KeyField({ access }: { access: Access }) {
  const id = useId();
  const { key, setKey, status } = access;
  return (
    <div className="key" data-status={status.kind}>
      <label htmlFor={id}>API key</label>
      <input
        id={id}
        value={key}
        placeholder={`${KEY_PREFIX}…`}
        spellCheck={false}
        autoComplete="off"
        aria-invalid={status.kind === "malformed" || status.kind === "rejected"}
        aria-describedby={`${id}-status`}
        onChange={(event) => setKey(event.target.value.trim())}
      />
      <output id={`${id}-status`}>
        {formatStatus(status)}
        {key === DEMO_KEY && status.kind === "accepted" && " · demo key"}
      </output>
    </div>
  );
}

function formatStatus(status: KeyStatus): string {
  switch (status.kind) {
    case "missing":
      return "Enter a key. `post-results keys create` makes one.";
    case "malformed":
      return `A key is ${KEY_PREFIX} followed by 32 digits of 0-9 and a-f.`;
    case "checking":
      return "Checking …";
    case "accepted":
      return `Workspace ${status.workspace}: ${formatScopes(status.scopes)}`;
    case "rejected":
      return status.reason;
  }
}

function formatScopes(names: string[]): string {
  return names.map((name) => name.toLowerCase().replace("_", ":")).join(", ");
}
