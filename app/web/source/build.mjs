// Builds the pages into a folder: GraphiQL, the results board and the documentation.
// node build.mjs FOLDER

import { fileURLToPath } from "node:url";
import { join, resolve } from "node:path";
import { buildBoard } from "./board/build.mjs";
import { buildDocs } from "./docs/build.mjs";
import { bundle, compress } from "./bundle.mjs";
import { buildGraphiQL } from "./graphiql/build.mjs";

const GUIDES = fileURLToPath(new URL("../../docs", import.meta.url));
const FOLDER = resolve(process.argv[2]);
const ASSETS = join(FOLDER, "assets");
const DOCS = join(FOLDER, "docs");
const BOARD = join(FOLDER, "board");

await buildGraphiQL(FOLDER, ASSETS);
await buildBoard(BOARD);
const { script: docsStyle } = await bundle("docs/docs.css", join(DOCS, "assets"));
await buildDocs(GUIDES, DOCS, docsStyle);
await compress([ASSETS, join(DOCS, "assets"), join(BOARD, "assets")]);
