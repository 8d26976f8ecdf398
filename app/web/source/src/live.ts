// How the page follows a subscription: over a WebSocket, with what came before, and where it ends, why.

import type { FormattedExecutionResult } from "graphql";
import { createClient, type Client, type SubscribePayload } from "graphql-ws";

import { GRAPHQL_URL } from "./config";
import { hasVariable, operationOf, parsed } from "./documents";

/** How many older results are shown below the newest. */
const EARLIER = 50;
/** With what the server closes a socket whose key it does not take. */
const KEY_REFUSED = 4403;

type Result = FormattedExecutionResult<any, any>;

/** `refuse` is told the server's reason when it no longer takes the key. */
export function liveClient(key: string, refuse: (reason: string) => void): Client {
  const client = createClient({
    url: GRAPHQL_URL.replace(/^http/, "ws"),
    connectionParams: { Authorization: `Bearer ${key}` },
    retryAttempts: 0, // whoever looks on sees that it has ended, and can run it again
  });
  /** The cursor of the last change that was seen, by what was asked. */
  const places = new Map<string, string>();

  function reasonOf(end: unknown): string {
    if (!(end instanceof CloseEvent)) return "The server does not answer. Is it running?";
    if (end.code === KEY_REFUSED) refuse(end.reason);
    return end.reason || "The connection to the server has ended. Run this again to go on.";
  }

  return {
    ...client,
    subscribe(payload, sink) {
      const asked = JSON.stringify(payload);
      const earlier: Result[] = [];
      const show = (result: Result) => {
        const shown = earlier.length > 0 ? { ...result, earlier: [...earlier] } : result;
        sink.next(shown);
        earlier.unshift(result);
        earlier.splice(EARLIER);
      };
      return client.subscribe(goingOn(payload, places.get(asked)), {
        next: (result: Result) => {
          const place = cursorOf(result);
          if (place) places.set(asked, place);
          show(result);
        },
        // As one more result: GraphiQL would show an error in place of all that came before.
        error: (end) => {
          if (Array.isArray(end)) places.delete(asked); // it may be the place that is wrong
          show({ errors: Array.isArray(end) ? end : [{ message: reasonOf(end) }] });
          sink.complete();
        },
        complete: () => sink.complete(),
      });
    },
  };
}

/** From a place on, where the operation has a variable for it and nobody has said otherwise. */
function goingOn(payload: SubscribePayload, place: string | undefined): SubscribePayload {
  const document = parsed(payload.query);
  const operation = document && operationOf(document, payload.operationName);
  if (!place || !hasVariable(operation, "after")) return payload;
  return { ...payload, variables: { after: place, ...payload.variables } };
}

function cursorOf({ data }: Result): string | undefined {
  const [change] = Object.values<any>(data ?? {});
  return change?.cursor;
}
