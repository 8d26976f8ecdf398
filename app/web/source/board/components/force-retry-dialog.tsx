// Confirms the retry of an unknown outcome without a check, which may publish the post twice.

import { useState } from "react";

import { Dialog } from "./dialog";
import { UserText } from "./user-text";
import { plainText } from "../text/characters";

interface Props {
  readonly account: string;
  readonly isBusy: boolean;
  readonly onConfirm: () => void;
  readonly onClose: () => void;
}

export function ForceRetryDialog({ account, isBusy, onConfirm, onClose }: Props) {
  const [typed, setTyped] = useState("");
  const isDisabled = isBusy || typed.trim() !== plainText(account).trim();
  return (
    <Dialog title="Retry without a check?" onClose={onClose}>
      <p className="problem">
        We do not know whether the post went out. If it did, a retry publishes it a second time. Look on the
        platform first, and say what you found.
      </p>
      <label>
        To retry it all the same, type the name of the account, “
        <UserText text={account} />”
        <input value={typed} onChange={(event) => setTyped(event.target.value)} autoComplete="off" spellCheck={false} />
      </label>
      <div className="buttons">
        <button
          type="button"
          className="danger"
          aria-disabled={isDisabled}
          onClick={() => !isDisabled && onConfirm()}
        >
          Retry without a check
        </button>
        <button type="button" onClick={onClose}>
          Close
        </button>
      </div>
    </Dialog>
  );
}
