// graphql-yoga on node:http with DataLoader. Yoga caches parsed and validated documents by default.
import { createServer } from "node:http";
import DataLoader from "dataloader";
import { createSchema, createYoga } from "graphql-yoga";
import { common, typeDefs } from "./schema.js";
import { connect, group, order } from "./statements.js";

const database = await connect();

const resolvers = {
  ...common,
  Query: {
    post: async (_, { postId }) => (await database.post(postId))[0],
    posts: async (_, { first }) => ({ nodes: await database.posts(first) }),
  },
  Post: { destinations: ({ postId }, _, { destinations }) => destinations.load(postId) },
  Destination: {
    account: ({ accountId }, _, { accounts }) => accounts.load(accountId),
    accountName: async ({ accountId }, _, { accounts }) =>
      (await accounts.load(accountId)).accountName,
  },
};

const yoga = createYoga({
  logging: false,
  graphiql: false,
  schema: createSchema({ typeDefs, resolvers }),
  context: () => ({
    destinations: new DataLoader(async (ids) =>
      group(ids, await database.destinations(ids), "postId"),
    ),
    accounts: new DataLoader(async (ids) => order(ids, await database.accounts(ids), "accountId")),
  }),
});
createServer(yoga).listen(Number(process.env.PORT), "127.0.0.1");
