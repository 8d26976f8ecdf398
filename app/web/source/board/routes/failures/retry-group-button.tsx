// Opens the dialog that retries all failures of a group.

import { graphql, useFragment, useRelayEnvironment } from "react-relay/hooks";

import type { retryGroupButton_group$key } from "../../relay/__generated__/retryGroupButton_group.graphql";
import { ActionButton } from "../../components/action-button";
import { openBulkDialog } from "../../components/bulk/bulk-dialog";
import { retryAction } from "../../components/bulk/retry-action";
import { useViewer, writeDeniedReason } from "../../session/viewer";
import { serverNow } from "../../text/clock";
import { groupWords } from "../../text/filter-words";
import { shortTime } from "../../text/times";
import { useZone } from "../../text/zone";
import { resultsOfGroup } from "../../url/result-lists";
import { destinationFilter } from "../../url/results-filter";

interface Props {
  readonly group: retryGroupButton_group$key;
  /** Time of the earliest failure to retry; null for all. */
  readonly since: string | null;
}

export function RetryGroupButton({ group, since }: Props) {
  const { key, platform, message, retryableCount, diagnosis } = useFragment(
    graphql`
      fragment retryGroupButton_group on FailureGroup {
        key
        platform
        message
        retryableCount
        diagnosis {
          nextAction
        }
      }
    `,
    group,
  );
  const environment = useRelayEnvironment();
  const viewer = useViewer();
  const zone = useZone();

  function retry(): void {
    const words = [
      groupWords(platform, message),
      since ? `Failed since ${shortTime(new Date(since), zone, serverNow())}` : "Failed at any time",
      ...(diagnosis.nextAction === "EDIT_POST"
        ? ["The posts must be changed first: a retry without a change will fail again."]
        : []),
    ];
    openBulkDialog(retryAction(environment, destinationFilter(resultsOfGroup(key, since)), words));
  }

  // Without one to retry, the check of the dialog lists the reasons.
  return (
    <ActionButton disabledReason={writeDeniedReason(viewer)} onPress={retry}>
      {retryableCount === 0 ? "Why none can be retried…" : "Retry all…"}
    </ActionButton>
  );
}
