// The filter of the API, in GraphQL and REST, for a view of the results.

import type { DestinationFilter } from "../relay/__generated__/resultsListQuery.graphql";
import { accountCriteria } from "./account-filter";
import { withoutEmpty } from "./parameters";
import type { FLAGS, ResultsView } from "./results";

const FLAG_FILTERS = {
  overdue: { overdue: true },
  retrying: { retrying: true, overdue: false },
  duplicated: { duplicated: true },
} satisfies Record<(typeof FLAGS)[number], DestinationFilter>;

export function destinationFilter(view: ResultsView): DestinationFilter {
  return withoutEmpty({
    status: view.status,
    outcome: view.outcome,
    errorCategory: view.category,
    ...accountCriteria(view),
    errorCode: view.code,
    failureGroup: view.group,
    search: view.q,
    reference: view.reference,
    ...(view.flag && FLAG_FILTERS[view.flag]),
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
