// How the page asks: queries by POST, subscriptions by graphql-transport-ws, both with the key.

import { createGraphiQLFetcher, type Fetcher } from "@graphiql/toolkit";
import { GraphQLError } from "graphql";

import { GRAPHQL_URL } from "./config";
import { hasVariable, operationOf, parsed } from "./documents";
import { liveClient } from "./live";

export interface Asking {
  fetcher: Fetcher;
  /** Ends what is still followed. */
  close(): void;
}

/** Asks nobody, and says what is missing. */
export const ASKING_NOBODY: Asking = {
  fetcher: async () => ({
    errors: [new GraphQLError("Enter a working API key at the top of the page.")],
  }),
  close() {},
};

/** `refuse` is told the server's reason when it no longer takes the key. */
export function askingWith(key: string, refuse: (reason: string) => void): Asking {
  const wsClient = liveClient(key, refuse);
  const ask = createGraphiQLFetcher({
    url: GRAPHQL_URL,
    headers: { Authorization: `Bearer ${key}` },
    wsClient,
    fetch: async (input, init) => {
      const response = await fetch(input, init);
      if (response.status === 401) refuse((await response.clone().json()).errors[0].message);
      return response;
    },
  });
  return {
    fetcher: (params, options) => ask(...asWritten(params, options)),
    close: () => void wsClient.dispose(),
  };
}

type Question = Parameters<Fetcher>;

/**
 * The question as it stands in the editor, which names the operation of a moment ago when somebody is
 * quick; with the start of the reader's day where the operation has a variable for it.
 */
function asWritten(...[params, options]: Question): Question {
  const documentAST = parsed(params.query);
  if (!documentAST) return [params, options];
  const operation = operationOf(documentAST, params.operationName);
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

/** Midnight where the reader is, as an instant. */
export function startOfToday(): string {
  return new Date(new Date().setHours(0, 0, 0, 0)).toISOString();
}
