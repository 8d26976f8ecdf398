// The Relay environment of the page: one store, filled by requests and by the live changes.

import { Environment, Network, requestSubscription } from "relay-runtime";

import type { changesSubscription as ChangesSubscription } from "./__generated__/changesSubscription.graphql";
import { changesSubscription } from "../live/changes";
import { emitReload } from "../live/events";
import { createChangeFeed } from "../live/feed";
import { recordArrival } from "./arrivals";
import { fetchDocument } from "./fetch";
import { MAX_NODES, readObjects } from "./objects";
import { onOutdatedObjects, startRequest } from "./outdated-objects";
import { automaticRequestDelay } from "./rate-limit";
import { createStore } from "./record-store";

export function createEnvironment(): Environment {
  const store = createStore();
  const network = Network.create(async (operation, variables, { metadata }) => {
    const finish = startRequest();
    try {
      return await fetchDocument(operation, variables, metadata);
    } finally {
      finish();
      recordArrival();
    }
  }, createChangeFeed(store));
  return new Environment({ network, store });
}

/** Keeps the store up to date from the change after the cursor on; returns a function that ends it. */
export function followChanges(environment: Environment, after: string): () => void {
  onOutdatedObjects((ids) => {
    const source = environment.getStore().getSource();
    const known = ids.filter((id) => source.has(id));
    if (known.length > MAX_NODES || automaticRequestDelay() > 0) return emitReload();
    readObjects(environment, known).catch(emitReload);
  });
  const subscription = requestSubscription<ChangesSubscription>(environment, {
    subscription: changesSubscription,
    variables: { after },
  });
  return () => subscription.dispose();
}
