// What a filter of results allows to do with everything that it matches.

import type { PostFilter } from "../relay/__generated__/cancelActionMutation.graphql";
import type { DestinationFilter } from "../relay/__generated__/resultsListQuery.graphql";

/** Filters that alone do not limit a retry enough for the API. */
const BROAD_FIELDS = ["status", "outcome"];
/** Filters that match failed results only. */
const FAILED_FIELDS = ["cancelled", "failureGroup", "failedAfter", "failedBefore"];
/** Filters that match no failed result. */
const NOT_FAILED_FIELDS = [
  ...["overdue", "retrying", "nextRetryAfter", "nextRetryBefore"],
  ...["duplicated", "publishedAfter", "publishedBefore"],
];
/** Outcomes of failed results. */
const FAILED_OUTCOMES = ["FAILED", "UNKNOWN"];
/** Filters with which the API leaves out no cancelled results. */
const CANCELLATION_FIELDS = ["cancelled", "errorCode", "failureGroup", "destinationId"] as const;
/** Filters that mean the same for a post and for its results. */
const POST_FIELDS = ["search", "reference", "scheduledAfter", "scheduledBefore"];

/** Why the results that match cannot be retried together, by the rule of the API; null if they can. */
export function retryDisabledReason(filter: DestinationFilter): string | null {
  if (!canMatchFailed(filter)) return "Nothing that matches has failed, so there is nothing to retry.";
  return limitingFields(filter).some((name) => !BROAD_FIELDS.includes(name))
    ? null
    : "Add a filter beside status and outcome first, such as an account, a cause or a period.";
}

/** What a retry of all that match leaves out, in words, by the rule of `retryDestinations`. */
export function retryExceptions(filter: DestinationFilter): readonly string[] {
  return [
    ...(filter.status == null && !matchesOnlyFailed(filter) ? ["Only what has failed"] : []),
    ...(leavesOutCancelled(filter) ? ["Cancelled results are left out"] : []),
  ];
}

function canMatchFailed(filter: DestinationFilter): boolean {
  return (
    includes(filter.status, "FAILED") &&
    (filter.outcome ?? FAILED_OUTCOMES).some((outcome) => FAILED_OUTCOMES.includes(outcome)) &&
    !limitingFields(filter).some((name) => NOT_FAILED_FIELDS.includes(name))
  );
}

function matchesOnlyFailed(filter: DestinationFilter): boolean {
  return (
    filter.outcome?.every((outcome) => FAILED_OUTCOMES.includes(outcome)) ||
    limitingFields(filter).some((name) => FAILED_FIELDS.includes(name))
  );
}

/** True if cancelled results may match, and the filter does not decide about them. */
function leavesOutCancelled(filter: DestinationFilter): boolean {
  return (
    CANCELLATION_FIELDS.every((name) => filter[name] == null) &&
    canMatchFailed(filter) &&
    includes(filter.outcome, "FAILED") &&
    includes(filter.errorCategory, "PERMANENT")
  );
}

/** True if a filter by these values, null for none, matches the value. */
function includes<Value>(values: readonly Value[] | null | undefined, value: Value): boolean {
  return values?.includes(value) ?? true;
}

/** Names of the filters that are set; one that is false excludes too little to limit what matches. */
function limitingFields(filter: DestinationFilter): string[] {
  return Object.entries(filter).flatMap(([name, value]) => (value == null || value === false ? [] : [name]));
}

/**
 * Filter of the posts whose results match; null if it would match other posts too. An account or a platform
 * would: it finds posts that are waiting on another account only.
 */
export function postFilter({ status, ...filter }: DestinationFilter): PostFilter | null {
  const names = Object.keys(filter);
  const isAnyOrQueued = status == null || (status.length === 1 && status[0] === "QUEUED");
  return isAnyOrQueued && names.length > 0 && names.every((name) => POST_FIELDS.includes(name))
    ? (filter as PostFilter)
    : null;
}
