// Filters of the activity ↔ search parameters. Values that make no sense are ignored.

import { formatParameters, members, readList, readText, readUuid } from "./parameters";

export const CHANGE_TYPES = [
  "POST_CREATED",
  "POST_CHANGED",
  "POST_DELETED",
  "DESTINATION_ADDED",
  "DESTINATION_CHANGED",
  "DESTINATION_REMOVED",
  "DESTINATION_DUPLICATED",
  "ACCOUNT_CONNECTED",
  "ACCOUNT_CHANGED",
  "PUBLISHER_MISUSED",
  "WEBHOOK_DISABLED",
] as const;

export type ChangeType = (typeof CHANGE_TYPES)[number];

export interface ActivityView {
  /** Types that are shown; all if it is empty. */
  readonly types: readonly ChangeType[];
  /** Name of the person who made the change; null for all. */
  readonly person: string | null;
  /** Id of the API key of the change; null for all. */
  readonly key: string | null;
}

export function parseActivity(search: string): ActivityView {
  const parameters = new URLSearchParams(search);
  return {
    types: members(CHANGE_TYPES, readList(parameters, "types")),
    person: readText(parameters, "person") || null,
    key: readUuid(parameters, "key"),
  };
}

/** Link to the activity of a view, below the board. */
export function activityPath({ types, person, key }: ActivityView): string {
  return `/activity${formatParameters({ types, person, key })}`;
}
