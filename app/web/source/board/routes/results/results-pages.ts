// The loaded pages of the results. Pages after the first one are read from the store once: in a connection of Relay,
// showing a further page takes time for all rows before it.

import { useEffect } from "react";
import { useRelayEnvironment } from "react-relay/hooks";
import {
  createOperationDescriptor,
  fetchQuery,
  getRequest,
  graphql,
  type Disposable,
} from "relay-runtime";

import type { resultsListQuery$variables } from "../../relay/__generated__/resultsListQuery.graphql";
import type {
  resultsPagesQuery,
  resultsPagesQuery$data,
} from "../../relay/__generated__/resultsPagesQuery.graphql";
import { automaticRequestDelay } from "../../relay/rate-limit";
import { useStore, ValueStore } from "../../store";

type Page = NonNullable<resultsPagesQuery$data["destinations"]>;
type Row = Page["edges"][number]["node"];

interface FurtherPages {
  /** The variables of the list, and the end of its first page. */
  readonly listKey: string;
  readonly pages: readonly Page[];
  /** Keep the objects of the pages in the store of Relay. */
  readonly retained: readonly Disposable[];
}

/** State of the request of the next page. */
interface PageLoadState {
  readonly isLoading: boolean;
  /** Why the page could not be loaded. */
  readonly error: Error | null;
}

interface ListPageLoadState extends PageLoadState {
  readonly listKey: string;
}

const NOT_LOADING: PageLoadState = { isLoading: false, error: null };

/** The further pages of one list: of the one that loaded such a page last, which shows them at its next visit. */
const furtherPages = new ValueStore<FurtherPages>({ listKey: "", pages: [], retained: [] });

/** State of the last request of a page; apart from the pages, because it is shown without rendering the rows. */
const lastLoadState = new ValueStore<ListPageLoadState>({ listKey: "", ...NOT_LOADING });

const pageQuery = graphql`
  query resultsPagesQuery(
    $filter: DestinationFilter!
    $orderBy: DestinationOrder!
    $count: Int!
    $after: String!
  ) {
    destinations(first: $count, after: $after, filter: $filter, orderBy: $orderBy) {
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
  }
`;

export interface ResultsPages {
  /** Identifies the list. */
  readonly listKey: string;
  readonly rows: readonly Row[];
  readonly hasNext: boolean;
  readonly loadNext: () => void;
  /** Loads the next page if there is one, unless that failed before or the server has asked to wait. */
  readonly loadNextAutomatically: () => void;
}

/** Returns the rows of the first page and of those loaded after it. When the first page changes, only it remains. */
export function useResultsPages(
  first: Page | null | undefined,
  variables: resultsListQuery$variables,
): ResultsPages {
  const environment = useRelayEnvironment();
  const stored = useStore(furtherPages);
  const listKey = JSON.stringify([variables, first?.pageInfo.endCursor]);
  const further = stored.listKey === listKey ? stored : { listKey, pages: [], retained: [] };
  const pages = first ? [first, ...further.pages] : [];
  const end = pages.at(-1)?.pageInfo;

  function loadNext(): void {
    if (!end?.endCursor || loadStateOf(lastLoadState.value, listKey).isLoading) return;
    if (further !== stored) {
      stored.retained.forEach((page) => page.dispose());
      furtherPages.set(further);
    }
    const pageVariables = { ...variables, after: end.endCursor };
    const operation = createOperationDescriptor(getRequest(pageQuery), pageVariables);
    const loadState = { listKey, isLoading: true, error: null };
    lastLoadState.set(loadState);

    /** False if another list loads pages meanwhile. */
    const isCurrent = () => lastLoadState.value === loadState;

    fetchQuery<resultsPagesQuery>(environment, pageQuery, pageVariables).subscribe({
      next: ({ destinations: page }) => {
        if (!page || !isCurrent()) return;
        const retained = [...further.retained, environment.retain(operation)];
        furtherPages.set({ listKey, pages: [...further.pages, page], retained });
      },
      error: (error: Error) => isCurrent() && lastLoadState.set({ listKey, isLoading: false, error }),
      complete: () => isCurrent() && lastLoadState.set({ listKey, ...NOT_LOADING }),
    });
  }

  // The error has no meaning at a later visit.
  useEffect(
    () => () => {
      if (loadStateOf(lastLoadState.value, listKey).error) lastLoadState.set({ listKey, ...NOT_LOADING });
    },
    [listKey],
  );

  const hasNext = end?.hasNextPage ?? false;

  function loadNextAutomatically(): void {
    const hasFailed = loadStateOf(lastLoadState.value, listKey).error !== null;
    if (hasNext && !hasFailed && automaticRequestDelay() === 0) loadNext();
  }

  return {
    listKey,
    rows: pages.flatMap(({ edges }) => edges.map(({ node }) => node)),
    hasNext,
    loadNext,
    loadNextAutomatically,
  };
}

/** Returns the state of the request of the next page, and renders the component again when it changes. */
export function usePageLoadState({ listKey }: ResultsPages): PageLoadState {
  return loadStateOf(useStore(lastLoadState), listKey);
}

function loadStateOf(last: ListPageLoadState, listKey: string): PageLoadState {
  return last.listKey === listKey ? last : NOT_LOADING;
}
