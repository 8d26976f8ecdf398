// Publishes what waited too long for a reconnection, and retries what failed without access.

import { useEffect, useState } from "react";
import { graphql, useRelayEnvironment } from "react-relay/hooks";

import type { retryAfterReconnectDialogCountMutation } from "../../relay/__generated__/retryAfterReconnectDialogCountMutation.graphql";
import type { retryAfterReconnectDialogMutation } from "../../relay/__generated__/retryAfterReconnectDialogMutation.graphql";
import { Dialog } from "../../components/dialog";
import { ErrorPanel } from "../../components/error-panel";
import { showResult } from "../../components/notices";
import { UserText } from "../../components/user-text";
import { useIdempotentMutation } from "../../relay/idempotency";
import { mutate } from "../../relay/mutate";
import { count, wasOrWere } from "../../text/numbers";

interface Props {
  readonly accountId: number;
  readonly name: string;
  readonly onClose: () => void;
}

const countMutation = graphql`
  mutation retryAfterReconnectDialogCountMutation($input: RetryAfterReconnectInput!) {
    retryAfterReconnect(input: $input) {
      matchingCount
    }
  }
`;

export function RetryAfterReconnectDialog({ accountId, name, onClose }: Props) {
  const environment = useRelayEnvironment();
  const [matching, setMatching] = useState<number | null>(null);
  const [retried, setRetried] = useState(0);
  const [error, setError] = useState<Error | null>(null);
  const [send, isBusy] = useIdempotentMutation<retryAfterReconnectDialogMutation>(graphql`
    mutation retryAfterReconnectDialogMutation($input: RetryAfterReconnectInput!) {
      retryAfterReconnect(input: $input) {
        retriedCount
        hasMore
      }
    }
  `);

  useEffect(() => {
    let isClosed = false;
    mutate<retryAfterReconnectDialogCountMutation>(environment, countMutation, {
      input: { accountId, dryRun: true },
    }).then(
      (response) => isClosed || setMatching(response.retryAfterReconnect?.matchingCount ?? 0),
      (refusal: Error) => isClosed || setError(refusal),
    );
    return () => {
      isClosed = true;
    };
  }, [accountId, environment, retried]);

  function retry(): void {
    send(
      { accountId },
      {
        onCompleted: ({ retryAfterReconnect: payload }) => {
          const total = retried + (payload?.retriedCount ?? 0);
          setError(null);
          if (payload?.hasMore) {
            setMatching(null);
            setRetried(total);
            return;
          }
          showResult(`${count(total, "post")} ${wasOrWere(total)} queued again.`);
          onClose();
        },
        onError: setError,
      },
      retried,
    );
  }

  return (
    <Dialog title="Publish what waited" onClose={onClose}>
      <p>
        Posts on <UserText text={name} /> that were less than one hour late are published automatically. The
        others wait, until they fail 24 hours after they were due.
      </p>
      <p aria-live="polite">
        {matching === null
          ? !error && "Counting…"
          : matching === 0
            ? "No post waits, and none has failed without access."
            : `${count(matching, "post")} waited longer, or failed without access.`}
        {retried > 0 && ` ${count(retried, "post")} ${wasOrWere(retried)} queued again.`}
      </p>
      {error && <ErrorPanel error={error} />}
      <div className="buttons">
        {matching !== null && matching > 0 && (
          <button type="button" className="primary" aria-disabled={isBusy} onClick={() => !isBusy && retry()}>
            Publish {count(matching, "post")}
          </button>
        )}
        <button type="button" onClick={onClose}>
          Leave as it is
        </button>
      </div>
    </Dialog>
  );
}
