// Times of automatic refreshes.

import assert from "node:assert/strict";
import test, { mock } from "node:test";

import { RefreshScheduler } from "../../../app/web/source/board/live/refresh-scheduler";
import { automaticRequestDelay, delayAutomaticRequests } from "../../../app/web/source/board/relay/rate-limit";

let refreshes;
let scheduler;

test.beforeEach(() => {
  mock.timers.enable({ apis: ["setTimeout", "Date"], now: 100_000 });
  globalThis.document = Object.assign(new EventTarget(), { hidden: false });
  refreshes = [];
  scheduler = new RefreshScheduler((cause) => refreshes.push(cause));
});
test.afterEach(() => {
  mock.timers.tick(automaticRequestDelay());
  mock.timers.reset();
});

test("changes refresh a view at most every 5 seconds", () => {
  scheduler.schedule("changes");
  scheduler.schedule("changes");
  mock.timers.tick(0);
  assert.deepEqual(refreshes, ["changes"]);
  scheduler.schedule("changes");
  mock.timers.tick(4_999);
  assert.deepEqual(refreshes, ["changes"]);
  mock.timers.tick(1);
  assert.deepEqual(refreshes, ["changes", "changes"]);
});

test("reloads refresh a view at most every 2 seconds, and changes do not delay them", () => {
  scheduler.schedule("reload");
  mock.timers.tick(0);
  scheduler.schedule("changes");
  scheduler.schedule("reload");
  scheduler.schedule("changes");
  mock.timers.tick(1_999);
  assert.deepEqual(refreshes, ["reload"]);
  mock.timers.tick(1);
  assert.deepEqual(refreshes, ["reload", "reload"]);
  mock.timers.tick(10_000);
  assert.equal(refreshes.length, 2);
});

test("a reload in a hidden page is done when the page is visible", () => {
  document.hidden = true;
  scheduler.schedule("reload");
  mock.timers.tick(10_000);
  assert.deepEqual(refreshes, []);
  document.hidden = false;
  document.dispatchEvent(new Event("visibilitychange"));
  mock.timers.tick(0);
  assert.deepEqual(refreshes, ["reload"]);
});

test("refreshes wait as long as the server has asked for", () => {
  delayAutomaticRequests(30);
  delayAutomaticRequests(20);
  scheduler.schedule("changes");
  mock.timers.tick(10_000);
  delayAutomaticRequests(25);
  mock.timers.tick(24_999);
  assert.deepEqual(refreshes, []);
  mock.timers.tick(1);
  assert.deepEqual(refreshes, ["changes"]);
});

test("a stopped view is not refreshed", () => {
  scheduler.schedule("changes");
  scheduler.stop();
  document.dispatchEvent(new Event("visibilitychange"));
  mock.timers.tick(10_000);
  assert.deepEqual(refreshes, []);
});
