// Runs operations with third-party clients and prints each message that their caller receives as a line of JSON.
// node subscribe.mjs URL, and on standard input lines: {"id", "client", "key", "query", "variables"} or {"stop": id}
import { createInterface } from "node:readline";
import { setTimeout as sleep } from "node:timers/promises";
import { ApolloClient, ApolloLink, HttpLink, InMemoryCache, gql } from "@apollo/client";
import { GraphQLWsLink } from "@apollo/client/link/subscriptions";
import { Client, cacheExchange, fetchExchange, subscriptionExchange } from "@urql/core";
import { createClient as createSSEClient } from "graphql-sse";
import { createClient as createWebSocketClient } from "graphql-ws";
import WebSocket from "ws";
import { resuming } from "./resuming.mjs";

globalThis.WebSocket ??= WebSocket; // built into Node.js since version 22

const [url] = process.argv.slice(2);
const RETRY = { retryAttempts: Infinity, retryWait: () => sleep(100), retry: () => sleep(100) };

const print = (id, message) => console.log(JSON.stringify({ id, message }));
const operationType = (query) => /^\s*(\w+)/.exec(query)[1];

// Messages are a result, a failure to get one, "end", or "stopped" after {"stop": id}.
const result = (data = null, errors = []) => ({
  data,
  errors: errors.map(({ message, extensions }) => [message, extensions]),
});
const failure = ({ code, reason, message }) => ({ failure: code ? [code, reason] : message });

/** Prints the events of the socket under `socket of NAME`. */
function webSocketClient(name, key, options) {
  const client = createWebSocketClient({
    url: url.replace("http", "ws"),
    connectionParams: { Authorization: `Bearer ${key}` },
    ...RETRY,
    shouldRetry: ({ code }) => code !== 4403, // the key is invalid
    on: {
      connected: () => print(`socket of ${name}`, "connected"),
      closed: ({ code, reason }) => print(`socket of ${name}`, [code, reason]),
    },
    ...options,
  });
  return resuming(client);
}

function sseClient(key, options) {
  const headers = { authorization: `Bearer ${key}` };
  return resuming(createSSEClient({ url, headers, ...RETRY, ...options }));
}

/** Fetches, and prints the content type of each response under `responses to NAME`. */
function fetchFor(name) {
  return async (input, init) => {
    const response = await fetch(input, init);
    print(`responses to ${name}`, response.headers.get("content-type"));
    return response;
  };
}

function plain(client) {
  return (operation, send) =>
    client.subscribe(operation, {
      next: ({ data, errors }) => send(result(data, errors)),
      error: (error) => send(Array.isArray(error) ? result(null, error) : failure(error)),
      complete: () => send("end"),
    });
}

function apollo(key) {
  const headers = { authorization: `Bearer ${key}` };
  const client = new ApolloClient({
    link: ApolloLink.split(
      (operation) => operation.operationType === "subscription",
      new GraphQLWsLink(webSocketClient("apollo", key)),
      new HttpLink({ uri: url, headers, fetch: fetchFor("apollo") }),
    ),
    cache: new InMemoryCache(),
  });
  const run = {
    query: (query, variables) =>
      client.watchQuery({ query, variables, notifyOnNetworkStatusChange: false }),
    mutation: (mutation, variables) => ({
      subscribe: ({ next }) => client.mutate({ mutation, variables }).then(next),
    }),
    subscription: (query, variables) => client.subscribe({ query, variables }),
  };
  return ({ query, variables }, send) => {
    const subscription = run[operationType(query)](gql(query), variables).subscribe({
      next: ({ data, error }) => send(result(data, error && (error.errors ?? [error]))),
      complete: () => send("end"),
    });
    return () => subscription.unsubscribe();
  };
}

function urql(name, key, exchange, options) {
  const client = new Client({
    url,
    fetch: fetchFor(name),
    fetchOptions: { headers: { authorization: `Bearer ${key}` } },
    exchanges: [cacheExchange, exchange, fetchExchange].filter(Boolean),
    ...options,
  });
  return ({ query, variables }, send) => {
    let isFirst = true;
    const onResult = ({ data, error, hasNext }) => {
      if (error?.networkError) send(failure(error.networkError));
      // The last result may repeat the one before.
      else if (hasNext || isFirst) send(result(data, error?.graphQLErrors));
      if (!hasNext) send("end");
      isFirst = false;
    };
    return client[operationType(query)](query, variables).subscribe(onResult).unsubscribe;
  };
}

const subscribeWith = (client) =>
  subscriptionExchange({
    forwardSubscription: (operation) => ({
      subscribe: (sink) => ({ unsubscribe: client.subscribe(operation, sink) }),
    }),
  });

const CLIENTS = {
  "graphql-ws": (key) => plain(webSocketClient("graphql-ws", key)),
  "graphql-ws, eager": (key) => plain(webSocketClient("graphql-ws, eager", key, { lazy: false })),
  "graphql-sse": (key) => plain(sseClient(key)),
  "graphql-sse, once": (key) => plain(sseClient(key, { retryAttempts: 0 })),
  apollo,
  urql: (key) => urql("urql", key, subscribeWith(webSocketClient("urql", key))),
  "urql by graphql-sse": (key) => urql("urql by graphql-sse", key, subscribeWith(sseClient(key))),
  "urql by fetch": (key) => urql("urql by fetch", key, null, { fetchSubscriptions: true }),
};

const clients = {};
const stops = {};
for await (const line of createInterface({ input: process.stdin })) {
  const { stop, id, client, key, ...operation } = JSON.parse(line);
  if (stop) {
    stops[stop]();
    print(stop, "stopped");
  } else {
    const run = (clients[client + key] ??= CLIENTS[client](key));
    stops[id] = run(operation, (message) => print(id, message));
  }
}
process.exit();
