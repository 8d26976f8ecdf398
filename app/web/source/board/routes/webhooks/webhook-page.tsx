// One webhook: whether it works, and its deliveries.

import { graphql, useFragment, useLazyLoadQuery } from "react-relay/hooks";
import { useSearch } from "wouter/use-browser-location";

import type { webhookFields_webhook$key } from "../../relay/__generated__/webhookFields_webhook.graphql";
import type { webhookPageQuery } from "../../relay/__generated__/webhookPageQuery.graphql";
import { BackLink } from "../../components/back-link";
import { DeferredPanel } from "../../components/deferred-panel";
import { Page } from "../../components/page";
import { Panel } from "../../components/panel";
import { useViewer } from "../../session/viewer";
import { webhookLabel } from "../../text/webhooks";
import { isUuid } from "../../url/parameters";
import { parseDeliveries } from "../../url/webhooks";
import { DeliveryFilters, useDeliveryWords } from "./delivery-filters";
import { DeliveryList } from "./delivery-list";
import { NoAdmin } from "./no-admin";
import { RedeliverFailedButton } from "./redeliver-failed";
import { WebhookActions } from "./webhook-actions";
import { WebhookFacts, WebhookState } from "./webhook-facts";
import { webhookFields } from "./webhook-fields";

interface Props {
  /** Id of the webhook, as in the path. */
  readonly webhookId: string;
}

export default function WebhookPage({ webhookId }: Props) {
  const { scopes } = useViewer();
  if (!scopes.includes("ADMIN")) return <NoAdmin />;
  if (!isUuid(webhookId)) return <NoSuchWebhook />;
  const id = webhookId.toLowerCase();
  return <Panel lines={16}>{(fetchKey) => <LoadedWebhook webhookId={id} fetchKey={fetchKey} />}</Panel>;
}

function LoadedWebhook({ webhookId, fetchKey }: Props & { readonly fetchKey: number }) {
  const { webhook } = useLazyLoadQuery<webhookPageQuery>(
    graphql`
      query webhookPageQuery($webhookId: UUID!) {
        webhook(webhookId: $webhookId) {
          ...webhookFields_webhook
        }
      }
    `,
    { webhookId },
    { fetchKey, fetchPolicy: "store-and-network" },
  );
  return webhook ? <WebhookWithDeliveries webhook={webhook} /> : <NoSuchWebhook />;
}

function WebhookWithDeliveries({ webhook: key }: { readonly webhook: webhookFields_webhook$key }) {
  const webhook = useFragment(webhookFields, key);
  const search = useSearch();
  const view = parseDeliveries(search);
  return (
    <Page
      title={webhookLabel(webhook)}
      actions={<BackLink list="/webhooks" />}
      filterWords={useDeliveryWords(view)}
    >
      <section className="card" aria-label="Webhook">
        <WebhookState webhook={webhook} />
        <WebhookFacts webhook={webhook} />
      </section>
      <WebhookActions webhook={webhook} />
      <div className="page-heading">
        <h2>Deliveries</h2>
        <RedeliverFailedButton webhook={webhook} from={view.from} />
      </div>
      <DeliveryFilters webhook={webhook} view={view} />
      <DeferredPanel value={search} lines={12}>
        {(shown, attempt) => (
          <DeliveryList webhookId={webhook.webhookId} view={parseDeliveries(shown)} fetchKey={attempt} />
        )}
      </DeferredPanel>
    </Page>
  );
}

function NoSuchWebhook() {
  return (
    <Page title="No such webhook" actions={<BackLink list="/webhooks" />}>
      <p>It does not exist in this workspace, or it was deleted.</p>
    </Page>
  );
}
