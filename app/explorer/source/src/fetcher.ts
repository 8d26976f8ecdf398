// How the page asks: queries by POST, subscriptions by graphql-transport-ws, both with the key.

import { createGraphiQLFetcher, type Fetcher } from "@graphiql/toolkit";
import { getOperationAST, GraphQLError, parse, type DocumentNode } from "graphql";
import { createClient } from "graphql-ws";

import { GRAPHQL_URL } from "./config";

/** Asks nobody, and says what is missing. */
export const fetchNothing: Fetcher = async () => ({
  errors: [new GraphQLError("Enter a working API key at the top of the page.")],
});

/** `refuse` is told the server's reason when it no longer takes the key. */
export function fetcherWith(key: string, refuse: (reason: string) => void): Fetcher {
  const headers = { Authorization: `Bearer ${key}` };
  const ask = createGraphiQLFetcher({
    url: GRAPHQL_URL,
    headers,
    wsClient: createClient({
      url: GRAPHQL_URL.replace(/^http/, "ws"),
      connectionParams: headers,
    }),
    fetch: async (input, init) => {
      const response = await fetch(input, init);
      if (response.status === 401) refuse((await response.clone().json()).errors[0].message);
      return response;
    },
  });
  return (params, options) => ask(...asWritten(params, options));
}

type Question = Parameters<Fetcher>;

/**
 * The question as it stands in the editor, which names the operation of a moment ago when somebody is
 * quick; with the start of the reader's day where the operation has a variable for it.
 */
function asWritten(...[params, options]: Question): Question {
  const documentAST = parsed(params.query);
  if (!documentAST) return [params, options];
  const operation =
    getOperationAST(documentAST, params.operationName) ?? getOperationAST(documentAST);
  const wantsToday = operation?.variableDefinitions?.some(
    ({ variable }) => variable.name.value === "startOfToday",
  );
  return [
    {
      query: params.query,
      operationName: operation?.name?.value ?? null,
      variables: wantsToday
        ? { startOfToday: startOfToday(), ...params.variables }
        : params.variables,
    },
    { ...options, documentAST },
  ];
}

function parsed(query: string): DocumentNode | undefined {
  try {
    return parse(query);
  } catch {
    return undefined; // which the server says better
  }
}

/** Midnight where the reader is, as an instant. */
export function startOfToday(): string {
  return new Date(new Date().setHours(0, 0, 0, 0)).toISOString();
}
