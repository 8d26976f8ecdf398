// Credentials of accounts that the board connects, with a real store of Relay.

import assert from "node:assert/strict";
import test from "node:test";
import { setImmediate } from "node:timers/promises";

import { createElement } from "../../../app/web/source/node_modules/react";
import { renderToString } from "../../../app/web/source/node_modules/react-dom/server.edge";
import { RelayEnvironmentProvider } from "../../../app/web/source/node_modules/react-relay/hooks";
import { Environment, Network } from "../../../app/web/source/node_modules/relay-runtime";
import { createStore } from "../../../app/web/source/board/relay/record-store";
import { useConnect } from "../../../app/web/source/board/routes/accounts/connect-account";

const PASSWORD = "abcd-efgh-ijkl-mnop";
const CONNECTION = {
  publisher: "BLUESKY",
  platform: "bluesky",
  credentials: { identifier: "acme.example", appPassword: PASSWORD },
};
const ACCOUNT = {
  id: "1",
  accountId: 7,
  accountName: "@acme",
  platform: "bluesky",
  platformUsername: null,
  profileUrl: null,
  publisher: "BLUESKY",
  isActive: true,
  connectedAt: "2026-04-15T12:00:00.000Z",
  needsReconnectionSince: null,
  readiness: { canPost: true, status: "READY", message: "" },
  token: { expiresAt: null, expired: false },
  health: null,
};

/** The function of `useConnect`, as a component has it. */
function connectFunction(environment, accountId) {
  let connect;
  function Form() {
    [connect] = useConnect(accountId);
    return null;
  }
  renderToString(createElement(RelayEnvironmentProvider, { environment }, createElement(Form)));
  return connect;
}

for (const [object, accountId, mutation] of [
  ["a new account", null, "connectAccount"],
  ["an account that was connected again", 7, "setAccountCredentials"],
]) {
  test(`the store has no credentials of ${object}`, async () => {
    const network = Network.create(() => ({ data: { [mutation]: { account: ACCOUNT } } }));
    const store = createStore();
    const storeHasPassword = () => JSON.stringify(store.getSource()).includes(PASSWORD);
    const connect = connectFunction(new Environment({ network, store }), accountId);
    const connected = await new Promise((resolve, reject) => {
      const onConnected = ({ accountId: number }) => resolve([number, storeHasPassword()]);
      connect(CONNECTION, { onConnected, onError: reject });
    });
    assert.deepEqual(connected, [7, true]);
    await setImmediate(); // Relay removes unused records after the current task
    assert.equal(storeHasPassword(), false);
  });
}
