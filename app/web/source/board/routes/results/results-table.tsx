// The rows of the results, read in pages as the user scrolls.

import { useEffect } from "react";
import { graphql, useFragment, useRelayEnvironment } from "react-relay/hooks";
import { useLocation } from "wouter";

import type { resultsListQuery$variables } from "../../relay/__generated__/resultsListQuery.graphql";
import type { resultsTable_destination$key } from "../../relay/__generated__/resultsTable_destination.graphql";
import type { resultsTable_query$key } from "../../relay/__generated__/resultsTable_query.graphql";
import { EmptyList } from "./empty-list";
import { SelectionBar } from "./selection-bar";
import { openBulkDialog } from "../../components/bulk/bulk-dialog";
import { retryAction } from "../../components/bulk/retry-action";
import { useListInteraction } from "../../components/list/list-interaction";
import { FOCUSED_MORE_BUTTON, ListBar, MoreButton } from "../../components/list/list-parts";
import { showNotice } from "../../components/notices";
import { useSelection } from "../../components/table/selection";
import { VirtualTable } from "../../components/table/virtual-table";
import { useShortcuts } from "../../keyboard/shortcuts";
import { readFragment } from "../../relay/read-fragment";
import { useViewer, writeDeniedReason } from "../../session/viewer";
import { truncated } from "../../text/characters";
import { plainAccountLabel, postLabel } from "../../text/labels";
import { totalOf } from "../../text/numbers";
import { postPath } from "../../url/paths";
import type { ResultsView } from "../../url/results";
import { lastOpenedId, recordList, recordOpenedRow, selectionToRestore } from "./last-results";
import { RESULT_HEADINGS, ResultRow } from "./result-row";
import { useResultsUpdates } from "./results-updates";
import { usePageLoadState, useResultsPages, type ResultsPages } from "./results-pages";

/** Length of the text of a post in the dialog of its retry. */
const POST_LABEL_LENGTH = 100;

/** What actions need of one row. It is read on demand, because the list reads all of its rows with each page. */
const rowFragment = graphql`
  fragment resultsTable_destination on Destination {
    destinationId
    postId
    platform
    accountName
    platformPostUrl
    post {
      content
      reference
    }
  }
`;

interface Props {
  readonly query: resultsTable_query$key;
  readonly view: ResultsView;
  /** The filter in words. */
  readonly filterWords: readonly string[];
  readonly variables: resultsListQuery$variables;
}

export function ResultsTable({ query, view, filterWords, variables }: Props) {
  const data = useFragment(
    graphql`
      fragment resultsTable_query on Query
      @argumentDefinitions(
        filter: { type: "DestinationFilter!" }
        orderBy: { type: "DestinationOrder!" }
        count: { type: "Int!" }
      ) {
        destinations(first: $count, filter: $filter, orderBy: $orderBy) {
          edges {
            node {
              id
              postId
              ...resultsTable_destination
              ...resultRow_destination
            }
          }
          pageInfo {
            endCursor
            hasNextPage
          }
        }
        total: destinations(first: 1, filter: $filter) {
          totalCountCapped
          totalCountIsCapped
        }
      }
    `,
    query,
  );
  const pages = useResultsPages(data.destinations, variables);
  const { rows } = pages;
  const environment = useRelayEnvironment();
  const viewer = useViewer();
  const [, navigate] = useLocation();
  const selection = useSelection(selectionToRestore());
  const interaction = useListInteraction();
  const isInUse = interaction.isInUse || !selection.isEmpty;
  const { difference, showNew } = useResultsUpdates({ rows, variables, isInUse, selection });
  const total = difference.total ?? totalOf(data.total);

  const readRow = (row: resultsTable_destination$key) => readFragment(environment, rowFragment, row);

  function retry(row: (typeof rows)[number]): void {
    const deniedReason = writeDeniedReason(viewer);
    if (deniedReason !== null) return showNotice(deniedReason);
    const { destinationId, accountName, platform, post } = readRow(row);
    const words = [plainAccountLabel(accountName, platform), truncated(postLabel(post), POST_LABEL_LENGTH)];
    openBulkDialog(retryAction(environment, { destinationId: [destinationId] }, words));
  }

  function loadNextAtEnd(): void {
    // More rows would push what has the focus out of the window.
    if (!document.querySelector(FOCUSED_MORE_BUTTON)) pages.loadNextAutomatically();
  }

  useEffect(() => recordList(rows, selection));

  useShortcuts({
    ...(difference.newCount > 0 && { ".": showNew }),
    ...(rows.length > 0 && { "*": selection.addAll }),
  });

  if (rows.length === 0)
    return <EmptyList view={view} hasNew={difference.newCount > 0} onShowNew={showNew} />;
  return (
    <div {...interaction.container}>
      <ListBar total={total} newCount={difference.newCount} onShowNew={showNew}>
        {!selection.isAll && (
          <button type="button" className="select-all" onClick={selection.addAll}>
            Select all
          </button>
        )}
      </ListBar>
      <VirtualTable
        label="Results"
        className="results-table"
        headings={RESULT_HEADINGS}
        rows={rows}
        rowCount={total.capped ? -1 : total.count}
        selection={selection}
        unmatchedIds={difference.unmatchedIds}
        initialId={lastOpenedId()}
        onOpen={(row) => {
          recordOpenedRow(row);
          navigate(postPath(row.postId));
        }}
        onRetry={retry}
        externalUrl={(row) => readRow(row).platformPostUrl}
        onEnd={loadNextAtEnd}
      >
        {(row) => (
          <ResultRow
            destination={row}
            isSelected={selection.has(row.id)}
            onToggle={selection.toggle}
            isUnmatched={difference.unmatchedIds.has(row.id)}
          />
        )}
      </VirtualTable>
      {pages.hasNext && <MorePages pages={pages} />}
      <SelectionBar
        selection={selection}
        selectedRows={rows.filter(({ id }) => selection.ids.has(id)).map(readRow)}
        total={total}
        filter={variables.filter}
        filterWords={filterWords}
      />
    </div>
  );
}

/** The button for the next page. Only it is rendered when loading starts, because that of the rows takes longer. */
function MorePages({ pages }: { readonly pages: ResultsPages }) {
  const { isLoading, error } = usePageLoadState(pages);
  return (
    <MoreButton
      loadedCount={pages.rows.length}
      isLoading={isLoading}
      error={error}
      onPress={pages.loadNext}
    />
  );
}
