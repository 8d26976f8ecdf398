// Runs one operation with one client, and prints the data and errors that its caller receives.
// node query.mjs CLIENT URL KEY, and on standard input {"query", "variables"}
import { text } from "node:stream/consumers";

const [client, url, key] = process.argv.slice(2);
const headers = { authorization: `Bearer ${key}` };

const CLIENTS = {
  async apollo({ query, variables }) {
    const { ApolloClient, CombinedGraphQLErrors, HttpLink, InMemoryCache, gql } = await import(
      "@apollo/client"
    );
    const link = new HttpLink({ uri: url, headers });
    const apollo = new ApolloClient({ link, cache: new InMemoryCache() });
    try {
      return await apollo.query({ query: gql(query), variables });
    } catch (error) {
      if (!CombinedGraphQLErrors.is(error)) throw error;
      return error;
    }
  },

  async urql({ query, variables }) {
    const { Client, cacheExchange, fetchExchange } = await import("@urql/core");
    const exchanges = [cacheExchange, fetchExchange];
    const urql = new Client({ url, exchanges, fetchOptions: { headers } });
    const { data, error } = await urql.query(query, variables);
    if (error?.networkError) throw error;
    return { data, errors: error?.graphQLErrors };
  },

  async "graphql-request"({ query, variables }) {
    const { ClientError, GraphQLClient } = await import("graphql-request");
    try {
      return { data: await new GraphQLClient(url, { headers }).request(query, variables) };
    } catch (error) {
      if (!(error instanceof ClientError)) throw error;
      return error.response;
    }
  },
};

const { data = null, errors = [] } = await CLIENTS[client](JSON.parse(await text(process.stdin)));
console.log(
  JSON.stringify({ data, errors: errors.map(({ message, extensions }) => [message, extensions]) }),
);
