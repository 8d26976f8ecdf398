// Builds the GraphiQL page with the workers of its editor.

import { readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { bundle } from "../bundle.mjs";

const WORKERS = {
  editor: "monaco-editor/esm/vs/editor/editor.worker.js",
  json: "monaco-editor/esm/vs/language/json/json.worker.js",
  graphql: "monaco-graphql/esm/graphql.worker.js",
};

export async function buildGraphiQL(folder, assets) {
  const workers = {};
  for (const [label, entryPoint] of Object.entries(WORKERS)) {
    const { script } = await bundle(entryPoint, assets, { format: "iife" });
    workers[label] = `./${script}`;
  }
  // Without splitting, so that one style sheet also contains the styles of dynamic imports.
  const { script, style } = await bundle("graphiql/main.tsx", assets, {
    format: "esm",
    define: { WORKERS: JSON.stringify(workers), "process.env.NODE_ENV": '"production"' },
  });
  const template = await readFile(new URL("index.html", import.meta.url), "utf8");
  const html = template
    .replace("$script", `graphiql/assets/${script}`)
    .replace("$style", `graphiql/assets/${style}`);
  await writeFile(join(folder, "index.html"), html);
}
