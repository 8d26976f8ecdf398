// What can be done with an account: note that it has access again, and retry what has failed on it.

import { useState } from "react";
import { graphql, useFragment, useRelayEnvironment } from "react-relay/hooks";

import type { accountActions_account$key } from "../../relay/__generated__/accountActions_account.graphql";
import type { DestinationFilter } from "../../relay/__generated__/retryActionMutation.graphql";
import { ActionButton } from "../../components/action-button";
import { openBulkDialog } from "../../components/bulk/bulk-dialog";
import { retryAction } from "../../components/bulk/retry-action";
import { credentialsDeniedReason, useViewer, writeDeniedReason } from "../../session/viewer";
import { plainAccountLabel } from "../../text/labels";
import { retryExceptions } from "../../url/bulk-filters";
import { failedWithoutAccess } from "../../url/result-lists";
import { destinationFilter } from "../../url/results-filter";
import { PUBLISHERS } from "./connect-account";
import { ConnectDialog } from "./connect-dialog";
import { ReconnectedDialog } from "./reconnected-dialog";
import { RetryAfterReconnectDialog } from "./retry-after-reconnect-dialog";

export function AccountActions({ account }: { readonly account: accountActions_account$key }) {
  const { accountId, accountName, platform, publisher, readiness, onLostAccess } = useFragment(
    graphql`
      fragment accountActions_account on Account {
        accountId
        accountName
        platform
        publisher
        onLostAccess
        readiness {
          canPost
        }
      }
    `,
    account,
  );
  const environment = useRelayEnvironment();
  const [openDialog, setOpenDialog] = useState<"connect" | "reconnected" | "waited" | null>(null);
  const close = () => setOpenDialog(null);
  const viewer = useViewer();
  const disabledReason = writeDeniedReason(viewer);
  const connectable = PUBLISHERS.find((each) => each === publisher);
  const name = plainAccountLabel(accountName, platform);
  const noAccessReason = readiness.canPost
    ? null
    : connectable
      ? "Connect the account again first."
      : "Reconnect the account where it was connected, then mark it as reconnected here.";

  function retryFailedWithoutAccess(): void {
    const words = [
      `What failed on ${name} because the platform rejected the access or the account could not post`,
    ];
    const filter = destinationFilter(failedWithoutAccess(accountId));
    openBulkDialog(retryAction(environment, filter, words));
  }

  function retryAll(): void {
    const filter: DestinationFilter = { accountId: [accountId], status: ["FAILED"] };
    const words = [`Everything that has failed on ${name}`, ...retryExceptions(filter)];
    openBulkDialog(retryAction(environment, filter, words));
  }

  return (
    <div className="buttons">
      {connectable && (
        <ActionButton
          disabledReason={credentialsDeniedReason(viewer)}
          onPress={() => setOpenDialog("connect")}
        >
          Connect again…
        </ActionButton>
      )}
      <ActionButton disabledReason={disabledReason} onPress={() => setOpenDialog("reconnected")}>
        Mark reconnected…
      </ActionButton>
      <ActionButton disabledReason={disabledReason ?? noAccessReason} onPress={retryFailedWithoutAccess}>
        Bring back what failed without access…
      </ActionButton>
      {onLostAccess === "WAIT" && (
        <ActionButton
          disabledReason={disabledReason ?? noAccessReason}
          onPress={() => setOpenDialog("waited")}
        >
          Publish what waited…
        </ActionButton>
      )}
      <ActionButton disabledReason={disabledReason} onPress={retryAll}>
        Retry all failed…
      </ActionButton>
      {openDialog === "reconnected" && (
        <ReconnectedDialog
          accountId={accountId}
          name={name}
          onClose={close}
          onReconnected={() => setOpenDialog(onLostAccess === "WAIT" ? "waited" : null)}
        />
      )}
      {openDialog === "waited" && (
        <RetryAfterReconnectDialog accountId={accountId} name={name} onClose={close} />
      )}
      {openDialog === "connect" && connectable && (
        <ConnectDialog account={{ accountId, publisher: connectable, name }} onClose={close} />
      )}
    </div>
  );
}
