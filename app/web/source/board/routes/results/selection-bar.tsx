// What is selected, and what can be done with it, below the list.

import { useRelayEnvironment } from "react-relay/hooks";

import type { DestinationFilter } from "../../relay/__generated__/resultsListQuery.graphql";
import { ActionButton } from "../../components/action-button";
import { openBulkDialog } from "../../components/bulk/bulk-dialog";
import { cancelAction } from "../../components/bulk/cancel-action";
import { retryAction } from "../../components/bulk/retry-action";
import { measuredHeight } from "../../components/measured-height";
import type { Selection } from "../../components/table/selection";
import { useShortcuts } from "../../keyboard/shortcuts";
import { useViewer, writeObstacle } from "../../session/viewer";
import { cappedNumber, count, type CappedCount } from "../../text/numbers";
import { postFilter, retryObstacle } from "../../url/bulk-filters";

interface Props {
  readonly selection: Selection;
  /** Rows that were selected one by one. */
  readonly selectedRows: readonly SelectedRow[];
  /** Number of all rows of the list. */
  readonly total: CappedCount;
  readonly filter: DestinationFilter;
  /** The filter in words. */
  readonly filterWords: readonly string[];
}

interface SelectedRow {
  readonly destinationId: string;
  readonly postId: string;
}

/** Number of ids that a filter of the API may name. */
const MAX_IDS = 500;
const measuredBar = measuredHeight("--selection-height");
const CANCEL_ALL_OBSTACLE =
  "Select single results, or all that match a text, a reference or a due time only.";

export function SelectionBar({ selection, ...props }: Props) {
  if (selection.isEmpty) return null;
  return (
    <section className="selection-bar" aria-label="Selection" ref={measuredBar}>
      <strong>
        {selection.isAll
          ? `All ${cappedNumber(props.total)} results that match`
          : `${count(props.selectedRows.length, "result")} selected`}
      </strong>
      <BulkRetryButton selection={selection} {...props} />
      <BulkCancelButton selection={selection} {...props} />
      <button type="button" onClick={selection.clear}>
        Clear
      </button>
    </section>
  );
}

function BulkRetryButton({ selection, selectedRows, filter, filterWords }: Props) {
  const environment = useRelayEnvironment();
  const viewer = useViewer();
  const obstacle =
    writeObstacle(viewer) ?? (selection.isAll ? retryObstacle(filter) : selectionObstacle(selectedRows));

  function retry(): void {
    const ids = selectedRows.map(({ destinationId }) => destinationId);
    openBulkDialog(
      selection.isAll
        ? retryAction(environment, filter, ["All results that match", ...filterWords])
        : retryAction(environment, { destinationId: ids }, [
            `The ${count(ids.length, "result")} that you have selected`,
          ]),
    );
  }

  useShortcuts({ r: () => obstacle === null && retry() });
  return (
    <ActionButton obstacle={obstacle} onPress={retry}>
      Retry…
    </ActionButton>
  );
}

function selectionObstacle(rows: readonly SelectedRow[]): string | null {
  return rows.length > MAX_IDS
    ? `Select at most ${count(MAX_IDS, "result")}, or all that match a filter.`
    : null;
}

function postsObstacle(postIds: readonly string[]): string | null {
  return postIds.length > MAX_IDS ? `Select results of at most ${count(MAX_IDS, "post")}.` : null;
}

function BulkCancelButton({ selection, selectedRows, filter, filterWords }: Props) {
  const environment = useRelayEnvironment();
  const viewer = useViewer();
  const postIds = [...new Set(selectedRows.map(({ postId }) => postId))];
  const chosen = selection.isAll ? postFilter(filter) : { postId: postIds };
  const obstacle =
    writeObstacle(viewer) ??
    (selection.isAll ? (chosen ? null : CANCEL_ALL_OBSTACLE) : postsObstacle(postIds));

  function cancel(): void {
    const words = selection.isAll
      ? ["All posts that match", ...filterWords]
      : [`The ${count(postIds.length, "post")} whose results you have selected`];
    if (chosen) openBulkDialog(cancelAction(environment, chosen, words));
  }

  useShortcuts({ c: () => obstacle === null && cancel() });
  return (
    <ActionButton obstacle={obstacle} onPress={cancel}>
      Cancel posts…
    </ActionButton>
  );
}
