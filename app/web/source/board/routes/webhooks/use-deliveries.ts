// The deliveries of a webhook that match a filter, in place while the user is in the list.

import { fetchQuery, graphql, useLazyLoadQuery, usePaginationFragment, useRelayEnvironment } from "react-relay/hooks";

import type {
  useDeliveries_webhook$data,
  useDeliveries_webhook$key,
} from "../../relay/__generated__/useDeliveries_webhook.graphql";
import type { useDeliveriesHeadQuery } from "../../relay/__generated__/useDeliveriesHeadQuery.graphql";
import type {
  useDeliveriesQuery,
  useDeliveriesQuery$variables,
} from "../../relay/__generated__/useDeliveriesQuery.graphql";
import type { useDeliveriesRowsQuery } from "../../relay/__generated__/useDeliveriesRowsQuery.graphql";
import { MAX_PAGE_SIZE, PAGE_SIZE, usePagedList, type PagedList } from "../../components/list/paged-list";
import { useLiveRefresh } from "../../live/events";
import { showRefreshError } from "../../relay/live-query";

const ENDED: readonly string[] = ["DELIVERED", "GIVEN_UP"];
/** Deliveries are no changes of the feed. */
const RECHECK_MS = 5_000;

const query = graphql`
  query useDeliveriesQuery($webhookId: UUID!, $filter: WebhookDeliveryFilter!, $count: Int!) {
    webhook(webhookId: $webhookId) {
      ...useDeliveries_webhook @arguments(filter: $filter, count: $count)
    }
  }
`;

/** The head of the list, read without disturbing it, with what changes in its rows and in the webhook. */
const headQuery = graphql`
  query useDeliveriesHeadQuery($webhookId: UUID!, $filter: WebhookDeliveryFilter!, $count: Int!) {
    webhook(webhookId: $webhookId) {
      ...webhookFields_webhook
      deliveries(first: $count, filter: $filter) {
        nodes {
          id
          ...deliveryRow_delivery
        }
      }
    }
  }
`;

/** Rows behind the head. */
const rowsQuery = graphql`
  query useDeliveriesRowsQuery($ids: [ID!]!) {
    nodes(ids: $ids) {
      id
      ...deliveryRow_delivery @alias(as: "delivery")
    }
  }
`;

export type Delivery = NonNullable<useDeliveries_webhook$data["deliveries"]>["edges"][number]["node"];

interface Options extends Pick<useDeliveriesQuery$variables, "webhookId" | "filter"> {
  readonly fetchKey: number;
  /** True while rows must not move. */
  readonly isInUse: boolean;
}

export function useDeliveries({ webhookId, filter, fetchKey, isInUse }: Options): PagedList<Delivery> {
  const environment = useRelayEnvironment();
  const variablesFor = (count: number) => ({ webhookId, filter, count });
  const { webhook } = useLazyLoadQuery<useDeliveriesQuery>(query, variablesFor(PAGE_SIZE), {
    fetchKey,
    fetchPolicy: "store-and-network",
  });
  const { data, ...pagination } = usePaginationFragment<
    useDeliveriesQuery,
    useDeliveries_webhook$key
  >(
    graphql`
      fragment useDeliveries_webhook on Webhook
      @refetchable(queryName: "useDeliveriesPaginationQuery")
      @argumentDefinitions(
        filter: { type: "WebhookDeliveryFilter!" }
        count: { type: "Int!" }
        cursor: { type: "String" }
      ) {
        deliveries(first: $count, after: $cursor, filter: $filter)
          @connection(key: "useDeliveries_deliveries") {
          edges {
            node {
              id
              status
              ...deliveryRow_delivery
            }
          }
        }
      }
    `,
    webhook,
  );
  const rows = data?.deliveries?.edges.map(({ node }) => node) ?? [];
  const list = usePagedList({
    rows,
    pagination,
    fetchHead: (count) =>
      fetchQuery<useDeliveriesHeadQuery>(environment, headQuery, variablesFor(count)).map(
        (response) => response.webhook?.deliveries,
      ),
    refetchRows: (count) => fetchQuery<useDeliveriesQuery>(environment, query, variablesFor(count)),
    isInUse,
  });

  /** Reads, of the rows behind the head, those that an attempt may change. */
  function refreshLaterRows(): void {
    const open = rows.slice(MAX_PAGE_SIZE).filter(({ status }) => !ENDED.includes(status));
    const ids = open.slice(0, MAX_PAGE_SIZE).map(({ id }) => id);
    if (ids.length === 0) return;
    fetchQuery<useDeliveriesRowsQuery>(environment, rowsQuery, { ids }).subscribe({ error: showRefreshError });
  }

  function refresh(): void {
    list.updates.compare();
    refreshLaterRows();
  }

  useLiveRefresh(refresh, { recheckMs: RECHECK_MS });
  return list;
}
