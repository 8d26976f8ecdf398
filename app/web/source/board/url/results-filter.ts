// The filter of the API, in GraphQL and REST, for a view of the results.

import type { DestinationFilter } from "../relay/__generated__/resultsListQuery.graphql";
import type { ResultsView } from "./results";

export function destinationFilter(view: ResultsView): DestinationFilter {
  const nonEmpty = <T>(list: readonly T[]) => (list.length > 0 ? [...list] : undefined);
  return withoutAbsent({
    status: nonEmpty(view.status),
    outcome: nonEmpty(view.outcome),
    errorCategory: nonEmpty(view.category),
    platform: nonEmpty(view.platform),
    accountId: nonEmpty(view.account),
    errorCode: nonEmpty(view.code),
    failureGroup: nonEmpty(view.group),
    search: view.q || undefined,
    reference: view.reference || undefined,
    ...(view.flag && { [view.flag]: true }),
    [`${view.period}After`]: view.from?.toISOString(),
    [`${view.period}Before`]: view.to?.toISOString(),
  });
}

const ENUM_FIELDS = ["status", "outcome", "errorCategory"];

/** Search parameters of `/v1/destinations.csv` with the same filter: its names and words are those of REST. */
export function restParameters(filter: DestinationFilter): URLSearchParams {
  const parameters = new URLSearchParams();
  for (const [field, value] of Object.entries(filter)) {
    const name = field.replace(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`);
    const text = Array.isArray(value) ? value.join(",") : String(value);
    parameters.set(name, ENUM_FIELDS.includes(field) ? text.toLowerCase() : text);
  }
  return parameters;
}

function withoutAbsent(filter: Record<string, unknown>): DestinationFilter {
  return Object.fromEntries(Object.entries(filter).filter(([, value]) => value !== undefined));
}
