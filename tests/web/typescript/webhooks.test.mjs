// Words for webhooks and their deliveries, and the filters of deliveries in the URL.

import assert from "node:assert/strict";
import test from "node:test";

import {
  changedSettings,
  deliveryStatus,
  EVENT_TYPES,
  eventListWords,
  eventWords,
  formattedJson,
  webhookLabel,
  webhookState,
} from "../../../app/web/source/board/text/webhooks";
import {
  ALL_DELIVERIES,
  deliveryFilter,
  parseDeliveries,
  webhookPath,
} from "../../../app/web/source/board/url/webhooks";

const ID = "11111111-2222-3333-4444-555555555555";
const VIEW = {
  status: ["RETRYING", "GIVEN_UP"],
  event: ["POST_FAILED"],
  from: new Date("2026-04-15T12:00:00.000Z"),
  to: new Date("2026-04-16T12:00:00.000Z"),
  post: ID,
};
const ACTIVE = { isActive: true, disabledReason: null, failingSince: null, lastSuccessAt: null };
const SETTINGS = {
  url: "https://example.com/a",
  name: "A",
  description: "",
  events: ["POST_FAILED", "POST_PUBLISHED"],
  platforms: [],
  accountIds: [2, 10],
};

function stateName(fields) {
  return webhookState({ ...ACTIVE, ...fields }).name;
}

test("filters of deliveries survive their URL", () => {
  const path = webhookPath(ID, VIEW);
  assert.deepEqual(parseDeliveries(path.slice(path.indexOf("?"))), VIEW);
  assert.equal(webhookPath(ID), `/webhooks/${ID}`);
  assert.deepEqual(parseDeliveries(""), ALL_DELIVERIES);
});

test("filters that make no sense are ignored, and a period is put in order", () => {
  const search = "status=NO,PENDING&event=x&post=1&from=2026-04-16T12:00:00Z&to=2026-04-15T12:00:00Z";
  assert.deepEqual(parseDeliveries(search), {
    ...ALL_DELIVERIES,
    status: ["PENDING"],
    from: VIEW.from,
    to: VIEW.to,
  });
});

test("the API receives only the criteria that are set", () => {
  assert.deepEqual(deliveryFilter(ALL_DELIVERIES), {});
  assert.deepEqual(deliveryFilter(VIEW), {
    status: ["RETRYING", "GIVEN_UP"],
    event: ["POST_FAILED"],
    postId: ID,
    createdAfter: "2026-04-15T12:00:00.000Z",
    createdBefore: "2026-04-16T12:00:00.000Z",
  });
});

test("the state of a webhook says whether it works, and else who has disabled it and why", () => {
  const at = "2026-04-15T12:00:00.000Z";
  assert.equal(stateName({}), "Nothing sent yet");
  assert.equal(stateName({ lastSuccessAt: at }), "Works");
  assert.equal(stateName({ lastSuccessAt: at, failingSince: at }), "Failing");
  assert.equal(stateName({ isActive: false, failingSince: at }), "Disabled by a person");
  assert.equal(
    stateName({ isActive: false, disabledReason: "GONE" }),
    "Disabled: the receiver no longer exists",
  );
  assert.equal(
    stateName({ isActive: false, disabledReason: "FAILING" }),
    "Disabled: every delivery failed for five days",
  );
  assert.equal(stateName({ isActive: false, disabledReason: "NEW_ONE" }), "Disabled: New one");
});

test("values of a newer server keep their names", () => {
  assert.equal(eventWords("POST_ARCHIVED"), "Post archived");
  assert.deepEqual(deliveryStatus("ON_HOLD"), { name: "On hold", icon: "question", tone: "neutral" });
});

test("the events of a webhook are listed in the order of the form", () => {
  assert.equal(eventListWords(["MEDIA_DELETED", ...EVENT_TYPES.toReversed()]), "All events");
  assert.equal(
    eventListWords(["MEDIA_DELETED", "POST_PUBLISHED", "POST_SCHEDULED"]),
    "Post scheduled · Post published · Media deleted",
  );
});

test("a webhook without a name is called by its host, because its path may contain a secret", () => {
  assert.equal(webhookLabel({ name: "CRM", url: "https://example.com/secret" }), "CRM");
  assert.equal(webhookLabel({ name: null, url: "https://example.com:8443/secret" }), "example.com:8443");
  assert.equal(webhookLabel({ name: "", url: "no URL" }), "no URL");
});

test("only the settings that differ are changed; the order of a list is no difference", () => {
  const after = {
    ...SETTINGS,
    name: "",
    events: SETTINGS.events.toReversed(),
    accountIds: [10, 2],
    platforms: ["x"],
  };
  assert.deepEqual(changedSettings(SETTINGS, SETTINGS), {});
  assert.deepEqual(changedSettings(SETTINGS, after), { name: "", platforms: ["x"] });
});

test("a payload is shown with line breaks, and what is no JSON as it is", () => {
  assert.equal(formattedJson('{"a":[1]}'), '{\n  "a": [\n    1\n  ]\n}');
  assert.equal(formattedJson("{"), "{");
});
