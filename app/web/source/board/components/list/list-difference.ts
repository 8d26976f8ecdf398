// Compares the rows of a list with those that match its filter now.

import { totalOf, type CappedCount } from "../../text/numbers";

/** The first rows of a list as the server has them now, and the number of all its rows. */
export interface ListHead {
  readonly totalCountCapped?: number | null | undefined;
  readonly totalCountIsCapped?: boolean | null | undefined;
  readonly nodes: readonly { readonly id: string }[];
}

export interface Difference {
  /** Number of rows of the head that the list does not show. */
  readonly newCount: number;
  /** Ids of shown rows that no longer match; empty unless the head contains all rows. */
  readonly unmatchedIds: ReadonlySet<string>;
  readonly isDifferent: boolean;
  /** Number of all rows now; null if it was not read again. */
  readonly total: CappedCount | null;
}

export const NO_DIFFERENCE: Difference = {
  newCount: 0,
  unmatchedIds: new Set(),
  isDifferent: false,
  total: null,
};

/**
 * Compares the list with its head, for which `headSize` rows were requested. Behind a full head, a row may just
 * have moved down, so only a head that contains all rows shows which ones no longer match.
 */
export function differenceOf(
  rows: readonly { readonly id: string }[],
  head: ListHead,
  headSize: number,
): Difference {
  const shown = new Set(rows.map(({ id }) => id));
  const current = new Set(head.nodes.map(({ id }) => id));
  const isComplete = current.size < headSize;
  const unmatchedIds = new Set(isComplete ? [...shown].filter((id) => !current.has(id)) : []);
  const newCount = [...current].filter((id) => !shown.has(id)).length;
  const isDifferent =
    newCount > 0 || unmatchedIds.size > 0 || head.nodes.some(({ id }, index) => rows[index]?.id !== id);
  return { newCount, unmatchedIds, isDifferent, total: totalOf(head) };
}
