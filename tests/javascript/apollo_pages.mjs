// Pages through all posts with Apollo's relayStylePagination, and prints the resulting content of its cache.
// node apollo_pages.mjs URL KEY PAGE_SIZE
import { ApolloClient, HttpLink, InMemoryCache, gql } from "@apollo/client";
import { relayStylePagination } from "@apollo/client/utilities";
import { firstValueFrom, skipWhile } from "rxjs";

const [uri, key, first] = process.argv.slice(2);
const client = new ApolloClient({
  link: new HttpLink({ uri, headers: { authorization: `Bearer ${key}` } }),
  cache: new InMemoryCache({
    typePolicies: { Query: { fields: { posts: relayStylePagination(["filter", "orderBy"]) } } },
  }),
});

const POSTS = gql`
  query Posts($first: Int!, $after: String) {
    posts(first: $first, after: $after, orderBy: { field: CREATED_AT, direction: ASC }) {
      edges {
        node {
          id
          postId
        }
      }
      pageInfo {
        hasNextPage
        endCursor
      }
    }
  }
`;

const variables = { first: Number(first) };
const pages = client.watchQuery({ query: POSTS, variables });
pages.subscribe();
let page = await firstValueFrom(pages.pipe(skipWhile(({ loading }) => loading)));
let requests = 1;
while (page.data.posts.pageInfo.hasNextPage) {
  page = await pages.fetchMore({ variables: { after: page.data.posts.pageInfo.endCursor } });
  requests += 1;
}

const { posts } = client.readQuery({ query: POSTS, variables });
const postIds = posts.edges.map(({ node }) => node.postId);
const cached = Object.keys(client.cache.extract()).filter((name) => name.startsWith("Post:"));
console.log(JSON.stringify({ requests, postIds, cached: cached.length }));
client.stop();
