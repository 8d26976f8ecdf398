// Lists of results that several pages link to or count, as views: the link and the filter of the API are made of one.

import { ALL_RESULTS, type ResultsView } from "./results";

type Changes = Partial<ResultsView>;

/** What waits for its due time or a retry, the earliest due time first. */
export function queuedResults(changes: Changes): ResultsView {
  return { ...ALL_RESULTS, status: ["QUEUED"], order: "SCHEDULED_FOR", direction: "ASC", ...changes };
}

/** Results by the time at which they failed or became unknown, which `from` and `to` limit; the latest first. */
export function resultsByFailure(changes: Changes): ResultsView {
  const period = changes.from || changes.to ? "failed" : ALL_RESULTS.period;
  return { ...ALL_RESULTS, order: "FAILED_AT", period, ...changes };
}

/** What failed, the latest failure first. */
export function failedResults(changes: Changes): ResultsView {
  return resultsByFailure({ ...changes, outcome: ["FAILED"] });
}

/** What failed on an account because its platform rejected the access. */
export function failedWithoutAccess(accountId: number): ResultsView {
  return failedResults({ account: [accountId], category: ["AUTH"] });
}

/** What failed or became unknown on an account since a time. */
export function failedOrUnknown(accountId: number, since: string): ResultsView {
  return resultsByFailure({ account: [accountId], status: ["FAILED"], from: new Date(since) });
}

/** The results of a group of failures since a time; null for any time. */
export function resultsOfGroup(groupKey: string, since: string | null): ResultsView {
  return resultsByFailure({ group: [groupKey], from: since === null ? null : new Date(since) });
}
