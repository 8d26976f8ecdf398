// Detects rows that joined or left a list, whose rows stay in place while the user is in it.

import { useEffect, useEffectEvent, useState } from "react";
import type { Observable } from "relay-runtime";

import { differenceOf, NO_DIFFERENCE, type Difference, type Head } from "../../live/list-difference";
import { showRefreshError } from "../../relay/live-query";
import { automaticRequestDelay } from "../../relay/rate-limit";

interface Options {
  readonly rows: readonly { readonly id: string }[];
  /** Number of rows that `readHead` asks for. */
  readonly headSize: number;
  /** Reads the first rows as the server has them now, without disturbing the list. */
  readonly readHead: () => Observable<Head | null | undefined>;
  /** Replaces the rows in the store, so that the previous ones stay visible until the response arrives. */
  readonly readRows: () => Observable<unknown>;
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
  readHead,
  readRows,
  isInUse,
  mayReplace,
}: Options): ListUpdates {
  const [difference, setDifference] = useState<Difference>(NO_DIFFERENCE);
  const setHead = useEffectEvent((head: Head) => setDifference(differenceOf(rows, head, headSize)));

  function compare(): void {
    readHead().subscribe({
      next: (head) => head && setHead(head),
      error: showRefreshError,
    });
  }

  function showNew(): void {
    readRows().subscribe({ complete: () => setDifference(NO_DIFFERENCE), error: showRefreshError });
  }

  useEffect(() => {
    if (!isInUse && difference.isDifferent && mayReplace() && automaticRequestDelay() === 0) showNew();
  }, [isInUse, difference]);

  return { difference, compare, showNew };
}
