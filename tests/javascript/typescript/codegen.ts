import type { CodegenConfig } from "@graphql-codegen/cli";

const scalars = { Credentials: "Record<string, unknown>", DateTime: "string", JSON: "unknown", UUID: "string" };

const config: CodegenConfig = {
  schema: "schema.graphql",
  documents: "documents.graphql",
  generates: {
    "gql/": { preset: "client", config: { scalars, strictScalars: true } },
    "operations.ts": {
      plugins: ["typescript-operations"],
      config: { scalars, strictScalars: true },
    },
  },
};
export default config;
