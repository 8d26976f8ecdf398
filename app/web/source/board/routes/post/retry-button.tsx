// Retries the post on one account, or says why it cannot be retried.

import { graphql, useFragment } from "react-relay/hooks";

import type { retryButton_destination$key } from "../../relay/__generated__/retryButton_destination.graphql";
import type { retryButtonMutation } from "../../relay/__generated__/retryButtonMutation.graphql";
import { ActionButton } from "../../components/action-button";
import { showNotice, showResult } from "../../components/notices";
import { useShortcuts } from "../../keyboard/shortcuts";
import { useIdempotentMutation } from "../../relay/idempotency";
import { hasResponse } from "../../relay/server-error";
import { useViewer, writeObstacle } from "../../session/viewer";
import { refusalFix } from "../../text/reasons";

interface Props {
  readonly destination: retryButton_destination$key;
  /** True if the key `r` presses the button. */
  readonly hasKey?: boolean;
  /** Called after the retry; the button then disappears. */
  readonly onRetried?: () => void;
}

export function RetryButton({ destination, hasKey = false, onRetried }: Props) {
  const data = useFragment(
    graphql`
      fragment retryButton_destination on Destination {
        accountId
        postId
        status
        retryRefusal
        retryFix
      }
    `,
    destination,
  );
  const viewer = useViewer();
  const [retry, isBusy] = useRetry((result, isRetried) => {
    (isRetried ? showResult : showNotice)(result);
    if (isRetried) onRetried?.();
  });
  const { retryRefusal, retryFix } = data;
  const obstacle =
    writeObstacle(viewer) ?? (retryRefusal && retryFix ? refusalFix(retryRefusal, retryFix) : null);
  useShortcuts(hasKey && obstacle === null && !isBusy ? { r: () => retry(data) } : {});
  if (data.status !== "FAILED") return null;
  return (
    <ActionButton obstacle={obstacle} isBusy={isBusy} onPress={() => retry(data)}>
      Retry
    </ActionButton>
  );
}

interface Target {
  readonly postId: string;
  readonly accountId: number;
}

/** A function that retries a post on one account and reports the result as a sentence. */
export function useRetry(
  report: (result: string, isRetried: boolean) => void,
): [retry: (target: Target) => void, isBusy: boolean] {
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
  function retry({ postId, accountId }: Target): void {
    send(
      { postId, accountIds: [accountId] },
      {
        onCompleted: ({ retryPost }) => {
          const [decision] = retryPost?.retries ?? [];
          if (decision?.retried) report("It is queued again.", true);
          else report(`It was not retried. ${decision?.fix ?? ""}`, false);
        },
        onError: (error) =>
          report(
            hasResponse(error)
              ? `It was not retried. ${error.message}`
              : `It is not known whether it was retried. ${error.message}`,
            false,
          ),
      },
    );
  }
  return [retry, isBusy];
}
