// A list of rows that are read in pages: it stays in place while the user is in it, and follows the changes otherwise.

import { useState } from "react";
import type { LoadMoreFn } from "react-relay/hooks";
import type { Observable, OperationType } from "relay-runtime";

import { useShortcuts } from "../../keyboard/shortcuts";
import type { ListHead } from "./list-difference";
import { useListUpdates, type ListUpdates } from "./use-list-updates";

export const PAGE_SIZE = 50;
/** Largest page of the API, and most objects that it reads by their ids. */
export const MAX_PAGE_SIZE = 100;

export interface PagedList<Row> {
  readonly rows: readonly Row[];
  readonly updates: ListUpdates;
  readonly hasMore: boolean;
  readonly isLoadingMore: boolean;
  /** Why no more rows could be loaded. */
  readonly loadError: Error | null;
  readonly loadMore: () => void;
}

interface Options<Row> {
  readonly rows: readonly Row[];
  /** The pagination of the rows by Relay. */
  readonly pagination: {
    readonly hasNext: boolean;
    readonly isLoadingNext: boolean;
    readonly loadNext: LoadMoreFn<OperationType>;
  };
  /** Reads a head of `count` rows, without disturbing the list. */
  readonly fetchHead: (count: number) => Observable<ListHead | null | undefined>;
  /** Replaces the rows in the store by the first `count` ones. */
  readonly refetchRows: (count: number) => Observable<unknown>;
  /** True while rows must not move. */
  readonly isInUse: boolean;
}

export function usePagedList<Row extends { readonly id: string }>({
  rows,
  pagination: { hasNext, isLoadingNext, loadNext },
  fetchHead,
  refetchRows,
  isInUse,
}: Options<Row>): PagedList<Row> {
  const [loadError, setLoadError] = useState<Error | null>(null);
  // Behind a complete list, one more, so that a new last row is noticed.
  const shownCount = hasNext ? rows.length : rows.length + 1;
  const headSize = Math.min(Math.max(shownCount, PAGE_SIZE), MAX_PAGE_SIZE);
  const updates = useListUpdates({
    rows,
    headSize,
    fetchHead: () => fetchHead(headSize),
    refetchRows: () => refetchRows(headSize),
    isInUse,
    mayReplace: () => rows.length <= MAX_PAGE_SIZE,
  });
  useShortcuts(updates.difference.newCount > 0 ? { ".": updates.showNew } : {});

  function loadMore(): void {
    if (isLoadingNext) return;
    setLoadError(null);
    loadNext(PAGE_SIZE, { onComplete: setLoadError });
  }

  return { rows, updates, hasMore: hasNext, isLoadingMore: isLoadingNext, loadError, loadMore };
}
