// Runs operations by the field's clients, and prints all that whoever began one is told, a line of JSON each time.
// node follow.mjs URL, and on standard input lines: {"id", "client", "key", "query", "variables"} or {"stop": id}
import { createInterface } from "node:readline";
import { setTimeout as pause } from "node:timers/promises";
import { ApolloClient, ApolloLink, HttpLink, InMemoryCache, gql } from "@apollo/client";
import { GraphQLWsLink } from "@apollo/client/link/subscriptions";
import { Client, cacheExchange, fetchExchange, subscriptionExchange } from "@urql/core";
import { createClient as createEventClient } from "graphql-sse";
import { createClient as createSocketClient } from "graphql-ws";
import WebSocket from "ws";
import { resuming } from "./resuming.mjs";

globalThis.WebSocket ??= WebSocket; // Node.js has one from 22 on

const [url] = process.argv.slice(2);
const AT_ONCE = { retryAttempts: Infinity, retryWait: () => pause(100), retry: () => pause(100) };

const print = (line) => console.log(JSON.stringify(line));
const kindOf = (query) => /^\s*(\w+)/.exec(query)[1];

// What whoever asked is told: an answer, a failure to get one, "end", or "stopped" after that was asked for.
const answer = (data = null, errors = []) => ({
  data,
  errors: errors.map(({ message, extensions }) => [message, extensions]),
});
const failure = ({ code, reason, message }) => ({ failure: code ? [code, reason] : message });

/** `name` says whose socket it is; what happens to it is printed under that. */
function bySocket(name, key, options) {
  const client = createSocketClient({
    url: url.replace("http", "ws"),
    connectionParams: { Authorization: `Bearer ${key}` },
    ...AT_ONCE,
    shouldRetry: ({ code }) => code !== 4403, // the key is refused
    on: {
      connected: () => print({ id: `socket of ${name}`, told: "connected" }),
      closed: ({ code, reason }) => print({ id: `socket of ${name}`, told: [code, reason] }),
    },
    ...options,
  });
  return resuming(client);
}

function byEvents(key, options) {
  const headers = { authorization: `Bearer ${key}` };
  return resuming(createEventClient({ url, headers, ...AT_ONCE, ...options }));
}

/** Fetches, and prints under `name` in which form it was answered. */
function fetchingFor(name) {
  return async (input, init) => {
    const response = await fetch(input, init);
    print({ id: `answers to ${name}`, told: response.headers.get("content-type") });
    return response;
  };
}

function alone(client) {
  return (operation, tell) =>
    client.subscribe(operation, {
      next: ({ data, errors }) => tell(answer(data, errors)),
      error: (error) => tell(Array.isArray(error) ? answer(null, error) : failure(error)),
      complete: () => tell("end"),
    });
}

function apollo(key) {
  const headers = { authorization: `Bearer ${key}` };
  const client = new ApolloClient({
    link: ApolloLink.split(
      ({ operationType }) => operationType === "subscription",
      new GraphQLWsLink(bySocket("apollo", key)),
      new HttpLink({ uri: url, headers, fetch: fetchingFor("apollo") }),
    ),
    cache: new InMemoryCache(),
  });
  const begin = {
    query: (query, variables) =>
      client.watchQuery({ query, variables, notifyOnNetworkStatusChange: false }),
    mutation: (mutation, variables) => ({
      subscribe: ({ next }) => client.mutate({ mutation, variables }).then(next),
    }),
    subscription: (query, variables) => client.subscribe({ query, variables }),
  };
  return ({ query, variables }, tell) => {
    const told = begin[kindOf(query)](gql(query), variables).subscribe({
      next: ({ data, error }) => tell(answer(data, error && (error.errors ?? [error]))),
      complete: () => tell("end"),
    });
    return () => told.unsubscribe();
  };
}

function urql(name, key, exchange, options) {
  const client = new Client({
    url,
    fetch: fetchingFor(name),
    fetchOptions: { headers: { authorization: `Bearer ${key}` } },
    exchanges: [cacheExchange, exchange, fetchExchange].filter(Boolean),
    ...options,
  });
  return ({ query, variables }, tell) => {
    let isFirst = true;
    const tellOf = ({ data, error, hasNext }) => {
      if (error?.networkError) tell(failure(error.networkError));
      // The last one may be as the one before it.
      else if (hasNext || isFirst) tell(answer(data, error?.graphQLErrors));
      if (!hasNext) tell("end");
      isFirst = false;
    };
    return client[kindOf(query)](query, variables).subscribe(tellOf).unsubscribe;
  };
}

const subscribingBy = (client) =>
  subscriptionExchange({
    forwardSubscription: (operation) => ({
      subscribe: (sink) => ({ unsubscribe: client.subscribe(operation, sink) }),
    }),
  });

const CLIENTS = {
  "graphql-ws": (key) => alone(bySocket("graphql-ws", key)),
  "graphql-ws, eager": (key) => alone(bySocket("graphql-ws, eager", key, { lazy: false })),
  "graphql-sse": (key) => alone(byEvents(key)),
  "graphql-sse, once": (key) => alone(byEvents(key, { retryAttempts: 0 })),
  apollo,
  urql: (key) => urql("urql", key, subscribingBy(bySocket("urql", key))),
  "urql by graphql-sse": (key) => urql("urql by graphql-sse", key, subscribingBy(byEvents(key))),
  "urql by fetch": (key) => urql("urql by fetch", key, null, { fetchSubscriptions: true }),
};

const clients = {};
const stops = {};
for await (const line of createInterface({ input: process.stdin })) {
  const { stop, id, client, key, ...operation } = JSON.parse(line);
  if (stop) {
    stops[stop]();
    print({ id: stop, told: "stopped" });
  } else {
    const run = (clients[client + key] ??= CLIENTS[client](key));
    stops[id] = run(operation, (told) => print({ id, told }));
  }
}
process.exit();
