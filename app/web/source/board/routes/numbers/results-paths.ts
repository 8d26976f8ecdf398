// Links from the statistics to the results that they count.

import type { NumbersView } from "../../url/numbers";
import { members } from "../../url/parameters";
import { failedResults, resultsByFailure } from "../../url/result-lists";
import { CATEGORIES, resultsPath, type ResultsView } from "../../url/results";
import type { Period } from "./period";

type Filter = Partial<Pick<ResultsView, "platform" | "account">>;

export interface ResultsPaths {
  readonly published: string;
  /** Published results, the latest first. */
  readonly late: string;
  readonly failed: string;
  readonly unknown: string;
  /** What failed or ended with an unknown outcome. */
  readonly bad: string;
  readonly userCaused: string;
  readonly failedWith: (category: string) => string;
}

/** Links to the results of the period, with the filter of the view and that of one group. */
export function resultsPaths(
  { platform, account }: NumbersView,
  { from, to }: Pick<Period, "from" | "to">,
  group: Filter = {},
): ResultsPaths {
  const filter = { platform, account, ...group, from, to };
  const published = { ...filter, status: ["PUBLISHED"], timeField: "settled" } as const;
  return {
    published: resultsPath({ ...published, order: "PUBLISHED_AT" }),
    late: resultsPath({ ...published, order: "LATENESS" }),
    failed: resultsPath(failedResults(filter)),
    unknown: resultsPath(resultsByFailure({ ...filter, outcome: ["UNKNOWN"] })),
    bad: resultsPath(resultsByFailure({ ...filter, outcome: ["FAILED", "UNKNOWN"] })),
    userCaused: resultsPath(failedResults({ ...filter, category: ["AUTH", "CONTENT_REJECTED"] })),
    failedWith: (category) =>
      resultsPath(failedResults({ ...filter, category: members(CATEGORIES, [category]) })),
  };
}
