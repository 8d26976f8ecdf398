// The activity and unknown outcomes: their URLs, visits, and names of those who made a change.

import assert from "node:assert/strict";
import test from "node:test";

import { endOfLastVisit, storeVisit } from "../../../app/web/source/board/session/visits";
import { actorName } from "../../../app/web/source/board/text/actors";
import { activityPath, parseActivity } from "../../../app/web/source/board/url/activity";
import { parseUnknown, unknownPath } from "../../../app/web/source/board/url/unknown";

const ID = "f47ac10b-58cc-4372-a567-0e02b2c3d479";
const ALL = { types: [], person: null, key: null };

test("a view of the activity survives its URL", () => {
  const view = { types: ["POST_CHANGED", "ACCOUNT_CHANGED"], person: "Ann & <b>", key: ID };
  const path = activityPath(view);
  assert.deepEqual(parseActivity(path.slice(path.indexOf("?"))), view);
  assert.equal(activityPath(ALL), "/activity");
  assert.deepEqual(parseActivity(""), ALL);
});

test("parameters of the activity that make no sense are ignored", () => {
  const search = `types=NO,POST_DELETED,POST_DELETED&types=x&person=&key=1`;
  assert.deepEqual(parseActivity(search), { ...ALL, types: ["POST_DELETED"] });
  assert.equal(parseActivity(`person=${"a".repeat(9_000)}`).person.length, 200);
});

test("an unknown outcome has a link, and other values lead to the first", () => {
  assert.equal(parseUnknown(unknownPath(ID).slice("/unknown".length)), ID);
  assert.equal(parseUnknown(`item=%20${ID.toUpperCase()}`), ID);
  for (const search of ["", "item=", "item=1", `item=${ID}x`]) assert.equal(parseUnknown(search), null);
  assert.equal(unknownPath(null), "/unknown");
});

test("a visit ends after half an hour without use, and the end of the last one is stored", () => {
  const values = new Map();
  globalThis.localStorage = {
    getItem: (key) => values.get(key) ?? null,
    setItem: (key, value) => values.set(key, value),
  };
  const at = (minutes) => new Date(minutes * 60_000).toISOString();
  for (const minutes of [0, 29, 58]) storeVisit("a", at(minutes));
  assert.equal(endOfLastVisit("a"), null);
  for (const minutes of [88, 100]) storeVisit("a", at(minutes));
  storeVisit("b", at(1));
  assert.deepEqual([endOfLastVisit("a"), endOfLastVisit("b")], [at(58), null]);
  storeVisit("a", at(130));
  assert.equal(endOfLastVisit("a"), at(100));
  for (const stored of ["{", "null", '{"a":1}', '{"a":[{"at":"x","cursor":"y"}]}']) {
    values.set("post-results-board-visits", stored);
    assert.equal(endOfLastVisit("a"), null);
    storeVisit("a", at(0));
    assert.equal(endOfLastVisit("a"), null);
  }
});

test("a change is made by a person, a key, or both", () => {
  const key = { keyId: ID, keyName: "board" };
  assert.equal(actorName({ ...key, person: "Ann" }), "Ann with the key “board”");
  assert.equal(actorName({ ...key, person: null }), "the key “board”");
  assert.equal(actorName({ keyId: ID, keyName: null, person: null }), "a key of another workspace");
  assert.equal(actorName({ keyId: null, keyName: null, person: "Ann" }), "Ann");
});
