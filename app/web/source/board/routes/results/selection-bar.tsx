// What is selected, and what can be done with it, below the list.

import { useRelayEnvironment } from "react-relay/hooks";
import type { Environment } from "relay-runtime";

import type { PostFilter } from "../../relay/__generated__/cancelActionMutation.graphql";
import type { DestinationFilter } from "../../relay/__generated__/resultsListQuery.graphql";
import { ActionButton } from "../../components/action-button";
import type { BulkAction } from "../../components/bulk/bulk-action";
import { openBulkDialog } from "../../components/bulk/bulk-dialog";
import { cancelAction } from "../../components/bulk/cancel-action";
import { retryAction } from "../../components/bulk/retry-action";
import { createHeightRef } from "../../components/height-ref";
import type { Selection } from "../../components/table/selection";
import { useShortcuts } from "../../keyboard/shortcuts";
import { useViewer, writeDeniedReason } from "../../session/viewer";
import { cappedNumber, count, type CappedCount } from "../../text/numbers";
import { postFilter, retryDisabledReason, retryExceptions } from "../../url/bulk-filters";

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

interface SelectionTargets {
  readonly name: string;
  readonly results: Target<DestinationFilter>;
  /** The posts of the results. */
  readonly posts: Target<PostFilter>;
}

/** What an action changes, as a filter and in words; or why it cannot. */
type Target<Filter> =
  { readonly filter: Filter; readonly words: readonly string[] } | { readonly disabledReason: string };

/** Number of ids that a filter of the API may name. */
const MAX_IDS = 500;
const barRef = createHeightRef("--selection-height");

export function SelectionBar({ selection, selectedRows, total, filter, filterWords }: Props) {
  if (selection.isEmpty) return null;
  const { name, results, posts } = selection.isAll
    ? allThatMatch(total, filter, filterWords)
    : singleRows(selectedRows);
  return (
    <section className="selection-bar" aria-label="Selection" ref={barRef}>
      <strong>{name}</strong>
      <BulkButton name="Retry…" shortcut="r" target={results} createAction={retryAction} />
      <BulkButton name="Cancel posts…" shortcut="c" target={posts} createAction={cancelAction} />
      <button type="button" onClick={selection.clear}>
        Clear
      </button>
    </section>
  );
}

function allThatMatch(
  total: CappedCount,
  filter: DestinationFilter,
  filterWords: readonly string[],
): SelectionTargets {
  const retryReason = retryDisabledReason(filter);
  const posts = postFilter(filter);
  return {
    name: total.count === 1 ? "The 1 result that matches" : `All ${cappedNumber(total)} results that match`,
    results:
      retryReason === null
        ? { filter, words: ["All results that match", ...filterWords, ...retryExceptions(filter)] }
        : { disabledReason: retryReason },
    posts: posts
      ? { filter: posts, words: ["All posts that match", ...filterWords] }
      : { disabledReason: "Select single results, or all that match a text, a reference or a due time only." },
  };
}

function singleRows(rows: readonly SelectedRow[]): SelectionTargets {
  const ids = rows.map(({ destinationId }) => destinationId);
  const postIds = [...new Set(rows.map(({ postId }) => postId))];
  return {
    name: `${count(rows.length, "result")} selected`,
    results:
      ids.length > MAX_IDS
        ? { disabledReason: `Select at most ${count(MAX_IDS, "result")}, or all that match a filter.` }
        : {
            filter: { destinationId: ids },
            words: [`The ${count(ids.length, "result")} that you have selected`],
          },
    posts:
      postIds.length > MAX_IDS
        ? { disabledReason: `Select results of at most ${count(MAX_IDS, "post")}.` }
        : {
            filter: { postId: postIds },
            words: [`The ${count(postIds.length, "post")} whose results you have selected`],
          },
  };
}

interface ButtonProps<Filter> {
  readonly name: string;
  /** Key that presses the button. */
  readonly shortcut: string;
  readonly target: Target<Filter>;
  readonly createAction: (environment: Environment, filter: Filter, words: readonly string[]) => BulkAction;
}

function BulkButton<Filter>({ name, shortcut, target, createAction }: ButtonProps<Filter>) {
  const environment = useRelayEnvironment();
  const deniedReason = writeDeniedReason(useViewer());
  const disabledReason = deniedReason ?? ("disabledReason" in target ? target.disabledReason : null);

  function press(): void {
    if (disabledReason !== null || !("filter" in target)) return;
    openBulkDialog(createAction(environment, target.filter, target.words));
  }

  useShortcuts({ [shortcut]: press }); // also while it is disabled: else the key would act on the row
  return (
    <ActionButton disabledReason={disabledReason} onPress={press}>
      {name}
    </ActionButton>
  );
}
