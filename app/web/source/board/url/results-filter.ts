// What the API, in GraphQL and REST, is asked for a view of the results.

import type { DestinationFilter, DestinationOrder } from "../relay/__generated__/resultsListQuery.graphql";
import { accountCriteria } from "./account-filter";
import { withoutEmpty } from "./parameters";
import type { FLAGS, ResultsView } from "./results";

export const FLAG_FILTERS = {
  overdue: { overdue: true },
  retrying: { retrying: true, overdue: false },
  duplicated: { duplicated: true },
  invalidContent: { invalidContent: true },
  mediaWarning: { mediaWarning: true },
  cancelled: { cancelled: true },
  notCancelled: { cancelled: false },
  awaitsOutcome: { awaitsOutcome: true },
  notImported: { imported: false },
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
    [`${view.timeField}After`]: view.from?.toISOString(),
    [`${view.timeField}Before`]: view.to?.toISOString(),
  });
}

interface ResultsVariables {
  readonly filter: DestinationFilter;
  readonly orderBy: DestinationOrder;
}

/** Variables of the queries of the results. */
export function resultsVariables(view: ResultsView): ResultsVariables {
  return { filter: destinationFilter(view), orderBy: { field: view.order, direction: view.direction } };
}

const ENUM_FIELDS = ["status", "outcome", "errorCategory"];

/** Path of the results as CSV, below that of the server. The names and words of the filter are those of REST. */
export function csvPath(view: ResultsView): string {
  const parameters = new URLSearchParams();
  for (const [field, value] of Object.entries(destinationFilter(view))) {
    const name = field.replace(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`);
    const text = Array.isArray(value) ? value.join(",") : String(value);
    parameters.set(name, ENUM_FIELDS.includes(field) ? text.toLowerCase() : text);
  }
  return `/v1/destinations.csv?${parameters}`;
}
