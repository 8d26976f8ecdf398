// What a filter of results allows to do with everything that it matches.

import type { PostFilter } from "../relay/__generated__/cancelActionMutation.graphql";
import type { DestinationFilter } from "../relay/__generated__/resultsListQuery.graphql";

/** Filters that alone do not limit a retry enough for the API. */
const BROAD_FIELDS = ["status", "outcome"];
/** Filters with which the API retries cancelled results too, unless they exclude them. */
const CANCELLATION_FIELDS = ["cancelled", "errorCode", "failureGroup", "destinationId"] as const;
/** Filters that mean the same for a post and for its results. */
const POST_FIELDS = ["search", "reference", "scheduledAfter", "scheduledBefore"];

/** Why the results that match cannot be retried together, by the rule of the API; null if they can. */
export function retryDisabledReason(filter: DestinationFilter): string | null {
  // False leaves out too little to limit a retry.
  const isNarrow = Object.entries(filter).some(
    ([name, value]) => !BROAD_FIELDS.includes(name) && value !== false,
  );
  return isNarrow
    ? null
    : "Add a filter beside status and outcome first, such as an account, a cause or a period.";
}

/** What a retry of all that match leaves out, in words, by the rule of `retryDestinations`. */
export function retryExceptions(filter: DestinationFilter): readonly string[] {
  const { status, outcome } = filter;
  const includesFailed = (status?.includes("FAILED") ?? true) && (outcome?.includes("FAILED") ?? true);
  const leavesOutCancelled = includesFailed && CANCELLATION_FIELDS.every((name) => filter[name] == null);
  return [
    ...(status == null && outcome == null ? ["Only what has failed"] : []),
    ...(leavesOutCancelled ? ["Cancelled results are left out"] : []),
  ];
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
