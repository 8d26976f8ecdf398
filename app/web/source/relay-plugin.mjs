// esbuild plugin: replaces each graphql`…` by an import of the artifact that relay-compiler made of it.

import { readFile } from "node:fs/promises";

const TAG = /graphql`\s*(?:query|mutation|subscription|fragment)\s+(\w+)[^`]*`/g;

/** `sources` is the folder of the files to transform, `artifacts` that of the artifacts. */
export function relayPlugin({ sources, artifacts }) {
  return {
    name: "relay",
    setup(build) {
      build.onLoad({ filter: /\.tsx?$/ }, async ({ path }) => {
        if (!path.startsWith(sources)) return undefined;
        const source = await readFile(path, "utf8");
        const names = new Set();
        const code = source.replace(TAG, (_, name) => names.add(name) && `artifact_${name}`);
        const imports = [...names].map(
          (name) => `import artifact_${name} from ${JSON.stringify(`${artifacts}/${name}.graphql`)};\n`,
        );
        return { contents: imports.join("") + code, loader: path.endsWith("x") ? "tsx" : "ts" };
      });
    },
  };
}
