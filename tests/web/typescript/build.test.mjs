// Guards of the build.

import assert from "node:assert/strict";
import { mkdtemp, writeFile } from "node:fs/promises";
import { randomBytes } from "node:crypto";
import { tmpdir } from "node:os";
import { join } from "node:path";
import test from "node:test";

import { limitInitialBytes, refuseMarkupFromText } from "../../../app/web/source/board/guards.mjs";

async function folderWith(name, content) {
  const folder = await mkdtemp(join(tmpdir(), "board-"));
  await writeFile(join(folder, name), content);
  return folder;
}

for (const code of [
  "<p dangerouslySetInnerHTML={x} />",
  "a.innerHTML = b",
  "a.insertAdjacentHTML(b)",
  'href="javascript:x"',
]) {
  test(`the build refuses ${code}`, async () => {
    const folder = await folderWith("page.tsx", code);
    await assert.rejects(
      refuseMarkupFromText(folder),
      /page\.tsx contains .*, which turns text into markup or code/,
    );
  });
}

test("the build accepts text", async () => {
  await refuseMarkupFromText(await folderWith("page.tsx", "<p>{text}</p>"));
});

test("the build refuses scripts over the limit", async () => {
  const folder = await folderWith("main.js", randomBytes(1_000));
  await limitInitialBytes(folder, ["main.js"], 2_000);
  await assert.rejects(
    limitInitialBytes(folder, ["main.js"], 900),
    /loads 1023 bytes of scripts; the limit is 900/,
  );
});
