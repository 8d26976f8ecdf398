// mercurius with JIT. FORM selects how destinations and accounts are read: by mercurius loaders (loaders), by the
// root resolver in a second statement with a join (prefetch), or with a single post in one statement (join).
import { makeExecutableSchema } from "@graphql-tools/schema";
import Fastify from "fastify";
import mercurius from "mercurius";
import { common, typeDefs } from "./schema.js";
import { connect, group, order } from "./statements.js";

const database = await connect();
const form = process.env.FORM;
const app = Fastify();

const withAccount = (row) => {
  row.account = {
    accountId: row.accountId,
    platform: row.accountPlatform,
    accountName: row.accountName,
  };
  return row;
};

const withDestinations = async (posts) => {
  const ids = posts.map((post) => post.postId);
  const rows = await database.destinationsWithAccounts(ids);
  const grouped = group(ids, rows.map(withAccount), "postId");
  posts.forEach((post, index) => {
    post.destinations = grouped[index];
  });
  return posts;
};

const POST = {
  loaders: async (_, { postId }) => (await database.post(postId))[0],
  prefetch: async (_, { postId }) => {
    const [post] = await database.post(postId);
    if (post) post.destinations = (await database.destinationsOfPost(postId)).map(withAccount);
    return post;
  },
  join: async (_, { postId }) => {
    const rows = await database.postWithDestinations(postId);
    if (rows.length === 0) return null;
    const destinations = rows.filter((row) => row.destinationId !== null).map(withAccount);
    return { postId, status: rows[0].postStatus, destinations };
  },
};

const Query = {
  post: POST[form],
  posts: async (_, { first }) => {
    const posts = await database.posts(first);
    return { nodes: form === "loaders" ? posts : await withDestinations(posts) };
  },
};

// Without a cache across requests.
const opts = { cache: false };
const accountsOf = async (queries) => {
  const ids = queries.map(({ obj }) => obj.accountId);
  return order(ids, await database.accounts([...new Set(ids)]), "accountId");
};
const loaders = {
  Post: {
    destinations: {
      loader: async (queries) => {
        const ids = queries.map(({ obj }) => obj.postId);
        return group(ids, await database.destinations(ids), "postId");
      },
      opts,
    },
  },
  Destination: {
    account: { loader: accountsOf, opts },
    accountName: {
      loader: async (queries) => (await accountsOf(queries)).map((account) => account.accountName),
      opts,
    },
  },
};

app.register(mercurius, {
  schema: makeExecutableSchema({ typeDefs, resolvers: { ...common, Query } }),
  jit: 1,
  loaders: form === "loaders" ? loaders : {},
});
app.listen({ port: Number(process.env.PORT), host: "127.0.0.1" });
