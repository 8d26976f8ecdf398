// Lists of results that several pages link to or count, as views. `resultsPath` makes the link, `destinationFilter` the
// filter of the API.
// Fields of a view that are left out have the default of its list.

import { ALL_RESULTS, type ResultsView } from "./results";

/** What waits for its due time or a retry, the earliest due time first. */
export function queuedResults(view: Partial<ResultsView>): ResultsView {
  return { ...ALL_RESULTS, status: ["QUEUED"], order: "SCHEDULED_FOR", direction: "ASC", ...view };
}

/** What waits on an account, as its `queuedCount`: without drafts, and without imported posts outside mirrors. */
export function waitingOnAccount(accountId: number): ResultsView {
  return queuedResults({ account: [accountId], flag: "awaitsOutcome" });
}

/** What a publisher has now, as `boardCounts` count it. */
export const PUBLISHING_RESULTS: Partial<ResultsView> = { status: ["PUBLISHING"], flag: "awaitsOutcome" };

/** What this server will publish by a time, as `boardCounts` count it: without imported posts. */
export function dueBy(to: Date, view: Partial<ResultsView>): ResultsView {
  return queuedResults({ ...view, to, flag: "notImported" });
}

/** Results by the time at which they failed or became unknown, which `from` and `to` limit; the latest first. */
export function resultsByFailure(view: Partial<ResultsView>): ResultsView {
  const timeField = view.from || view.to ? "failed" : ALL_RESULTS.timeField;
  return { ...ALL_RESULTS, order: "FAILED_AT", timeField, ...view };
}

/** What failed or was cancelled, the latest first. */
export function failedResults(view: Partial<ResultsView>): ResultsView {
  return resultsByFailure({ ...view, outcome: ["FAILED"] });
}

/** What is failed now on an account, as its `openFailures` count: without cancelled ones. */
export function openFailuresOfAccount(accountId: number): ResultsView {
  return failedResults({ account: [accountId], flag: "notCancelled" });
}

/** What failed on an account because its platform rejected the access or the account could not post. */
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
