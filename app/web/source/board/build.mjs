// Builds the results board: its shell, its assets, and the documents that the server executes for it.

import { copyFile, mkdir, readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { bundle } from "../bundle.mjs";
import { limitInitialBytes, refuseMarkupFromText } from "./guards.mjs";
import { relayPlugin } from "../relay-plugin.mjs";

const SOURCE = fileURLToPath(new URL(".", import.meta.url));
const ARTIFACTS = join(SOURCE, "relay", "__generated__");

/** Limit of the compressed scripts that a browser loads before it shows the first page. */
const MAX_INITIAL_BYTES = 200_000;

export async function buildBoard(folder) {
  await refuseMarkupFromText(SOURCE);
  const assets = join(folder, "assets");
  await mkdir(assets, { recursive: true });
  const { script: icon } = await bundle("board/icon.svg", assets, { loader: { ".svg": "copy" } });
  const { script, style, scripts } = await bundle("board/main.tsx", assets, {
    format: "esm",
    splitting: true,
    // Every part imports what starts the board, which is loaded before it: else esbuild puts each module that
    // some of them share into a file of its own, which the first page would load too.
    inject: [join(SOURCE, "main.tsx")],
    define: { "process.env.NODE_ENV": '"production"' },
    plugins: [relayPlugin({ sources: SOURCE, artifacts: ARTIFACTS })],
  });
  await limitInitialBytes(assets, scripts, MAX_INITIAL_BYTES);

  const preloads = [...scripts].filter((name) => name !== script);
  const names = {
    icon,
    style,
    script,
    preloads: preloads
      .map((name) => `<link rel="modulepreload" href="$root_path/board/assets/${name}" />`)
      .join("\n    "),
  };
  const template = await readFile(join(SOURCE, "index.html"), "utf8");
  const html = template.replace(/%(\w+)%/g, (_, name) => names[name]);
  await writeFile(join(folder, "index.html"), html);
  await copyFile(join(ARTIFACTS, "documents.json"), join(folder, "documents.json"));
}
