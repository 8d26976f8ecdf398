// Retries the post on one account, or says why it cannot be retried.

import { useState } from "react";
import { graphql, useFragment } from "react-relay/hooks";

import type { retryButton_destination$key } from "../relay/__generated__/retryButton_destination.graphql";
import type { retryButtonMutation } from "../relay/__generated__/retryButtonMutation.graphql";
import { ActionButton } from "./action-button";
import { showNotice, showResult } from "./notices";
import { useShortcuts } from "../keyboard/shortcuts";
import { useIdempotentMutation } from "../relay/idempotency";
import { isRefusal } from "../relay/server-error";
import { useViewer, writeDeniedReason } from "../session/viewer";
import { accountLabel } from "../text/labels";
import { refusalFix } from "../text/reasons";
import { ForceRetryDialog } from "./force-retry-dialog";

interface Props {
  readonly destination: retryButton_destination$key;
  /** True if the key `r` presses the button. */
  readonly hasKey?: boolean;
}

export function RetryButton({ destination, hasKey = false }: Props) {
  const data = useFragment(
    graphql`
      fragment retryButton_destination on Destination {
        accountId
        accountName
        postId
        status
        attempts
        retryRefusal
        retryFix
      }
    `,
    destination,
  );
  const viewer = useViewer();
  const [isForcing, setForcing] = useState(false);
  const [retry, isBusy] = useRetry((result, isRetried) => {
    (isRetried ? showResult : showNotice)(result);
    setForcing(false);
  });
  const { retryRefusal, retryFix } = data;
  const deniedReason = writeDeniedReason(viewer);
  const disabledReason = deniedReason ?? (retryRefusal && retryFix ? refusalFix(retryRefusal, retryFix) : null);
  useShortcuts(hasKey && disabledReason === null && !isBusy ? { r: () => retry(data) } : {});
  if (data.status !== "FAILED") return null;

  return (
    <div className="buttons">
      <ActionButton disabledReason={disabledReason} isBusy={isBusy} onPress={() => retry(data)}>
        Retry
      </ActionButton>
      {retryRefusal === "OUTCOME_UNKNOWN" && (
        <ActionButton disabledReason={deniedReason} onPress={() => setForcing(true)}>
          Retry without a check…
        </ActionButton>
      )}
      {isForcing && (
        <ForceRetryDialog
          account={accountLabel(data.accountName)}
          isBusy={isBusy}
          onConfirm={() => retry({ ...data, force: true })}
          onClose={() => setForcing(false)}
        />
      )}
    </div>
  );
}

interface RetryTarget {
  readonly postId: string;
  readonly accountId: number;
  /** Number of attempts that the user has seen. */
  readonly attempts?: number;
  /** True to retry an unknown outcome, which may publish the post twice. */
  readonly force?: boolean;
}

/** A function that retries a post on one account and reports the result as a sentence. */
export function useRetry(
  report: (result: string, isRetried: boolean) => void,
): [retry: (target: RetryTarget) => void, isBusy: boolean] {
  const [send, isBusy] = useIdempotentMutation<retryButtonMutation>(graphql`
    mutation retryButtonMutation($input: RetryPostInput!) {
      retryPost(input: $input) {
        retries {
          retried
          fix
          destination {
            ...changes_destination
          }
        }
        post {
          ...changes_post
        }
      }
    }
  `);
  function retry({ postId, accountId, attempts, force = false }: RetryTarget): void {
    send(
      { postId, accountIds: [accountId], force },
      {
        onCompleted: ({ retryPost }) => {
          const [decision] = retryPost?.retries ?? [];
          if (decision?.retried) report("It is queued again.", true);
          else report(`It was not retried. ${decision?.fix ?? ""}`, false);
        },
        onError: (error) =>
          report(
            isRefusal(error)
              ? `It was not retried. ${error.message}`
              : `It is not known whether it was retried. ${error.message}`,
            false,
          ),
      },
      attempts,
    );
  }
  return [retry, isBusy];
}
