// The state of a webhook in words, and its settings.

import type { webhookFields_webhook$data } from "../../relay/__generated__/webhookFields_webhook.graphql";
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
  const { isActive, failingSince, consecutiveFailures, autoDisabledAt } = webhook;
  return (
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
  );
}

export function WebhookFacts({ webhook }: Props) {
  const { url, description, events, platforms, accountIds, lastSuccessAt, previousSecretExpiresAt } = webhook;
  const now = useNow();
  return (
    <dl className="facts">
      <dt>URL</dt>
      <dd>
        <UserText text={url} />
      </dd>
      {description && (
        <>
          <dt>Notes</dt>
          <dd>
            <UserText text={description} />
          </dd>
        </>
      )}
      <dt>Events</dt>
      <dd>{eventListWords(events)}</dd>
      {platforms.length > 0 && (
        <>
          <dt>Only platforms</dt>
          <dd>
            <UserText text={platforms.map(platformName).join(", ")} />
          </dd>
        </>
      )}
      {accountIds.length > 0 && (
        <>
          <dt>Only accounts</dt>
          <dd>{accountIds.join(", ")}</dd>
        </>
      )}
      <dt>Last success</dt>
      <dd>{lastSuccessAt ? <TimeWithDistance at={lastSuccessAt} /> : "never"}</dd>
      {previousSecretExpiresAt && new Date(previousSecretExpiresAt) > now && (
        <>
          <dt>Replaced secret</dt>
          <dd>
            signs too until <TimeWithDistance at={previousSecretExpiresAt} />
          </dd>
        </>
      )}
    </dl>
  );
}
