// In place of the pages of webhooks, for sessions that may not read them.

import { ActionButton } from "../../components/action-button";
import { Page } from "../../components/page";
import { adminDeniedReason, useViewer } from "../../session/viewer";
import { WhatWebhooksAre } from "./what-webhooks-are";

export function NoAdmin() {
  const viewer = useViewer();
  const isReadOnly = !viewer.scopes.includes("WRITE");
  return (
    <Page title="This key may not manage webhooks">
      <div className="empty">
        <p>
          {isReadOnly
            ? "This sign-in may only read, or its key does not have the scope admin. "
            : "Its scopes do not include admin. "}
          Webhooks can be seen only with it, because their URLs may contain secrets. Sign in with another key,
          or ask the operator of this server for one.
        </p>
        <WhatWebhooksAre />
        <ActionButton disabledReason={adminDeniedReason(viewer)} onPress={() => undefined}>
          Add a webhook…
        </ActionButton>
      </div>
    </Page>
  );
}
