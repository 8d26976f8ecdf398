// Live changes: batches, reconnection, differences of lists.

import assert from "node:assert/strict";
import test, { mock } from "node:test";

import { reconnectDelay, waitForReconnection } from "../../../app/web/source/board/live/reconnection";
import { Coalescer } from "../../../app/web/source/board/live/coalescer";
import {
  recordChangedObjects,
  onOutdatedObjects,
  startRequest,
} from "../../../app/web/source/board/relay/outdated-objects";
import { differenceOf } from "../../../app/web/source/board/components/list/list-difference";

/** A coalescer with a batch every 250 ms, and what it has delivered. */
function createCoalescer() {
  const delivered = [];
  const coalescer = new Coalescer({
    deliver: (batch) => delivered.push(batch),
    reload: () => delivered.push("reload"),
    interval: () => 250,
    now: () => Date.now(),
  });
  return { coalescer, delivered };
}

test.beforeEach(() => mock.timers.enable({ apis: ["setTimeout", "Date"], now: 10_000 }));
test.afterEach(() => mock.timers.reset());

test("changes are delivered in batches, in their order", () => {
  const { coalescer, delivered } = createCoalescer();
  for (const change of [1, 2, 3]) coalescer.add(change);
  mock.timers.tick(249);
  assert.deepEqual(delivered, []);
  mock.timers.tick(1);
  coalescer.add(4);
  mock.timers.tick(250);
  assert.deepEqual(delivered, [[1, 2, 3], [4]]);
});

test("more than 200 changes in a second are one reload", () => {
  const { coalescer, delivered } = createCoalescer();
  for (let change = 0; change < 200; change += 1) coalescer.add(change);
  mock.timers.tick(250);
  assert.equal(delivered[0].length, 200);
  coalescer.add(200);
  coalescer.add(201);
  mock.timers.tick(250);
  assert.deepEqual(delivered.slice(1), ["reload"]);
  mock.timers.tick(1_001);
  coalescer.add(202);
  mock.timers.tick(250);
  assert.deepEqual(delivered.slice(2), [[202]]);
});

test("a pause holds changes back; more than 200 are one reload", () => {
  const { coalescer, delivered } = createCoalescer();
  coalescer.pause();
  coalescer.add(1);
  mock.timers.tick(5_000);
  assert.deepEqual(delivered, []);
  coalescer.resume();
  mock.timers.tick(250);
  assert.deepEqual(delivered, [[1]]);
  coalescer.pause();
  for (let change = 0; change < 201; change += 1) {
    coalescer.add(change);
    mock.timers.tick(100);
  }
  coalescer.resume();
  mock.timers.tick(250);
  assert.deepEqual(delivered.slice(1), ["reload"]);
});

test("delays grow from 1 to 30 seconds, and are spread over half of that", () => {
  assert.deepEqual(
    [0, 1, 4, 5, 60].map((attempts) => reconnectDelay(attempts, 1)),
    [1_000, 2_000, 16_000, 30_000, 30_000],
  );
  assert.equal(reconnectDelay(0, 0), 500);
});

test("a wait ends when the browser is online again, and on abort", async () => {
  Object.assign(globalThis, { window: new EventTarget(), document: new EventTarget() });
  const aborter = new AbortController();
  const waits = [AbortSignal.abort(), aborter.signal, new AbortController().signal].map((signal) =>
    waitForReconnection(60, signal),
  );
  aborter.abort();
  await Promise.all(waits.slice(0, 2));
  window.dispatchEvent(new Event("online"));
  await waits[2];
});

const rows = (...ids) => ids.map((id) => ({ id }));

/** The head, of 3 rows at most, as the server has it now. */
function difference(shown, ...current) {
  const head = { totalCountCapped: current.length, totalCountIsCapped: false, nodes: rows(...current) };
  const { newCount, unmatchedIds, isDifferent } = differenceOf(rows(...shown), head, 3);
  return { newCount, unmatched: [...unmatchedIds], isDifferent };
}

test("new and unmatched rows are found by the head", () => {
  assert.deepEqual(difference(["a", "b"], "a", "b"), { newCount: 0, unmatched: [], isDifferent: false });
  assert.deepEqual(difference(["a", "b"], "b"), { newCount: 0, unmatched: ["a"], isDifferent: true });
  assert.deepEqual(difference(["a"], "b", "a"), { newCount: 1, unmatched: [], isDifferent: true });
  assert.deepEqual(difference(["a", "b"], "b", "a"), { newCount: 0, unmatched: [], isDifferent: true });
});

test("behind a full head, no row is said to be unmatched", () => {
  assert.deepEqual(difference(["a", "b", "c", "d"], "x", "a", "b"), {
    newCount: 1,
    unmatched: [],
    isDifferent: true,
  });
});

test("objects that changed during a request are read again after its response", () => {
  const outdated = [];
  onOutdatedObjects((ids) => outdated.push(ids));
  recordChangedObjects(["before"]);
  const finishFirst = startRequest();
  recordChangedObjects(["during"]);
  const finishSecond = startRequest();
  finishSecond();
  mock.timers.tick(1);
  assert.deepEqual(outdated, []);
  finishFirst();
  assert.deepEqual(outdated, []);
  mock.timers.tick(1);
  assert.deepEqual(outdated, [["during"]]);
  startRequest()();
  mock.timers.tick(1);
  assert.equal(outdated.length, 1);
});
