// What a webhook is, for people who have none.

import { ROOT_PATH } from "../../config";

export function WhatWebhooksAre() {
  return (
    <p>
      A webhook is a URL of another system. This server sends it an HTTP request for each event, such as a post
      that was published or failed, so that the system need not ask. Requests are signed, and repeated until
      the system accepts them. <a href={`${ROOT_PATH}/docs/webhooks`}>Documentation</a>
    </p>
  );
}
