// How the page asks: queries by POST, subscriptions by graphql-transport-ws, both with the key.

import { createGraphiQLFetcher, type Fetcher, type FetcherOpts } from "@graphiql/toolkit";
import { getOperationAST, GraphQLError } from "graphql";
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
  return (params, options) =>
    ask({ ...params, variables: withToday(params, options) }, options);
}

/** The variables, and the start of the reader's day where the operation has a variable for it. */
function withToday(params: Parameters<Fetcher>[0], options?: FetcherOpts) {
  const operation =
    options?.documentAST && getOperationAST(options.documentAST, params.operationName);
  const asked = operation?.variableDefinitions?.some(
    (definition) => definition.variable.name.value === "startOfToday",
  );
  return asked ? { startOfToday: startOfToday(), ...params.variables } : params.variables;
}

/** Midnight where the reader is, as an instant. */
export function startOfToday(): string {
  return new Date(new Date().setHours(0, 0, 0, 0)).toISOString();
}
