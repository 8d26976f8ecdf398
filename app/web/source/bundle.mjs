// Bundles entry points with esbuild, with content hashes in the file names, and compresses the output.

import { build } from "esbuild";
import { readdir, readFile, writeFile } from "node:fs/promises";
import { basename, join } from "node:path";
import { fileURLToPath } from "node:url";
import { brotliCompressSync, gzipSync } from "node:zlib";

const SOURCE = fileURLToPath(new URL(".", import.meta.url));

/** Bundles one entry point into `outdir`; returns the names of its script and its style sheet, if any. */
export async function bundle(entryPoint, outdir, options = {}) {
  const { metafile } = await build({
    entryPoints: [entryPoint],
    bundle: true,
    minify: true,
    metafile: true,
    target: "es2022",
    absWorkingDir: SOURCE,
    outdir,
    entryNames: "[name]-[hash]",
    chunkNames: "[name]-[hash]",
    assetNames: "[name]-[hash]",
    legalComments: "linked",
    loader: { ".ttf": "file" },
    logLevel: "warning",
    ...options,
  });
  // Modules that are imported dynamically are entry points too, of their own chunks.
  const [path, { cssBundle }] = Object.entries(metafile.outputs).find(([, output]) =>
    output.entryPoint?.endsWith(entryPoint),
  );
  return {
    script: basename(path),
    style: cssBundle && basename(cssBundle),
    scripts: initialScripts(metafile, path),
  };
}

/** Names of the scripts that the browser loads before the first one runs. */
function initialScripts({ outputs }, path, found = new Set()) {
  if (found.has(path)) return found;
  found.add(path);
  for (const { path: imported, kind } of outputs[path].imports) {
    if (kind === "import-statement") initialScripts({ outputs }, imported, found);
  }
  return new Set([...found].map((name) => basename(name)));
}

/** Writes a .gz and a .br file next to each file in the folders. */
export async function compress(folders) {
  for (const folder of folders) {
    for (const file of await readdir(folder)) {
      const content = await readFile(join(folder, file));
      await writeFile(join(folder, `${file}.gz`), gzipSync(content, { level: 9 }));
      await writeFile(join(folder, `${file}.br`), brotliCompressSync(content));
    }
  }
}
