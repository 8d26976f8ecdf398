// Reads objects of the store again by their ids.

import { fetchQuery, type Environment } from "relay-runtime";

import { changedObjectsQuery } from "../live/changes";
import type { changesObjectsQuery } from "./__generated__/changesObjectsQuery.graphql";

/** Limit of the field `nodes`. */
export const MAX_NODES = 100;

/** Makes one request at a time, and returns the ids of objects that no longer exist; raises ServerError. */
export async function readObjects(environment: Environment, ids: readonly string[]): Promise<string[]> {
  const missing: string[] = [];
  for (let start = 0; start < ids.length; start += MAX_NODES) {
    const requested = ids.slice(start, start + MAX_NODES);
    const query = fetchQuery<changesObjectsQuery>(environment, changedObjectsQuery, { ids: requested });
    const found = (await query.toPromise())?.nodes ?? [];
    missing.push(...requested.filter((_, index) => !found[index]));
  }
  return missing;
}
