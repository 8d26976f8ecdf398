// Compiles the GraphQL documents of the board into an empty folder, so that none of an earlier source remains.

import { spawnSync } from "node:child_process";
import { mkdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";

const { artifactDirectory, persistConfig } = JSON.parse(readFileSync("relay.config.json", "utf8"));

rmSync(artifactDirectory, { recursive: true, force: true });
mkdirSync(artifactDirectory);
writeFileSync(persistConfig.file, "{}"); // the compiler adds to this file, and requires it
process.exit(
  spawnSync("relay-compiler", ["--output", "quiet-with-errors"], { stdio: "inherit" }).status ?? 1,
);
