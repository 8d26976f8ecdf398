// Runs a query several times with a client that sends hashes, and prints the results and the HTTP requests.
// jiti persisted.mjs CLIENT URL KEY [MANIFEST], and on standard input {"query", "variables": [{…}, …]}
import { createHash } from "node:crypto";
import { readFile } from "node:fs/promises";
import { text } from "node:stream/consumers";

const [clientName, url, key, manifest] = process.argv.slice(2);
const headers = { authorization: `Bearer ${key}` };
const requests = [];

/** Records the method, whether text or hash was sent, the HTTP status and the error code. */
async function recordingFetch(input, init) {
  const { searchParams } = new URL(input);
  const sent = init.body ? JSON.parse(init.body) : Object.fromEntries(searchParams);
  const response = await fetch(input, init);
  const { errors } = await response.clone().json();
  const names = [sent.query && "text", sent.extensions && "hash"].filter(Boolean).join(" and ");
  const outcome = errors ? errors[0].extensions.code : "data";
  requests.push(`${init.method} ${names}: ${response.status} ${outcome}`);
  return response;
}

async function apollo(options) {
  const { ApolloClient, HttpLink, InMemoryCache, gql } = await import("@apollo/client");
  const { PersistedQueryLink } = await import("@apollo/client/link/persisted-queries");
  const persisted = new PersistedQueryLink(options);
  const http = new HttpLink({ uri: url, headers, fetch: recordingFetch });
  const client = new ApolloClient({ link: persisted.concat(http), cache: new InMemoryCache() });
  return ({ query, variables }) =>
    client.query({ query: gql(query), variables, fetchPolicy: "no-cache", errorPolicy: "all" });
}

async function urql(options) {
  const { Client, fetchExchange } = await import("@urql/core");
  const { persistedExchange } = await import("@urql/exchange-persisted");
  const client = new Client({
    url,
    fetch: recordingFetch,
    fetchOptions: { headers },
    preferGetMethod: false,
    exchanges: [persistedExchange(options), fetchExchange],
  });
  return ({ query, variables }) => client.query(query, variables).toPromise();
}

const sha256 = (text) => createHash("sha256").update(text).digest("hex");

const CLIENTS = {
  "apollo by GET": () => apollo({ sha256, useGETForHashedQueries: true }),
  "apollo by POST": () => apollo({ sha256 }),
  "urql by GET": () => urql({ preferGetForPersistedQueries: "force" }),
  "urql by POST": () => urql({ preferGetForPersistedQueries: false }),
  async "urql by codegen"() {
    const { ResultsDocument } = await import(manifest);
    const run = await urql({ generateHash: async (_, document) => document.__meta__.hash });
    return ({ variables }) => run({ query: ResultsDocument, variables });
  },
  async "apollo by manifest"() {
    const { generatePersistedQueryIdsFromManifest } = await import("@apollo/persisted-query-lists");
    const loadManifest = async () => JSON.parse(await readFile(manifest, "utf8"));
    return apollo(generatePersistedQueryIdsFromManifest({ loadManifest }));
  },
};

const runQuery = await CLIENTS[clientName]();
const { query, variables: all } = JSON.parse(await text(process.stdin));
const results = [];
for (const variables of all) {
  const { data, error } = await runQuery({ query, variables });
  const [graphqlError] = error?.errors ?? error?.graphQLErrors ?? [];
  results.push(graphqlError ? graphqlError.extensions.code : data);
}
console.log(JSON.stringify({ results, requests }));
