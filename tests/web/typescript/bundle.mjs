// Bundles tests for Node.js: node bundle.mjs FOLDER TEST…

import { fileURLToPath } from "node:url";

import { build } from "../../../app/web/source/node_modules/esbuild/lib/main.js";
import { relayPlugin } from "../../../app/web/source/relay-plugin.mjs";

const SOURCES = fileURLToPath(new URL("../../../app/web/source/board/", import.meta.url));
const [outdir, ...entryPoints] = process.argv.slice(2);

await build({
  entryPoints,
  outdir,
  bundle: true,
  platform: "node",
  format: "esm",
  outExtension: { ".js": ".mjs" },
  logLevel: "warning",
  plugins: [relayPlugin({ sources: SOURCES, artifacts: `${SOURCES}relay/__generated__` })],
});
