// The rules for schema.graphql: those that graphql-eslint recommends for schemas, and those of Relay.
import graphql from "@graphql-eslint/eslint-plugin";

const { "flat/schema-recommended": recommended, "flat/schema-relay": relay } = graphql.configs;

export default [
  {
    files: ["*.graphql"],
    plugins: { "@graphql-eslint": graphql },
    languageOptions: {
      parser: graphql.parser,
      parserOptions: { graphQLConfig: { schema: "*.graphql" } },
    },
    rules: {
      ...recommended.rules,
      ...relay.rules,
      // Counts, pages and the like are no entities: only what `node` finds has an id.
      "@graphql-eslint/strict-id-in-types": "off",
      // `postId` and `accountId` are the names of the documented API.
      "@graphql-eslint/no-typename-prefix": "off",
      // Short lists that belong to one object, such as a post's destinations, need no pages.
      "@graphql-eslint/relay-edge-types": ["error", { listTypeCanWrapOnlyEdgeType: false }],
    },
  },
];
