// Bulk actions: their steps, and what a filter allows.

import assert from "node:assert/strict";
import test from "node:test";

import { BulkRun } from "../../../app/web/source/board/components/bulk/bulk-run";
import { ServerError } from "../../../app/web/source/board/relay/server-error";
import { filterWords } from "../../../app/web/source/board/text/filter-words";
import { accountsPath, parseAccounts } from "../../../app/web/source/board/url/accounts";
import { postFilter, retryDisabledReason, retryExceptions } from "../../../app/web/source/board/url/bulk-filters";
import { failuresPath, groupPath, parseFailures, parsePeriod } from "../../../app/web/source/board/url/failures";
import { ALL_RESULTS } from "../../../app/web/source/board/url/results";
import { FLAG_FILTERS } from "../../../app/web/source/board/url/results-filter";

const TEXTS = { noun: "result", changed: "queued again", verb: "Retry" };
const REFUSAL = { reason: "ACCOUNT_NEEDS_RECONNECTION", count: 2, fix: "Reconnect the account." };

/** A run whose calls return the results or throw the errors, and the plans and keys that it has sent. */
function createRun(results, check = { plan: "1", plannedCount: 3, refusals: [REFUSAL] }) {
  const sent = [];
  const run = new BulkRun({
    title: "",
    description: [],
    texts: TEXTS,
    check: async () => check,
    call: async (plan, key) => {
      sent.push({ plan, key });
      const result = results.shift();
      if (result instanceof Error) throw result;
      return result;
    },
  });
  return { run, sent };
}

test("a run continues with the plan of each call until none is left", async () => {
  const { run, sent } = createRun([
    { plan: "2", changedCount: 1, refusals: [{ ...REFUSAL, count: 1 }] },
    { plan: null, changedCount: 1, refusals: [] },
  ]);
  await run.check();
  assert.equal(run.value.step, "confirmation");
  assert.equal(run.value.matchCount, 5);
  await run.run();
  assert.deepEqual(
    sent.map(({ plan }) => plan),
    ["1", "2"],
  );
  assert.notEqual(sent[0].key, sent[1].key);
  const { step, changedCount, refusals } = run.value;
  assert.deepEqual(
    { step, changedCount, refusals },
    { step: "done", changedCount: 2, refusals: [{ ...REFUSAL, count: 3 }] },
  );
});

test("an error keeps the plan, and the same call is repeated with the same key", async () => {
  const error = new ServerError("Too many requests.", "RATE_LIMITED", null, 5);
  const { run, sent } = createRun([error, { plan: null, changedCount: 3, refusals: [] }]);
  await run.check();
  await run.run();
  assert.equal(run.value.step, "failed");
  assert.equal(run.value.error, error);
  await run.tryAgain();
  assert.equal(run.value.step, "done");
  assert.deepEqual(sent[0], sent[1]);
});

test("a conflict repeats the check and says what was changed before", async () => {
  const conflict = new ServerError("The plan has expired.", "CONFLICT", null);
  const { run } = createRun([{ plan: "2", changedCount: 1, refusals: [] }, conflict]);
  await run.check();
  await run.run();
  const { step, changedCount, conflict: message } = run.value;
  assert.deepEqual({ step, changedCount }, { step: "confirmation", changedCount: 0 });
  assert.equal(message, "1 result queued again before. The plan has expired.");
});

test("a check that fails is repeated", async () => {
  const { run } = createRun([], null);
  await run.check();
  assert.equal(run.value.step, "failed");
  await run.tryAgain();
  assert.equal(run.value.step, "failed");
});

test("a retry needs a filter beside status and outcome", () => {
  assert.match(retryDisabledReason({ status: ["FAILED"], outcome: ["FAILED"] }), /^Add a filter/);
  assert.match(retryDisabledReason({}), /^Add a filter/);
  assert.match(retryDisabledReason({ cancelled: false }), /^Add a filter/);
  assert.equal(retryDisabledReason({ status: ["FAILED"], accountId: [1] }), null);
});

test("a retry names what it leaves out of the results that match", () => {
  const failed = "Only what has failed";
  const cancelled = "Cancelled results are left out";
  for (const [filter, ...exceptions] of [
    [{}, failed, cancelled],
    [FLAG_FILTERS.notCancelled, failed],
    [{ errorCode: ["BROKEN"] }, failed],
    [{ failureGroup: ["1"] }, failed],
    [{ outcome: ["FAILED", "NONE"] }, cancelled],
    [{ outcome: ["UNKNOWN"] }],
    [{ status: ["FAILED"] }, cancelled],
    [{ status: ["FAILED"], outcome: ["UNKNOWN"] }],
    [{ status: ["QUEUED"] }],
    [{ status: ["FAILED"], ...FLAG_FILTERS.cancelled }],
  ]) {
    assert.deepEqual(retryExceptions({ ...filter, accountId: [1] }), exceptions, JSON.stringify(filter));
  }
});

test("posts are cancelled only by filters that mean the same for posts and results", () => {
  const due = { scheduledAfter: "2026-04-15T12:00:00.000Z", search: "sale" };
  assert.deepEqual(postFilter({ ...due, status: ["QUEUED"] }), due);
  assert.deepEqual(postFilter(due), due);
  assert.equal(postFilter({ status: ["QUEUED"] }), null);
  assert.equal(postFilter({ ...due, status: ["QUEUED", "FAILED"] }), null);
  assert.equal(postFilter({ ...due, status: ["PUBLISHED"] }), null);
  for (const field of ["accountId", "platform", "errorCode", "publishedAfter", "overdue"]) {
    assert.equal(postFilter({ ...due, [field]: true }), null);
  }
});

test("a filter in words names everything that is set", () => {
  const now = new Date("2026-04-15T12:00:00.000Z");
  const view = {
    ...ALL_RESULTS,
    status: ["FAILED"],
    platform: ["x", "threads"],
    q: "a",
    timeField: "failed",
    to: now,
  };
  assert.deepEqual(filterWords(view, "UTC", now), [
    "Status: Failed",
    "Platform: X or Threads",
    "Text: “a”",
    "Failed before 12:00",
  ]);
  const names = new Map([[7, "@brand (X)"]]);
  assert.deepEqual(filterWords({ ...ALL_RESULTS, account: [7, 8] }, "UTC", now, names), [
    "Account: @brand (X) or 8",
  ]);
  const rest = {
    flag: "overdue",
    outcome: ["UNKNOWN"],
    category: ["AUTH"],
    account: [7],
    code: ["E"],
    reference: "r",
    from: now,
  };
  assert.equal(filterWords({ ...ALL_RESULTS, ...rest, group: ["1"] }, "UTC", now).length, 8);
});

test("views of failures and accounts survive their URLs, and nonsense is ignored", () => {
  const failures = { order: "LAST_SEEN", period: "week", platform: ["x"], category: ["AUTH"], after: "c" };
  assert.deepEqual(parseFailures(failuresPath(failures).split("?")[1]), failures);
  assert.equal(failuresPath(parseFailures("order=1&period=toString&platform=%00&category=no")), "/failures");
  assert.equal(groupPath("1-0", "today"), "/failures/1-0?period=today");
  assert.deepEqual(["?period=today", "?period=x", ""].map(parsePeriod), ["today", null, null]);
  const accounts = {
    canPost: "no",
    platform: ["x"],
    q: "a&b",
    order: "CREATED_AT",
    direction: "DESC",
    after: "c",
  };
  assert.deepEqual(parseAccounts(accountsPath(accounts).split("?")[1]), accounts);
  assert.equal(accountsPath(parseAccounts("canPost=1&order=x&direction=x&q=%00%20")), "/accounts");
});
