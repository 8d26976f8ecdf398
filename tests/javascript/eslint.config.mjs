// Lint rules for schema.graphql: the recommended rules of graphql-eslint for schemas, and its Relay rules.
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
      // Only types that `node` returns have an id; counts and pages are not entities.
      "@graphql-eslint/strict-id-in-types": "off",
      // The documented API has the names `postId` and `accountId`.
      "@graphql-eslint/no-typename-prefix": "off",
      // Failure groups, whose numbers change all the time, are read forwards only.
      "@graphql-eslint/relay-arguments": ["error", { includeBoth: false }],
      // Short lists of one object, such as a post's destinations, need no pagination. An attempt is no Node: it is
      // read with its destination.
      "@graphql-eslint/relay-edge-types": [
        "error",
        { listTypeCanWrapOnlyEdgeType: false, shouldImplementNode: false },
      ],
    },
  },
];
