// The state of a webhook in words, and its settings.

import type { webhookFields_webhook$data } from "../../relay/__generated__/webhookFields_webhook.graphql";
import { Fact } from "../../components/fact";
import { Status } from "../../components/status";
import { Time, TimeWithDistance, useNow } from "../../components/time";
import { UserText } from "../../components/user-text";
import { count } from "../../text/numbers";
import { platformName } from "../../text/reasons";
import { eventListWords, webhookState } from "../../text/webhooks";

export type Webhook = webhookFields_webhook$data;

interface Props {
  readonly webhook: Webhook;
}

export function WebhookState({ webhook }: Props) {
  const { isActive, failingSince, consecutiveFailures, autoDisabledAt, secretError } = webhook;
  return (
    <>
      <p>
        <Status words={webhookState(webhook)} />
        {isActive && failingSince && (
          <>
            {" since "}
            <Time at={failingSince} />, {count(consecutiveFailures, "failure")}
          </>
        )}
        {!isActive && autoDisabledAt && (
          <>
            {" "}
            <TimeWithDistance at={autoDisabledAt} />
          </>
        )}
      </p>
      {secretError && <p className="fix">{secretError}</p>}
    </>
  );
}

export function WebhookFacts({ webhook }: Props) {
  const { url, description, events, platforms, accountIds, lastSuccessAt, previousSecretExpiresAt } = webhook;
  const now = useNow();
  return (
    <dl className="facts">
      <Fact name="URL">
        <UserText text={url} />
      </Fact>
      {description && (
        <Fact name="Notes">
          <UserText text={description} />
        </Fact>
      )}
      <Fact name="Events">{eventListWords(events)}</Fact>
      {platforms.length > 0 && (
        <Fact name="Only platforms">
          <UserText text={platforms.map(platformName).join(", ")} />
        </Fact>
      )}
      {accountIds.length > 0 && (
        <Fact name="Only accounts">{accountIds.join(", ")}</Fact>
      )}
      <Fact name="Last success">{lastSuccessAt ? <TimeWithDistance at={lastSuccessAt} /> : "never"}</Fact>
      {previousSecretExpiresAt && new Date(previousSecretExpiresAt) > now && (
        <Fact name="Replaced secret">
          signs too until <TimeWithDistance at={previousSecretExpiresAt} />
        </Fact>
      )}
    </dl>
  );
}
