// Asks the same question several times by a client that sends hashes, and prints the answers and the requests.
// jiti persisted.mjs CLIENT URL KEY [MANIFEST], and on standard input {"query", "variables": [{…}, …]}
import { createHash } from "node:crypto";
import { readFile } from "node:fs/promises";
import { text } from "node:stream/consumers";

const [client, url, key, manifest] = process.argv.slice(2);
const headers = { authorization: `Bearer ${key}` };
const requests = [];

/** Fetches, and notes the method, what named the document, and the code of the error. */
async function recordingFetch(input, init) {
  const { searchParams } = new URL(input);
  const sent = init.body ? JSON.parse(init.body) : Object.fromEntries(searchParams);
  const response = await fetch(input, init);
  const { errors } = await response.clone().json();
  const names = [sent.query && "text", sent.extensions && "hash"].filter(Boolean).join(" and ");
  const end = errors ? errors[0].extensions.code : "data";
  requests.push(`${init.method} ${names}: ${response.status} ${end}`);
  return response;
}

async function apollo(options) {
  const { ApolloClient, HttpLink, InMemoryCache, gql } = await import("@apollo/client");
  const { PersistedQueryLink } = await import("@apollo/client/link/persisted-queries");
  const persisted = new PersistedQueryLink(options);
  const http = new HttpLink({ uri: url, headers, fetch: recordingFetch });
  const asking = new ApolloClient({ link: persisted.concat(http), cache: new InMemoryCache() });
  return ({ query, variables }) =>
    asking.query({ query: gql(query), variables, fetchPolicy: "no-cache", errorPolicy: "all" });
}

async function urql(options) {
  const { Client, fetchExchange } = await import("@urql/core");
  const { persistedExchange } = await import("@urql/exchange-persisted");
  const asking = new Client({
    url,
    fetch: recordingFetch,
    fetchOptions: { headers },
    preferGetMethod: false,
    exchanges: [persistedExchange(options), fetchExchange],
  });
  return ({ query, variables }) => asking.query(query, variables).toPromise();
}

const sha256 = (written) => createHash("sha256").update(written).digest("hex");

const CLIENTS = {
  "apollo by GET": () => apollo({ sha256, useGETForHashedQueries: true }),
  "apollo by POST": () => apollo({ sha256 }),
  "urql by GET": () => urql({ preferGetForPersistedQueries: "force" }),
  "urql by POST": () => urql({ preferGetForPersistedQueries: false }),
  async "urql by codegen"() {
    const { ResultsDocument } = await import(manifest);
    const asking = await urql({ generateHash: async (_, document) => document.__meta__.hash });
    return ({ variables }) => asking({ query: ResultsDocument, variables });
  },
  async "apollo by manifest"() {
    const { generatePersistedQueryIdsFromManifest } = await import("@apollo/persisted-query-lists");
    const loadManifest = async () => JSON.parse(await readFile(manifest, "utf8"));
    return apollo(generatePersistedQueryIdsFromManifest({ loadManifest }));
  },
};

const ask = await CLIENTS[client]();
const { query, variables: all } = JSON.parse(await text(process.stdin));
const answers = [];
for (const variables of all) {
  const { data, error } = await ask({ query, variables });
  const [refusal] = error?.errors ?? error?.graphQLErrors ?? [];
  answers.push(refusal ? refusal.extensions.code : data);
}
console.log(JSON.stringify({ answers, requests }));
