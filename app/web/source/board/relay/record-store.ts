// The store of Relay, and what it still has of views that the user has left.

import { RecordSource, Store, type IEnvironment } from "relay-runtime";

/** Number of views that stay in the store after the user has left them. */
const RETAINED_QUERIES = 20;

export function createStore(): Store {
  return new Store(new RecordSource(), { gcReleaseBufferSize: RETAINED_QUERIES });
}

/** Removes what no view uses from the store. */
export function removeUnused(environment: IEnvironment): void {
  const store = environment.getStore();
  if (store instanceof Store) store.scheduleGC();
}
