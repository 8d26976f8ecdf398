// The webhooks of the workspace: whether they work, and how to add and change them.

import { useState } from "react";

import { ActionButton } from "../../components/action-button";
import { Page } from "../../components/page";
import { Panel } from "../../components/panel";
import { useRowKeys } from "../../keyboard/row-keys";
import { adminDeniedReason, useViewer } from "../../session/viewer";
import { AddDialog } from "./add-dialog";
import { NoAdmin } from "./no-admin";
import { WebhookList } from "./webhook-list";

export default function WebhooksPage() {
  const viewer = useViewer();
  const [isAdding, setAdding] = useState(false);
  useRowKeys(".webhook h2 a");
  if (!viewer.scopes.includes("ADMIN")) return <NoAdmin />;
  const addButton = (
    <ActionButton disabledReason={adminDeniedReason(viewer)} onPress={() => setAdding(true)}>
      Add a webhook…
    </ActionButton>
  );
  return (
    <Page title="Webhooks" actions={addButton}>
      <Panel lines={12}>{(fetchKey) => <WebhookList fetchKey={fetchKey} addButton={addButton} />}</Panel>
      {/* Not in the list, which changes while the dialog shows the secret. */}
      {isAdding && <AddDialog onClose={() => setAdding(false)} />}
    </Page>
  );
}
