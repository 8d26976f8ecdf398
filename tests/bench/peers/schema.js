// The part of the post-results schema that the benchmark queries, and resolvers shared by all peers.
import { GraphQLScalarType } from "graphql";
import { time } from "./statements.js";

export const typeDefs = `
  scalar DateTime
  scalar UUID
  enum PostStatus { DRAFT SCHEDULED PUBLISHING PUBLISHED PARTIALLY_FAILED FAILED }
  enum DestinationStatus { QUEUED PUBLISHING PUBLISHED FAILED }
  type Account { accountId: Int! platform: String! accountName: String! }
  type Destination {
    destinationId: UUID! accountId: Int! accountName: String platform: String! status: DestinationStatus!
    publishedAt: DateTime platformPostId: String platformPostUrl: String error: String attempts: Int!
    nextRetryAt: DateTime account: Account
  }
  type Post {
    postId: UUID! content: String! status: PostStatus! scheduledFor: DateTime timezone: String
    createdAt: DateTime! updatedAt: DateTime! destinations: [Destination!]
  }
  type PostConnection { nodes: [Post!]! }
  type Query { post(postId: UUID!): Post posts(first: Int = 20): PostConnection }
`;

const enumValues = (...names) => Object.fromEntries(names.map((name) => [name, name.toLowerCase()]));

export const common = {
  DateTime: new GraphQLScalarType({ name: "DateTime", serialize: time }),
  PostStatus: enumValues("DRAFT", "SCHEDULED", "PUBLISHING", "PUBLISHED", "PARTIALLY_FAILED", "FAILED"),
  DestinationStatus: enumValues("QUEUED", "PUBLISHING", "PUBLISHED", "FAILED"),
};
