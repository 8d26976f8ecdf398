// Filters in the URL, and the page after sign-in.

import assert from "node:assert/strict";
import test from "node:test";

import { bestMatches } from "../../../app/web/source/board/components/palette/palette-entries";
import { nextPath } from "../../../app/web/source/board/session/next-path";
import { accountNumber, isUuid, pastedUrls, pastedUuid } from "../../../app/web/source/board/url/parameters";
import {
  ALL_RESULTS,
  countFilters,
  formatResults,
  parseResults,
  resultsPath,
} from "../../../app/web/source/board/url/results";
import { failedResults } from "../../../app/web/source/board/url/result-lists";
import { csvPath, destinationFilter } from "../../../app/web/source/board/url/results-filter";

const FROM = new Date("2026-04-15T12:00:00.000Z");
const TO = new Date("2026-04-16T12:00:00.000Z");

const VIEW = {
  ...ALL_RESULTS,
  status: ["QUEUED", "FAILED"],
  account: [3, 7],
  code: ["A&B"],
  group: ["1-4b81912a354a33f20165a45f9cc84f23"],
  flag: "overdue",
  q: "50 % off?",
  timeField: "failed",
  from: FROM,
  to: TO,
  order: "FAILED_AT",
  direction: "ASC",
};

test("a view survives its URL", () => {
  assert.deepEqual(parseResults(formatResults(VIEW)), VIEW);
  assert.equal(formatResults(ALL_RESULTS), "");
  assert.deepEqual(parseResults(""), ALL_RESULTS);
  assert.equal(resultsPath({ outcome: ["UNKNOWN"] }), "/results?outcome=UNKNOWN");
  assert.equal(countFilters(VIEW), 7);
});

test("parameters that make no sense are ignored", () => {
  const search =
    "status=FAILED,NO,FAILED&account=0,-1,x,2147483648,1e2,0x10,5.0,5&group=1&from=9999-01-01T00:00:00Z&to=2026-13-01&order=&flag=no";
  assert.deepEqual(parseResults(search), { ...ALL_RESULTS, status: ["FAILED"], account: [5] });
  assert.equal(parseResults(`q=${"a".repeat(9_000)}`).q.length, 200);
  assert.equal(parseResults(`code=${Array.from({ length: 500 }, (_, i) => i)}`).code.length, 100);
  assert.equal(parseResults("q=a%00b").q, "ab");
});

test("numbers of accounts are plain decimal numbers, and ids of posts are UUIDs", () => {
  assert.equal(accountNumber("2147483647"), 2_147_483_647);
  const refused = ["01", "-1", "1.0", "1e3", "0x10", "2147483648", ""];
  assert.deepEqual(
    refused.map(accountNumber),
    refused.map(() => null),
  );
  assert.deepEqual(
    ["00000000-0000-4000-8000-00000000000A", "00000000-0000-4000-8000-00000000000"].map(isUuid),
    [true, false],
  );
});

test("a pasted id may have spaces, quotes and capitals around and in it", () => {
  const id = "f47ac10b-58cc-4372-a567-0e02b2c3d479";
  const pasted = [` "${id.toUpperCase()}",\n`, `“${id}”`, `{${id}}`, id.replace("-", " -"), `${id}0`, "", "f47ac10b"];
  assert.deepEqual(pasted.map(pastedUuid), [id, id, id, id, null, null, null]);
  assert.equal(pastedUuid(`<https://example.com/a/board/posts/${id.toUpperCase()}?x#y>`), id);
  assert.equal(pastedUuid(`https://example.com/posts/${id}`), null);
});

/** The address below each origin under which it may be stored. */
function atOrigins(path) {
  return ["https://", "https://www.", "http://", "http://www."].map((start) => start + path);
}

test("a pasted address is looked up as it is and in the other forms of the same address", () => {
  const path = "example.com/p/A(1)/?igsh=x&b=/";
  const forms = [`${path}#top`, path, "example.com/p/A(1)/", "example.com/p/A(1)"].flatMap(atOrigins);
  assert.deepEqual(pastedUrls(` <https://${path}#top>,`), forms);
  assert.ok(pastedUrls("HTTP://WWW.Example.com/A").includes("https://example.com/A"));
  assert.ok(pastedUrls("http://www.example.com/A/").includes("https://example.com/A"));
  assert.ok(pastedUrls("https://example.com/A").includes("http://www.example.com/A/"));
  assert.ok(pastedUrls("https://example.com/?utm_source=a&v=1&utm_id=b#t").includes("https://example.com/?v=1"));
  assert.ok(pastedUrls("https://example.com/%C3%A4").includes("https://example.com/ä"));
  assert.deepEqual(pastedUrls("https://example.com/%C3").slice(0, 4), atOrigins("example.com/%C3"));
  const long = `https://example.com/${"a".repeat(500)}`;
  assert.deepEqual(pastedUrls(long), [long]);
});

test("only web addresses are pasted addresses", () => {
  const others = ["", "example.com", "ftp://example.com", "https://", "https://a b", "see https://example.com", "javascript:1"];
  assert.deepEqual(
    others.map(pastedUrls),
    others.map(() => null),
  );
});

test("a period can be chosen before its times", () => {
  const view = { ...ALL_RESULTS, timeField: "failed" };
  assert.equal(formatResults(view), "?period=failed");
  assert.deepEqual(parseResults("?period=failed"), view);
  assert.deepEqual(destinationFilter(view), {});
  assert.equal(countFilters(view), 0);
});

test("the ends of a period are put in order", () => {
  const { from, to } = parseResults(`from=${TO.toISOString()}&to=${FROM.toISOString()}`);
  assert.deepEqual([from, to], [FROM, TO]);
});

test("the filters of GraphQL and REST are the same", () => {
  assert.deepEqual(destinationFilter(VIEW), {
    status: ["QUEUED", "FAILED"],
    accountId: [3, 7],
    errorCode: ["A&B"],
    failureGroup: VIEW.group,
    search: "50 % off?",
    overdue: true,
    failedAfter: "2026-04-15T12:00:00.000Z",
    failedBefore: "2026-04-16T12:00:00.000Z",
  });
  const [path, search] = csvPath(VIEW).split("?");
  assert.equal(path, "/v1/destinations.csv");
  assert.deepEqual(Object.fromEntries(new URLSearchParams(search)), {
    status: "queued,failed",
    account_id: "3,7",
    error_code: "A&B",
    failure_group: VIEW.group[0],
    search: "50 % off?",
    overdue: "true",
    failed_after: "2026-04-15T12:00:00.000Z",
    failed_before: "2026-04-16T12:00:00.000Z",
  });
});

test("a period of failures limits the time of the failure", () => {
  assert.equal(resultsPath(failedResults({ account: [7] })), "/results?outcome=FAILED&account=7&order=FAILED_AT");
  assert.deepEqual(destinationFilter(failedResults({ from: FROM })), {
    outcome: ["FAILED"],
    failedAfter: FROM.toISOString(),
  });
});

test("sign-in leads to paths below the board only", () => {
  const next = (path) => nextPath(`?next=${encodeURIComponent(path)}`);
  assert.equal(next("/results?status=FAILED"), "/results?status=FAILED");
  const refused = [
    "//x",
    "/\\x",
    "/\t/x",
    "/\n/x",
    "https://x",
    "javascript:alert(1)",
    "results",
    "",
    "/sign-in?next=/",
    "/../../docs",
    "/%2e%2e/docs",
    "/..//x",
    "/x/../sign-in",
  ];
  assert.deepEqual(
    refused.map(next),
    refused.map(() => "/"),
  );
  assert.equal(nextPath(""), "/");
});

test("accounts whose names start with the text are offered first", () => {
  const names = ["The Acme", "acme shop", "not acme", "@ACME", "Acme"];
  const offered = (text, of = names) =>
    bestMatches(of.map((accountName) => ({ accountName })), text).map(({ accountName }) => accountName);
  assert.deepEqual(offered("acme"), ["acme shop", "@ACME", "Acme", "The Acme", "not acme"]);
  assert.deepEqual(offered("@acme"), offered("acme"));
  const others = (number) => Array(number).fill("The Acme");
  assert.deepEqual(offered("acme", [...others(9), "Acme"]), ["Acme", ...others(7)]);
});
