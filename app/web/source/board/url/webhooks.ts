// Filters of the deliveries of a webhook ↔ search parameters. Values that make no sense are ignored.

import { DELIVERY_STATUSES, EVENT_TYPES, type DeliveryStatus, type EventType } from "../text/webhooks";
import { formatParameters, members, readList, readPeriod, readUuid, withoutEmpty } from "./parameters";

export interface DeliveriesView {
  readonly status: readonly DeliveryStatus[];
  readonly event: readonly EventType[];
  /** Time of the event or later. */
  readonly from: Date | null;
  /** Before this time. */
  readonly to: Date | null;
  /** Id of the post of the event; null for all. */
  readonly post: string | null;
}

export const ALL_DELIVERIES: DeliveriesView = { status: [], event: [], from: null, to: null, post: null };

export function parseDeliveries(search: string): DeliveriesView {
  const parameters = new URLSearchParams(search);
  return {
    status: members(DELIVERY_STATUSES, readList(parameters, "status")),
    event: members(EVENT_TYPES, readList(parameters, "event")),
    ...readPeriod(parameters),
    post: readUuid(parameters, "post"),
  };
}

/** Link to the page of a webhook with the filter, below the board. */
export function webhookPath(webhookId: string, view: Partial<DeliveriesView> = {}): string {
  const { status, event, from, to, post } = { ...ALL_DELIVERIES, ...view };
  return `/webhooks/${webhookId}${formatParameters({
    ...{ status, event, post },
    from: from && from.toISOString(),
    to: to && to.toISOString(),
  })}`;
}

/** The filter in the form of the API. */
export function deliveryFilter({ status, event, from, to, post }: DeliveriesView) {
  return withoutEmpty({
    ...{ status, event },
    postId: post,
    createdAfter: from?.toISOString() ?? null,
    createdBefore: to?.toISOString() ?? null,
  });
}
