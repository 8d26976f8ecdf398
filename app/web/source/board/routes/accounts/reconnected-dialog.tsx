// Notes that an account has access again.

import { useState } from "react";
import { graphql } from "react-relay/hooks";

import type { reconnectedDialogMutation } from "../../relay/__generated__/reconnectedDialogMutation.graphql";
import { Dialog } from "../../components/dialog";
import { ErrorPanel } from "../../components/error-panel";
import { showResult } from "../../components/notices";
import { UserText } from "../../components/user-text";
import { useIdempotentMutation } from "../../relay/idempotency";
import { instantOf } from "../../text/times";
import { useZone } from "../../text/zone";

interface Props {
  readonly accountId: number;
  readonly name: string;
  readonly onClose: () => void;
  readonly onReconnected: () => void;
}

export function ReconnectedDialog({ accountId, name, onClose, onReconnected }: Props) {
  const zone = useZone();
  const [expiry, setExpiry] = useState("");
  const [error, setError] = useState<Error | null>(null);
  const [send, isBusy] = useIdempotentMutation<reconnectedDialogMutation>(graphql`
    mutation reconnectedDialogMutation($input: MarkReconnectedInput!) {
      markReconnected(input: $input) {
        account {
          ...changes_account
          ...accountHeader_account
        }
      }
    }
  `);

  function mark(): void {
    const tokenExpiresAt = instantOf(expiry, zone)?.toISOString() ?? null;
    send(
      { accountId, tokenExpiresAt },
      {
        onCompleted: () => {
          showResult("The account is marked as reconnected.");
          onReconnected();
        },
        onError: setError,
      },
    );
  }

  return (
    <Dialog title="Is the account connected again?" onClose={onClose}>
      <p>
        This only notes that <UserText text={name} /> has access again. Connect it first in the software that
        publishes. Posts that are due go out from then on; what failed before stays failed until you bring it
        back.
      </p>
      <label>
        The access ends (leave it empty if that is not known; {zone})
        <input type="datetime-local" value={expiry} onChange={(event) => setExpiry(event.target.value)} />
      </label>
      {error && <ErrorPanel error={error} />}
      <div className="buttons">
        <button type="button" className="primary" aria-disabled={isBusy} onClick={() => !isBusy && mark()}>
          Mark reconnected
        </button>
        <button type="button" onClick={onClose}>
          Leave as it is
        </button>
      </div>
    </Dialog>
  );
}
