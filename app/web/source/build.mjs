// Bundles the page into a folder, with content hashes in the file names, and compresses the files.
// node build.mjs FOLDER

import { build } from "esbuild";
import { readdir, readFile, writeFile } from "node:fs/promises";
import { basename, join, resolve } from "node:path";
import { fileURLToPath } from "node:url";
import { brotliCompressSync, gzipSync } from "node:zlib";

const SOURCE = fileURLToPath(new URL(".", import.meta.url));
const FOLDER = resolve(process.argv[2]);
const ASSETS = join(FOLDER, "assets");

const WORKERS = {
  editor: "monaco-editor/esm/vs/editor/editor.worker.js",
  json: "monaco-editor/esm/vs/language/json/json.worker.js",
  graphql: "monaco-graphql/esm/graphql.worker.js",
};

/** Bundles one entry point and returns the names of its script and its style sheet, if any. */
async function bundle(entryPoint, options) {
  const { metafile } = await build({
    entryPoints: [entryPoint],
    bundle: true,
    minify: true,
    metafile: true,
    target: "es2022",
    absWorkingDir: SOURCE,
    outdir: ASSETS,
    entryNames: "[name]-[hash]",
    assetNames: "[name]-[hash]",
    legalComments: "linked",
    loader: { ".ttf": "file" },
    logLevel: "warning",
    ...options,
  });
  const [script, { cssBundle }] = Object.entries(metafile.outputs).find(([, output]) => output.entryPoint);
  return { script: basename(script), style: cssBundle && basename(cssBundle) };
}

const workers = {};
for (const [label, entryPoint] of Object.entries(WORKERS)) {
  const { script } = await bundle(entryPoint, { format: "iife" });
  workers[label] = `./${script}`;
}
// Without splitting, so that one style sheet also contains the styles of dynamic imports.
const { script, style } = await bundle("src/main.tsx", {
  format: "esm",
  define: { WORKERS: JSON.stringify(workers), "process.env.NODE_ENV": '"production"' },
});

const template = await readFile(join(SOURCE, "index.html"), "utf8");
const html = template
  .replace("$script", `graphiql/assets/${script}`)
  .replace("$style", `graphiql/assets/${style}`);
await writeFile(join(FOLDER, "index.html"), html);

for (const file of await readdir(ASSETS)) {
  const content = await readFile(join(ASSETS, file));
  await writeFile(join(ASSETS, `${file}.gz`), gzipSync(content, { level: 9 }));
  await writeFile(join(ASSETS, `${file}.br`), brotliCompressSync(content));
}
