// Compares the rows of a list with those that match its filter now.

import { totalOf, type CappedCount } from "../text/numbers";

/** The first rows of a list as the server has them now, and their number. */
export interface Head {
  readonly totalCountCapped?: number | null | undefined;
  readonly totalCountIsCapped?: boolean | null | undefined;
  readonly nodes: readonly { readonly id: string }[];
}

export interface Difference {
  /** Number of rows of the new first page that the list does not show. */
  readonly newCount: number;
  /** Ids of rows that the list shows in its first page, although they no longer match. */
  readonly leftIds: ReadonlySet<string>;
  readonly isDifferent: boolean;
  /** Number of all rows now; null if it was not read again. */
  readonly total: CappedCount | null;
}

export const NO_DIFFERENCE: Difference = { newCount: 0, leftIds: new Set(), isDifferent: false, total: null };

/**
 * Compares the list with its first page as the server has it now. Behind a full first page, a row may just have
 * moved down, so only a first page that contains all rows shows which have left.
 */
export function differenceOf(
  rows: readonly { readonly id: string }[],
  head: Head,
  pageSize: number,
): Difference {
  const shown = new Set(rows.map(({ id }) => id));
  const current = new Set(head.nodes.map(({ id }) => id));
  const isComplete = current.size < pageSize;
  const leftIds = new Set(isComplete ? [...shown].filter((id) => !current.has(id)) : []);
  const newCount = [...current].filter((id) => !shown.has(id)).length;
  const isDifferent =
    newCount > 0 || leftIds.size > 0 || head.nodes.some(({ id }, index) => rows[index]?.id !== id);
  return { newCount, leftIds, isDifferent, total: totalOf(head) };
}
