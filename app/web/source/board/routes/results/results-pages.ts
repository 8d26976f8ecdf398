// The loaded pages of the results. Pages after the first one are read from the store once: in a connection of Relay,
// showing a further page takes time for all rows before it.

import { useState } from "react";
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
import { useStore, ValueStore } from "../../store";

type Page = NonNullable<resultsPagesQuery$data["destinations"]>;
type Row = Page["edges"][number]["node"];

interface FurtherPages {
  /** The variables of the list, and the end of its first page. */
  readonly key: string;
  readonly pages: readonly Page[];
  /** Keep the objects of the pages in the store of Relay. */
  readonly retained: readonly Disposable[];
  readonly isLoadingNext: boolean;
}

const NO_PAGES = { pages: [], retained: [], isLoadingNext: false };

/** The further pages of one list: of the one that loaded such a page last, which shows them at its next visit. */
const furtherPages = new ValueStore<FurtherPages>({ key: "", ...NO_PAGES });

const pageQuery = graphql`
  query resultsPagesQuery($filter: DestinationFilter!, $orderBy: DestinationOrder!, $after: String!) {
    destinations(first: 50, after: $after, filter: $filter, orderBy: $orderBy) {
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

interface ResultsPages {
  readonly rows: readonly Row[];
  readonly hasNext: boolean;
  readonly isLoadingNext: boolean;
  /** Why the next page could not be loaded. */
  readonly loadError: Error | null;
  readonly loadNext: () => void;
}

/** Returns the rows of the first page and of those loaded after it. When the first page changes, only it remains. */
export function useResultsPages(
  first: Page | null | undefined,
  variables: resultsListQuery$variables,
): ResultsPages {
  const environment = useRelayEnvironment();
  const stored = useStore(furtherPages);
  const [loadError, setLoadError] = useState<Error | null>(null);
  const key = JSON.stringify([variables, first?.pageInfo.endCursor]);
  const further = stored.key === key ? stored : { key, ...NO_PAGES };
  const pages = first ? [first, ...further.pages] : [];
  const end = pages.at(-1)?.pageInfo;

  function loadNext(): void {
    if (further.isLoadingNext || !end?.endCursor) return;
    if (further !== stored) stored.retained.forEach((page) => page.dispose());
    const pageVariables = { ...variables, after: end.endCursor };
    const operation = createOperationDescriptor(getRequest(pageQuery), pageVariables);
    const retained = [...further.retained, environment.retain(operation)];
    const loading: FurtherPages = { ...further, retained, isLoadingNext: true };
    furtherPages.set(loading);
    setLoadError(null);

    /** Without effect if another list loads pages meanwhile. */
    function finish(loaded: readonly Page[]): void {
      if (furtherPages.value === loading) furtherPages.set({ ...loading, pages: loaded, isLoadingNext: false });
    }

    fetchQuery<resultsPagesQuery>(environment, pageQuery, pageVariables).subscribe({
      next: ({ destinations: page }) => page && finish([...further.pages, page]),
      error: (error: Error) => {
        setLoadError(error);
        finish(further.pages);
      },
    });
  }

  return {
    rows: pages.flatMap(({ edges }) => edges.map(({ node }) => node)),
    hasNext: end?.hasNextPage ?? false,
    isLoadingNext: further.isLoadingNext,
    loadError,
    loadNext,
  };
}
