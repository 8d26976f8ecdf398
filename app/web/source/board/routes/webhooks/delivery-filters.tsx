// Which deliveries of a webhook are shown.

import { Link, useLocation } from "wouter";

import { ChoiceFilter, TimeFilter } from "../../components/fields";
import { serverNow } from "../../text/clock";
import { filterPhrase } from "../../text/filter-words";
import { shortTime } from "../../text/times";
import { DELIVERY_STATUSES, deliveryStatus, EVENT_TYPES, eventWords } from "../../text/webhooks";
import { useZone } from "../../text/zone";
import { ALL_DELIVERIES, webhookPath, type DeliveriesView } from "../../url/webhooks";
import type { Webhook } from "./webhook-facts";

/** The filters in words. */
export function useDeliveryWords({ status, event, from, to, post }: DeliveriesView): string[] {
  const zone = useZone();
  const time = (name: string, at: Date | null) =>
    at ? [`Event ${name} ${shortTime(at, zone, serverNow())}`] : [];
  return [
    ...filterPhrase("Status", status.map((each) => deliveryStatus(each).name)),
    ...filterPhrase("Event", event.map(eventWords)),
    ...time("from", from),
    ...time("before", to),
    ...(post ? ["Only events of one post"] : []),
  ];
}

interface Props {
  readonly webhook: Webhook;
  readonly view: DeliveriesView;
}

export function DeliveryFilters({ webhook, view }: Props) {
  const [, navigate] = useLocation();
  const pathOf = (changes: Partial<DeliveriesView>) =>
    webhookPath(webhook.webhookId, { ...view, ...changes });
  const change = (changes: Partial<DeliveriesView>) => navigate(pathOf(changes));
  const isFiltered = pathOf(ALL_DELIVERIES) !== pathOf({});
  return (
    <search className="filters">
      <ChoiceFilter
        label="Status"
        values={view.status}
        options={DELIVERY_STATUSES}
        name={(status) => deliveryStatus(status).name}
        onChange={(status) => change({ status })}
      />
      <ChoiceFilter
        label="Event"
        values={view.event}
        options={EVENT_TYPES}
        name={eventWords}
        onChange={(event) => change({ event })}
      />
      <TimeFilter label="From" value={view.from} onChange={(from) => change({ from })} />
      <TimeFilter label="Until" value={view.to} onChange={(to) => change({ to })} />
      {view.post && (
        <p>
          Only events of one post. <Link href={pathOf({ post: null })}>Show those of all posts</Link>
        </p>
      )}
      {isFiltered && (
        <Link href={pathOf(ALL_DELIVERIES)} className="button">
          Clear filters
        </Link>
      )}
    </search>
  );
}
