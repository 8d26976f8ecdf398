// Checks of the build: no markup made of text, and few bytes before the first page.

import { readdir, readFile } from "node:fs/promises";
import { extname, join } from "node:path";
import { gzipSync } from "node:zlib";

/** Ways to turn text into markup or code. The content security policy blocks them; nothing here needs them. */
const FORBIDDEN = /dangerouslySetInnerHTML|(inner|outer)HTML|insertAdjacentHTML|document\.write|javascript:/;

/** Raises an error if a source file in the folder could turn text into markup or code. */
export async function refuseMarkupFromText(folder) {
  for (const entry of await readdir(folder, { recursive: true })) {
    if (![".ts", ".tsx"].includes(extname(entry)) || entry.includes("__generated__")) continue;
    const found = FORBIDDEN.exec(await readFile(join(folder, entry), "utf8"));
    if (found) throw new Error(`${entry} contains ${found[0]}, which turns text into markup or code.`);
  }
}

/** Raises an error if the scripts, compressed, have more bytes than the limit. */
export async function limitInitialBytes(assets, scripts, limit) {
  let bytes = 0;
  for (const name of scripts) bytes += gzipSync(await readFile(join(assets, name)), { level: 9 }).length;
  if (bytes > limit) {
    throw new Error(`The first page of the board loads ${bytes} bytes of scripts; the limit is ${limit}.`);
  }
  console.log(`board: ${bytes} bytes of compressed scripts before the first page`);
}
