// Times, statuses and other texts.

import assert from "node:assert/strict";
import test from "node:test";

import { UNITS } from "../../../app/web/source/board/components/chart/units";
import {
  plainText,
  truncated,
  visibleText,
  webUrl,
} from "../../../app/web/source/board/text/characters";
import { formatCsv } from "../../../app/web/source/board/text/csv";
import { customerAnswer } from "../../../app/web/source/board/text/customer-answer";
import { groupMessage } from "../../../app/web/source/board/text/filter-words";
import { cappedNumber, count } from "../../../app/web/source/board/text/numbers";
import { nextAction, refusalFix, sourceWords } from "../../../app/web/source/board/text/reasons";
import { destinationStatus, postStatus, postStatusOf } from "../../../app/web/source/board/text/statuses";
import {
  coarseDuration,
  duration,
  fullTime,
  instantOf,
  localInput,
  localizeTimes,
  relativeTime,
  shortTime,
} from "../../../app/web/source/board/text/times";

const BERLIN = "Europe/Berlin";
const NOW = new Date("2026-04-15T14:30:00Z");
const MINUTE = 60_000;

test("times show the date only if it is another day in the zone", () => {
  assert.equal(shortTime(new Date("2026-04-15T21:59:00Z"), BERLIN, NOW), "23:59");
  assert.equal(shortTime(new Date("2026-04-15T22:00:00Z"), BERLIN, NOW), "Thu 16 Apr, 00:00");
  assert.equal(shortTime(new Date("2025-12-31T22:59:00Z"), BERLIN, NOW), "Wed 31 Dec 2025, 23:59");
});

test("full times name the zone once", () => {
  assert.equal(fullTime(NOW, BERLIN), "Wednesday 15 April 2026, 16:30:00 CEST (Europe/Berlin)");
  assert.equal(fullTime(NOW, "UTC"), "Wednesday 15 April 2026, 14:30:00 UTC");
});

test("times in sentences of the server are those of the zone", () => {
  const sentence =
    "Due since 2026-04-15 05:48 UTC, again at 2026-04-16T05:48:00.000Z; not 2026-99-99 99:99 UTC.";
  assert.equal(
    localizeTimes(sentence, BERLIN, NOW),
    "Due since 07:48, again on Thu 16 Apr, 07:48; not 2026-99-99 99:99 UTC.",
  );
});

test("tables are quoted as RFC 4180, and no cell is a formula", () => {
  assert.equal(formatCsv([]), "");
  assert.equal(
    formatCsv([
      ["name", "rate", "late"],
      ['a "b", c', 0.5, null],
      ["=1+1", -3, 0],
      ["\t＝x", 1e21, 1],
      ["", 0, 2],
    ]),
    'name,rate,late\r\n"a ""b"", c",0.5,\r\n\'=1+1,-3,0\r\n\'\t＝x,1e+21,1\r\n,0,2\r\n',
  );
});

test("durations have at most two units", () => {
  const values = [340, 12_000, 4 * MINUTE, 125 * MINUTE, 120 * MINUTE, 25 * 60 * MINUTE];
  assert.deepEqual([0, -340].map(duration), ["0 s", "0 s"]);
  assert.deepEqual(values.map(duration), ["340 ms", "12 s", "4 min", "2 h 5 min", "2 h", "1 d 1 h"]);
  const near = [1_940, 9_960, 59_700, 62_000, 80_400, 3_599_700, 86_399_000];
  assert.deepEqual(near.map(duration), ["1.9 s", "10 s", "1 min", "1 min 2 s", "1 min 20 s", "1 h", "1 d"]);
  const coarse = [1_940, 59_900, 119_000, 7_560_000].map(coarseDuration);
  assert.deepEqual(coarse, ["1 s", "59 s", "1 min", "2 h 6 min"]);
});

test("the lines of a chart of durations have different labels", () => {
  const { steps, format } = UNITS.seconds;
  const labels = (step) => [0, 1, 2, 3, 4, 5].map((line) => format(line * step));
  assert.deepEqual(labels(30), ["0 s", "30 s", "1 min", "1 min 30 s", "2 min", "2 min 30 s"]);
  assert.deepEqual(steps.filter((step) => new Set(labels(step)).size < 6), []);
});

test("distances are shown within a day", () => {
  assert.equal(relativeTime(new Date(NOW.getTime() + 4 * MINUTE), NOW), "in 4 min");
  assert.equal(relativeTime(new Date(NOW.getTime() - 90 * MINUTE), NOW), "1 h 30 min ago");
  assert.equal(relativeTime(new Date(NOW.getTime() + 1_440 * MINUTE), NOW), null);
  assert.equal(relativeTime(NOW, NOW), "now");
});

test("local times are read by the clock of the zone, also where it changes", () => {
  const read = (local) => instantOf(local, BERLIN)?.toISOString() ?? null;
  assert.equal(read("2026-01-01T12:00"), "2026-01-01T11:00:00.000Z");
  assert.equal(read("2026-03-29T02:30"), "2026-03-29T01:30:00.000Z"); // skipped by the clock
  assert.equal(read("2026-03-29T03:00"), "2026-03-29T01:00:00.000Z");
  assert.equal(read("2026-10-25T02:30"), "2026-10-25T00:30:00.000Z"); // shown twice; the first
  assert.equal(read("2026-10-25T03:00"), "2026-10-25T02:00:00.000Z");
  assert.equal(read("tomorrow"), null);
  assert.equal(localInput(new Date("2026-07-01T22:05:00Z"), BERLIN), "2026-07-02T00:05");
});

const QUEUED = {
  status: "QUEUED",
  outcome: "NONE",
  errorCode: null,
  isOverdue: false,
  awaitsOutcome: true,
  nextRetryAt: null,
  scheduledFor: NOW,
};
const PUBLISHED = { ...QUEUED, status: "PUBLISHED", outcome: "PUBLISHED" };
const FAILED = { ...QUEUED, status: "FAILED", outcome: "FAILED" };

test("each state of a destination has a word; an unknown one keeps its name", () => {
  const states = [
    [QUEUED, "Scheduled"],
    [{ ...QUEUED, scheduledFor: null }, "Draft"],
    [{ ...QUEUED, nextRetryAt: NOW }, "Retrying"],
    [{ ...QUEUED, nextRetryAt: NOW, isOverdue: true }, "Overdue"],
    [{ ...QUEUED, status: "PUBLISHING" }, "Publishing"],
    [{ ...QUEUED, awaitsOutcome: false }, "Imported unfinished"],
    [{ ...QUEUED, awaitsOutcome: false, nextRetryAt: NOW }, "Imported unfinished"],
    [{ ...QUEUED, awaitsOutcome: false, status: "PUBLISHING" }, "Imported unfinished"],
    [{ ...QUEUED, awaitsOutcome: false, scheduledFor: null }, "Draft"],
    [PUBLISHED, "Published"],
    [FAILED, "Failed"],
    [{ ...FAILED, outcome: "UNKNOWN" }, "Unknown outcome"],
    [{ ...FAILED, errorCode: "CANCELLED" }, "Cancelled"],
    [{ ...QUEUED, status: "IN_REVIEW" }, "In review"],
  ];
  assert.deepEqual(
    states.map(([state]) => destinationStatus(state).name),
    states.map(([, name]) => name),
  );
  const [scheduled, retrying, overdue, imported] = [0, 2, 3, 5].map((index) => states[index][0]);
  assert.equal(postStatusOf("SCHEDULED", [scheduled]).name, "Scheduled");
  assert.equal(postStatusOf("PUBLISHING", [FAILED, retrying]).name, "Retrying");
  assert.equal(postStatusOf("PUBLISHING", [scheduled, retrying, overdue]).name, "Overdue");
  assert.equal(postStatusOf("PUBLISHING", [PUBLISHED, scheduled]).name, "In progress");
  assert.equal(postStatusOf("SCHEDULED", [imported]).name, "Imported unfinished");
  assert.equal(postStatusOf("PUBLISHING", [PUBLISHED, FAILED, imported]).name, "Imported unfinished");
  assert.equal(postStatus("PARTIALLY_FAILED").name, "Partly failed or unknown");
  assert.equal(postStatus("ON_HOLD").name, "On hold");
});

test("unknown and cancelled results are not said to be failures of the post", () => {
  const [unknown, cancelled] = [
    { ...FAILED, outcome: "UNKNOWN" },
    { ...FAILED, errorCode: "CANCELLED" },
  ];
  const posts = [
    ["FAILED", [unknown], "Unknown outcome"],
    ["FAILED", [FAILED, cancelled, unknown], "Unknown outcome"],
    ["PARTIALLY_FAILED", [PUBLISHED, unknown], "Unknown outcome"],
    ["FAILED", [cancelled, cancelled], "Cancelled"],
    ["FAILED", [FAILED, cancelled], "Failed"],
    ["PARTIALLY_FAILED", [PUBLISHED, cancelled], "Published, partly cancelled"],
    ["PARTIALLY_FAILED", [PUBLISHED, FAILED, cancelled], "Partly failed"],
    ["PUBLISHED", [PUBLISHED, PUBLISHED], "Published"],
    ["FAILED", [], "Failed or unknown"],
  ];
  for (const [status, results, name] of posts) assert.equal(postStatusOf(status, results).name, name);
});

test("details that differ within a group are left out of its message", () => {
  assert.equal(groupMessage("Wait <number> s, see <url>: <text> of <id> < 3"), "Wait … s, see …: … of … < 3");
});

test("misleading characters are visible, and addresses are those of the web", () => {
  assert.equal(visibleText("a\u0000b\u001bc\u007fd\ud800\n\te"), "a\u2400b\u241bc\u2421d\ufffd\n\te");
  const marks = "\u0301".repeat(8);
  assert.equal(visibleText(`a${marks}${marks}b${marks}\u0301c`), `a${marks}b${marks}c`);
  assert.equal(truncated("abc def", 4), "abc…");
  assert.equal(truncated("ab\u{1f600}c", 3), "ab…");
  assert.equal(truncated("ab\u{1f600}c", 4), "ab\u{1f600}…");
  assert.equal(plainText("a\u202eb\u2066c\u202cd\u2069e\u0007"), "abcde\u2407");
  assert.equal(webUrl("https://x.com/a")?.hostname, "x.com");
  const refused = ["javascript:alert(1)", "data:text/html,x", "//x.com", "", null, undefined];
  assert.deepEqual(
    refused.map(webUrl),
    refused.map(() => null),
  );
});

test("numbers have their words", () => {
  assert.deepEqual([count(1, "change"), count(2_300, "change")], ["1 change", "2,300 changes"]);
  assert.deepEqual(
    [cappedNumber({ count: 8, capped: false }), cappedNumber({ count: 10_000, capped: true })],
    ["8", "10,000+"],
  );
});

test("an answer for the customer has no internals", () => {
  const account = {
    accountName: "@acme",
    publishedAt: null,
    platformPostUrl: null,
    retryRefusal: null,
    diagnosis: null,
  };
  const destinations = [
    {
      ...QUEUED,
      ...account,
      platform: "x",
      status: "PUBLISHED",
      publishedAt: NOW.toISOString(),
      platformPostUrl: "https://x.com/1",
    },
    {
      ...FAILED,
      ...account,
      platform: "tiktok",
      diagnosis: { category: "CONTENT_REJECTED", nextAction: "EDIT_POST" },
      errorCode: "MEDIA_UNSUPPORTED",
    },
    { ...FAILED, ...account, platform: "x", diagnosis: { category: "UNCLASSIFIED", nextAction: "RETRY" } },
    { ...QUEUED, ...account, platform: "x", nextRetryAt: "2026-12-31T23:00:00Z" },
    { ...QUEUED, ...account, platform: "x", attempts: 1, scheduledFor: "2026-04-15T14:00:00Z" },
    { ...QUEUED, ...account, platform: "x", attempts: 1, scheduledFor: "2026-12-31T23:00:00Z" },
    {
      ...QUEUED,
      ...account,
      platform: "x",
      attempts: 1,
      scheduledFor: "2026-04-15T14:00:00Z",
      isOverdue: true,
    },
    { ...QUEUED, ...account, platform: "x", awaitsOutcome: false, nextRetryAt: "2026-12-31T23:00:00Z" },
    { ...FAILED, ...account, platform: "mastodon", outcome: "UNKNOWN", accountName: null },
  ];
  assert.equal(
    customerAnswer({ content: "Hello", destinations }, BERLIN, NOW),
    [
      "Your post “Hello”:",
      "- X (@acme): published on Wed 15 Apr 2026, 16:30. https://x.com/1",
      "- TikTok (@acme): it could not be published, because the platform did not accept its content. Please change the post and publish it again.",
      "- X (@acme): it could not be published. We can try again.",
      "- X (@acme): not published yet; it is tried again on Fri 1 Jan 2027, 00:00.",
      "- X (@acme): it could not be published yet; it is being tried again now.",
      "- X (@acme): planned for Fri 1 Jan 2027, 00:00.",
      "- X (@acme): it could not be published yet; we will try again.",
      "- X (@acme): not published when it was last copied from the service that publishes it.",
      "- Mastodon (removed account): we are checking whether it was published.",
      "All times are those of Europe/Berlin.",
    ].join("\n"),
  );
});

test("an answer for the customer has the reason of a failure in plain words", () => {
  const answer = (category, nextAction, retryRefusal) => {
    const diagnosis = { category, nextAction };
    const destination = { ...FAILED, platform: "x", accountName: "@acme", retryRefusal, diagnosis };
    return customerAnswer({ content: "", destinations: [destination] }, BERLIN, NOW).split("\n")[1];
  };
  const start = "- X (@acme): it could not be published";
  assert.deepEqual(
    [
      answer("AUTH", "RECONNECT_ACCOUNT", "ACCOUNT_NEEDS_RECONNECTION"),
      answer("AUTH", "RECONNECT_ACCOUNT", null),
      answer("PERMANENT", "CONTACT_PLATFORM", null),
      answer("RATE_LIMITED", "RETRY", null),
      answer("TRANSIENT", "RETRY", null),
      answer("NEW_CATEGORY", "NEW_ACTION", null),
    ],
    [
      `${start}, because the platform no longer accepted the access to the account. Please connect the account again.`,
      `${start}, because the platform no longer accepted the access to the account. We can try again.`,
      `${start}, because the platform refused it. Please contact the platform.`,
      `${start}, because the platform accepted no more posts at that time. We can try again.`,
      `${start}, because the platform was not available. We can try again.`,
      `${start}.`,
    ],
  );
});

test("the next step after a failure is one that the server accepts now", () => {
  const next = (action, retryRefusal) => nextAction({ retryRefusal, diagnosis: { nextAction: action } });
  const refusals = [null, "ACCOUNT_NEEDS_RECONNECTION", "IMPORTED", "OUTCOME_UNKNOWN", "NEW_REASON"];
  const byRefusal = ["RETRY", "RECONNECT_ACCOUNT", "RETRY_ELSEWHERE", "CHECK_PLATFORM"];
  assert.deepEqual(
    refusals.map((refusal) => next("RETRY", refusal)),
    [...byRefusal, "RETRY"],
  );
  assert.deepEqual(
    refusals.map((refusal) => next("RECONNECT_ACCOUNT", refusal)),
    [...byRefusal, "RECONNECT_ACCOUNT"],
  );
  assert.equal(next("EDIT_POST", "ACCOUNT_NEEDS_RECONNECTION"), "EDIT_POST");
  assert.equal(nextAction({ retryRefusal: null, diagnosis: null }), null);
});

test("a refused retry is explained without names of the API", () => {
  const fix = "Check first; only `retryPost` can force it.";
  assert.doesNotMatch(refusalFix("OUTCOME_UNKNOWN", fix), /`/);
  assert.equal(refusalFix("IMPORTED", "Retry it there."), "Retry it there.");
});

test("a rejected access is fixed by a person with access to the account", () => {
  assert.equal(sourceWords("USER", "AUTH"), "a person with access to the account");
  assert.equal(sourceWords("USER", "CONTENT_REJECTED"), "the author of the post");
  assert.equal(sourceWords("PLATFORM", "AUTH"), "the platform");
  assert.equal(sourceWords("NEW_SOURCE", "AUTH"), "New source");
});
