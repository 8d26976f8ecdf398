// The deliveries of a webhook that match a filter, in place while the user is in the list.

import { useState } from "react";
import {
  fetchQuery,
  graphql,
  useLazyLoadQuery,
  usePaginationFragment,
  useRelayEnvironment,
} from "react-relay/hooks";

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
import { useMembership, type Membership } from "../../components/list/use-membership";
import { useShortcuts } from "../../keyboard/shortcuts";
import { useLiveRefresh } from "../../live/events";
import { showRefreshError } from "../../relay/live-query";

const PAGE_SIZE = 50;
/** Largest page of the API, and most objects that it reads by their ids. */
const MAX_PAGE_SIZE = 100;
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

/** The first rows, read without disturbing the list, with what changes in them and in the webhook. */
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

/** Rows behind the first ones. */
const rowsQuery = graphql`
  query useDeliveriesRowsQuery($ids: [ID!]!) {
    nodes(ids: $ids) {
      id
      ...deliveryRow_delivery @alias(as: "delivery")
    }
  }
`;

export type Delivery = NonNullable<useDeliveries_webhook$data["deliveries"]>["edges"][number]["node"];

export interface Deliveries {
  readonly rows: readonly Delivery[];
  readonly membership: Membership;
  readonly hasMore: boolean;
  readonly isLoadingMore: boolean;
  /** Why no more rows could be loaded. */
  readonly loadError: Error | null;
  readonly loadMore: () => void;
}

interface Options extends Pick<useDeliveriesQuery$variables, "webhookId" | "filter"> {
  readonly fetchKey: number;
  /** True while rows must not move. */
  readonly isInUse: boolean;
}

export function useDeliveries({ webhookId, filter, fetchKey, isInUse }: Options): Deliveries {
  const environment = useRelayEnvironment();
  const { webhook } = useLazyLoadQuery<useDeliveriesQuery>(
    query,
    { webhookId, filter, count: PAGE_SIZE },
    { fetchKey, fetchPolicy: "store-and-network" },
  );
  const { data, hasNext, loadNext, isLoadingNext } = usePaginationFragment<
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
  const [loadError, setLoadError] = useState<Error | null>(null);
  const rows = data?.deliveries?.edges.map(({ node }) => node) ?? [];
  // Behind a complete list, one more, so that a new last row is noticed.
  const shownCount = hasNext ? rows.length : rows.length + 1;
  const shown = { webhookId, filter, count: Math.min(Math.max(shownCount, PAGE_SIZE), MAX_PAGE_SIZE) };
  const membership = useMembership({
    rows,
    headSize: shown.count,
    readHead: () =>
      fetchQuery<useDeliveriesHeadQuery>(environment, headQuery, shown).map((response) => ({
        destinations: response.webhook?.deliveries,
      })),
    readRows: () => fetchQuery<useDeliveriesQuery>(environment, query, shown),
    isInUse,
    mayReplace: () => rows.length <= MAX_PAGE_SIZE,
  });
  const { difference, compare, showNew } = membership;

  function loadMore(): void {
    if (isLoadingNext) return;
    setLoadError(null);
    loadNext(PAGE_SIZE, { onComplete: setLoadError });
  }

  useShortcuts(difference.newCount > 0 ? { ".": showNew } : {});
  /** Of the rows behind the first page, those that an attempt may change. */
  function refreshLaterRows(): void {
    const open = rows.slice(MAX_PAGE_SIZE).filter(({ status }) => !ENDED.includes(status));
    const ids = open.slice(0, MAX_PAGE_SIZE).map(({ id }) => id);
    if (ids.length === 0) return;
    fetchQuery<useDeliveriesRowsQuery>(environment, rowsQuery, { ids }).subscribe({ error: showRefreshError });
  }

  function bringUpToDate(): void {
    compare();
    refreshLaterRows();
  }

  useLiveRefresh(bringUpToDate, { recheckMs: RECHECK_MS });
  return { rows, membership, hasMore: hasNext, isLoadingMore: isLoadingNext, loadError, loadMore };
}
