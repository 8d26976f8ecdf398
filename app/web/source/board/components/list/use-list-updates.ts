// Detects new and unmatched rows of a list, whose rows stay in place while the user is in it.

import { useEffect, useEffectEvent, useState } from "react";
import type { Observable } from "relay-runtime";

import { showRefreshError } from "../../relay/live-query";
import { automaticRequestDelay } from "../../relay/rate-limit";
import { differenceOf, NO_DIFFERENCE, type Difference, type ListHead } from "./list-difference";

interface Options {
  readonly rows: readonly { readonly id: string }[];
  /** Number of rows that `fetchHead` asks for. */
  readonly headSize: number;
  /** Reads the head, without disturbing the list. */
  readonly fetchHead: () => Observable<ListHead | null | undefined>;
  /** Replaces the rows in the store, so that the previous ones stay visible until the response arrives. */
  readonly refetchRows: () => Observable<unknown>;
  /** True while the user is in the list, whose rows are then not replaced automatically. */
  readonly isInUse: boolean;
  /** Further condition of an automatic replacement. */
  readonly mayReplace: () => boolean;
}

export interface ListUpdates {
  readonly difference: Difference;
  /** Reads the head, and compares it with the rows. */
  readonly compare: () => void;
  /** Replaces the rows by those that match now. */
  readonly showNew: () => void;
}

export function useListUpdates({
  rows,
  headSize,
  fetchHead,
  refetchRows,
  isInUse,
  mayReplace,
}: Options): ListUpdates {
  const [difference, setDifference] = useState<Difference>(NO_DIFFERENCE);
  const setHead = useEffectEvent((head: ListHead) => setDifference(differenceOf(rows, head, headSize)));

  function compare(): void {
    fetchHead().subscribe({
      next: (head) => head && setHead(head),
      error: showRefreshError,
    });
  }

  function showNew(): void {
    refetchRows().subscribe({ complete: () => setDifference(NO_DIFFERENCE), error: showRefreshError });
  }

  useEffect(() => {
    if (!isInUse && difference.isDifferent && mayReplace() && automaticRequestDelay() === 0) showNew();
  }, [isInUse, difference]);

  return { difference, compare, showNew };
}
