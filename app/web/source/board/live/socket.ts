// The WebSocket of the page, which notices a silent disconnection by missing pongs.

import { createClient, type Client } from "graphql-ws";

import { ROOT_PATH } from "../config";
import { recordContact } from "./connection";

const PING_INTERVAL_MS = 10_000;
const PONG_TIMEOUT_MS = 5_000;

export function createSocketClient(): Client {
  let pongTimer: ReturnType<typeof setTimeout> | undefined;
  const client = createClient({
    url: `${location.origin.replace(/^http/, "ws")}${ROOT_PATH}/graphql`,
    retryAttempts: 0, // the feed connects again itself, because it must continue after another cursor
    keepAlive: PING_INTERVAL_MS,
    on: {
      ping: (isReceived) => {
        if (!isReceived) pongTimer = setTimeout(() => client.terminate(), PONG_TIMEOUT_MS);
      },
      pong: (isReceived) => {
        if (isReceived) recordContact();
        clearTimeout(pongTimer);
      },
      closed: () => clearTimeout(pongTimer),
    },
  });
  return client;
}
