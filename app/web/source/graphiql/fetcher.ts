// Sends the operations of the page: queries by POST, subscriptions by graphql-transport-ws.

import { createGraphiQLFetcher, type Fetcher } from "@graphiql/toolkit";
import { GraphQLError } from "graphql";

import { GRAPHQL_URL } from "./config";
import { findOperation, hasVariable, parseDocument } from "./documents";
import { createLiveClient } from "./live";

export interface Connection {
  fetcher: Fetcher;
  /** Ends the open subscriptions. */
  close(): void;
}

/** Sends nothing and answers every operation with an error that asks for a key. */
export const NO_CONNECTION: Connection = {
  fetcher: async () => ({
    errors: [new GraphQLError("Enter a working API key at the top of the page.")],
  }),
  close() {},
};

/** Sends operations with this key; `reject` receives the reason when the server rejects the key. */
export function connect(key: string, reject: (reason: string) => void): Connection {
  const wsClient = createLiveClient(key, reject);
  const send = createGraphiQLFetcher({
    url: GRAPHQL_URL,
    headers: { Authorization: `Bearer ${key}` },
    wsClient,
    fetch: async (input, init) => {
      const response = await fetch(input, init);
      if (response.status === 401) reject((await response.clone().json()).errors[0].message);
      return response;
    },
  });
  return {
    fetcher: (params, options) => send(...fromEditor(params, options)),
    close: () => void wsClient.dispose(),
  };
}

type FetcherArguments = Parameters<Fetcher>;

/**
 * Selects the operation again from the text in the editor, because GraphiQL may still name the previous
 * operation after a quick edit. Fills in `startOfToday` if the operation has this variable.
 */
function fromEditor(...[params, options]: FetcherArguments): FetcherArguments {
  const documentAST = parseDocument(params.query);
  if (!documentAST) return [params, options];
  const operation = findOperation(documentAST, params.operationName);
  return [
    {
      query: params.query,
      operationName: operation?.name?.value ?? null,
      variables: hasVariable(operation, "startOfToday")
        ? { startOfToday: startOfToday(), ...params.variables }
        : params.variables,
    },
    { ...options, documentAST },
  ];
}

/** Midnight in the time zone of the browser, as a UTC time. */
export function startOfToday(): string {
  return new Date(new Date().setHours(0, 0, 0, 0)).toISOString();
}
