// What can be done with a webhook.

import { useState } from "react";

import { ActionButton } from "../../components/action-button";
import { adminDeniedReason, useViewer } from "../../session/viewer";
import { DeleteDialog } from "./delete-dialog";
import { EditDialog } from "./edit-dialog";
import { EnableDialog } from "./enable-dialog";
import { RotateDialog } from "./rotate-dialog";
import { TestDialog } from "./test-dialog";
import { useDisable } from "./update-webhook";
import type { Webhook } from "./webhook-facts";

const DIALOGS = {
  test: TestDialog,
  edit: EditDialog,
  enable: EnableDialog,
  rotate: RotateDialog,
  delete: DeleteDialog,
};

export function WebhookActions({ webhook }: { readonly webhook: Webhook }) {
  const [dialog, setDialog] = useState<keyof typeof DIALOGS | null>(null);
  const [disable, isDisabling] = useDisable(webhook.webhookId);
  const disabledReason = adminDeniedReason(useViewer());
  const OpenDialog = dialog && DIALOGS[dialog];
  return (
    <div className="buttons">
      <ActionButton disabledReason={disabledReason} onPress={() => setDialog("test")}>
        Test…
      </ActionButton>
      <ActionButton disabledReason={disabledReason} onPress={() => setDialog("edit")}>
        Edit…
      </ActionButton>
      {/* One button, so that it keeps the focus. */}
      <ActionButton
        disabledReason={disabledReason}
        isBusy={isDisabling}
        onPress={webhook.isActive ? disable : () => setDialog("enable")}
      >
        {webhook.isActive ? "Disable" : "Enable…"}
      </ActionButton>
      <ActionButton disabledReason={disabledReason} onPress={() => setDialog("rotate")}>
        Rotate secret…
      </ActionButton>
      <ActionButton disabledReason={disabledReason} onPress={() => setDialog("delete")}>
        Delete…
      </ActionButton>
      {OpenDialog && <OpenDialog webhook={webhook} onClose={() => setDialog(null)} />}
    </div>
  );
}
