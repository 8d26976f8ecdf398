// Links from the statistics to the results that they count.

import type { NumbersView } from "../../url/numbers";
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
  const published = {
    platform,
    account,
    ...group,
    status: ["PUBLISHED"],
    period: "published",
    from,
    to,
  } as const;
  const ended = { platform, account, ...group, period: "failed", from, to, order: "FAILED_AT" } as const;
  return {
    published: resultsPath({ ...published, order: "PUBLISHED_AT" }),
    late: resultsPath({ ...published, order: "LATENESS" }),
    failed: resultsPath({ ...ended, outcome: ["FAILED"] }),
    unknown: resultsPath({ ...ended, outcome: ["UNKNOWN"] }),
    bad: resultsPath({ ...ended, outcome: ["FAILED", "UNKNOWN"] }),
    userCaused: resultsPath({ ...ended, outcome: ["FAILED"], category: ["AUTH", "CONTENT_REJECTED"] }),
    failedWith: (category) =>
      resultsPath({
        ...ended,
        outcome: ["FAILED"],
        category: CATEGORIES.filter((name) => name === category),
      }),
  };
}
