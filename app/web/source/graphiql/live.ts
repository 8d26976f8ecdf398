// Subscriptions over a WebSocket. Shows earlier results below the newest, and the reason of the end.

import type { FormattedExecutionResult } from "graphql";
import { createClient, type Client, type SubscribePayload } from "graphql-ws";

import { GRAPHQL_URL } from "./config";
import { findOperation, hasVariable, parseDocument } from "./documents";

/** Number of older results that are shown below the newest. */
const MAX_EARLIER_RESULTS = 50;
/** Close code of a socket whose API key is invalid. */
const KEY_REJECTED_CODE = 4403;

type Result = FormattedExecutionResult<any, any>;

/** `reject` receives the reason when the server rejects the key. */
export function createLiveClient(key: string, reject: (reason: string) => void): Client {
  const client = createClient({
    url: GRAPHQL_URL.replace(/^http/, "ws"),
    connectionParams: { Authorization: `Bearer ${key}` },
    retryAttempts: 0, // the page shows the end, and the user can run the operation again
  });
  /** Cursor of the last received change, by the JSON of the operation. */
  const lastCursors = new Map<string, string>();

  function endReason(end: unknown): string {
    if (!(end instanceof CloseEvent)) return "The server does not answer. Is it running?";
    if (end.code === KEY_REJECTED_CODE) reject(end.reason);
    return end.reason || "The connection to the server has ended. Run this again to go on.";
  }

  return {
    ...client,
    subscribe(payload, sink) {
      const operation = JSON.stringify(payload);
      const earlier: Result[] = [];
      const show = (result: Result) => {
        const withEarlier = earlier.length > 0 ? { ...result, earlier: [...earlier] } : result;
        sink.next(withEarlier);
        earlier.unshift(result);
        earlier.splice(MAX_EARLIER_RESULTS);
      };
      return client.subscribe(resumeAfter(payload, lastCursors.get(operation)), {
        next: (result: Result) => {
          const cursor = cursorOf(result);
          if (cursor) lastCursors.set(operation, cursor);
          show(result);
        },
        // Shown as one more result, because GraphiQL replaces all earlier results by an error.
        error: (end) => {
          if (Array.isArray(end)) lastCursors.delete(operation); // the cursor may be the error
          show({ errors: Array.isArray(end) ? end : [{ message: endReason(end) }] });
          sink.complete();
        },
        complete: () => sink.complete(),
      });
    },
  };
}

/** Adds the variable `after`, if the operation has one that the user did not set. */
function resumeAfter(payload: SubscribePayload, cursor: string | undefined): SubscribePayload {
  const document = parseDocument(payload.query);
  const operation = document && findOperation(document, payload.operationName);
  if (!cursor || !hasVariable(operation, "after")) return payload;
  return { ...payload, variables: { after: cursor, ...payload.variables } };
}

function cursorOf({ data }: Result): string | undefined {
  const [change] = Object.values<any>(data ?? {});
  return change?.cursor;
}
