import type { CodegenConfig } from "@graphql-codegen/cli";

const config: CodegenConfig = {
  schema: "schema.graphql",
  documents: "codegen/*.graphql",
  generates: {
    "gql/": {
      preset: "client",
      presetConfig: { persistedDocuments: true },
      config: { scalars: { DateTime: "string", JSON: "unknown", UUID: "string" } },
    },
  },
};
export default config;
