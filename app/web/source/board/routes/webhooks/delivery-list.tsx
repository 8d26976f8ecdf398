// Deliveries of a webhook, those of the newest event first.

import { Link } from "wouter";

import { useListInteraction } from "../../components/list/list-interaction";
import { MoreRows, NewRowsButton } from "../../components/list/list-parts";
import { useRowKeys } from "../../keyboard/row-keys";
import { count } from "../../text/numbers";
import { deliveryFilter, webhookPath, type DeliveriesView } from "../../url/webhooks";
import { DeliveryRow } from "./delivery-row";
import { useDeliveries } from "./use-deliveries";

interface Props {
  readonly webhookId: string;
  readonly view: DeliveriesView;
  readonly fetchKey: number;
}

export function DeliveryList({ webhookId, view, fetchKey }: Props) {
  const interaction = useListInteraction();
  const filter = deliveryFilter(view);
  const list = useDeliveries({ webhookId, filter, fetchKey, isInUse: interaction.isInUse });
  const { newCount, unmatchedIds } = list.updates.difference;
  useRowKeys(".delivery summary");
  return (
    <>
      {(list.rows.length > 0 || newCount > 0) && (
        // Also without the button, so that the rows stay under the pointer when it appears.
        <div className="list-bar">
          <p>
            {list.hasMore ? "The newest " : ""}
            {count(list.rows.length, "delivery", "deliveries")}
          </p>
          {newCount > 0 && <NewRowsButton count={newCount} onPress={list.updates.showNew} />}
        </div>
      )}
      {list.rows.length === 0 && (
        <NoDeliveries webhookId={webhookId} isFiltered={Object.keys(filter).length > 0} />
      )}
      {list.rows.length > 0 && (
        <ul className="deliveries" aria-label="Deliveries" {...interaction.container}>
          {list.rows.map((delivery) => (
            <DeliveryRow
              key={delivery.id}
              delivery={delivery}
              webhookId={webhookId}
              isUnmatched={unmatchedIds.has(delivery.id)}
            />
          ))}
        </ul>
      )}
      {list.hasMore && (
        <div>
          <MoreRows list={list} />
        </div>
      )}
    </>
  );
}

interface NoneProps {
  readonly webhookId: string;
  readonly isFiltered: boolean;
}

function NoDeliveries({ webhookId, isFiltered }: NoneProps) {
  return (
    <div className="empty">
      {isFiltered ? (
        <>
          <p>No delivery matches these filters.</p>
          <Link href={webhookPath(webhookId)} className="button">
            Show all deliveries
          </Link>
        </>
      ) : (
        <p>
          Nothing was sent yet. Deliveries appear here when one of its events happens. Tests are not stored.
        </p>
      )}
    </div>
  );
}
