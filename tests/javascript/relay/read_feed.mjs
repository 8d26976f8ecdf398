// Paginates and refetches with the artifacts of relay-compiler, and prints the data of Relay's store.
// jiti read_feed.mjs URL KEY
import relay from "relay-runtime";
import FeedAccountRefetchQuery from "./src/__generated__/FeedAccountRefetchQuery.graphql";
import FeedPaginationQuery from "./src/__generated__/FeedPaginationQuery.graphql";
import FeedPostRefetchQuery from "./src/__generated__/FeedPostRefetchQuery.graphql";
import FeedQuery from "./src/__generated__/FeedQuery.graphql";
import FeedAccount from "./src/__generated__/Feed_account.graphql";
import FeedPost from "./src/__generated__/Feed_post.graphql";
import FeedPosts from "./src/__generated__/Feed_posts.graphql";

const { Environment, Network, RecordSource, Store, fetchQuery, getSingularSelector } = relay;
const [url, key] = process.argv.slice(2);

async function send({ text }, variables) {
  const response = await fetch(url, {
    method: "POST",
    headers: { authorization: `Bearer ${key}`, "content-type": "application/json" },
    body: JSON.stringify({ query: text, variables }),
  });
  return response.json();
}

const environment = new Environment({
  network: Network.create(send),
  store: new Store(new RecordSource()),
});
const runQuery = (query, variables) => fetchQuery(environment, query, variables).toPromise();
const read = (fragment, owner) => environment.lookup(getSingularSelector(fragment, owner)).data;

const filter = { status: ["PARTIALLY_FAILED", "FAILED"] };
const feed = await runQuery(FeedQuery, { filter, count: 2 });
const sizes = [];
for (;;) {
  const { edges, pageInfo } = read(FeedPosts, feed).posts;
  sizes.push(edges.length);
  if (sizes.length === 3 || !pageInfo.hasNextPage) break;
  await runQuery(FeedPaginationQuery, { filter, count: 2, cursor: pageInfo.endCursor });
}

const { edges } = read(FeedPosts, feed).posts;
const posts = edges.map(({ node }) => node.postId);
const [{ node }] = edges;
const post = read(FeedPost, node);
const refetched = read(FeedPost, (await runQuery(FeedPostRefetchQuery, { id: post.id })).node);
const { account } = post.destinations[0];
const owner = (await runQuery(FeedAccountRefetchQuery, { id: account.id })).node;
console.log(
  JSON.stringify({
    sizes,
    posts,
    refetchIsEqual: JSON.stringify(refetched) === JSON.stringify(post),
    account: [account.accountName, read(FeedAccount, owner).accountName],
  }),
);
