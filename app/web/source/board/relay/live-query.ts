// A query whose data is read again after changes.

import { useLazyLoadQuery, useRelayEnvironment } from "react-relay/hooks";
import {
  fetchQuery,
  type CacheConfig,
  type Environment,
  type GraphQLTaggedNode,
  type OperationType,
} from "relay-runtime";

import { showNotice } from "../components/notices";
import { useLiveRefresh, type ChangeEvent } from "../live/events";

interface Options {
  /** Changes with each retry of the panel. */
  readonly fetchKey: number;
  /** Changes after which the data is read again; all by default. */
  readonly isRelevant?: (change: ChangeEvent) => boolean;
  /** Time after which the data is read again without a change. */
  readonly recheckMs?: number;
  readonly networkCacheConfig?: CacheConfig;
}

export function useLiveQuery<T extends OperationType>(
  query: GraphQLTaggedNode,
  variables: T["variables"],
  { fetchKey, isRelevant, recheckMs, networkCacheConfig = {} }: Options,
): T["response"] {
  const environment = useRelayEnvironment();
  const data = useLazyLoadQuery<T>(query, variables, {
    fetchKey,
    fetchPolicy: "store-and-network",
    networkCacheConfig,
  });
  // Without the configuration: an error of a part must not replace the data that is shown.
  useLiveRefresh(() => refresh<T>(environment, query, variables), { isRelevant, recheckMs });
  return data;
}

/** Reads the data again; components that show it render when it arrives. */
export function refresh<T extends OperationType>(
  environment: Environment,
  query: GraphQLTaggedNode,
  variables: T["variables"],
  networkCacheConfig: CacheConfig = {},
): void {
  fetchQuery<T>(environment, query, variables, { networkCacheConfig }).subscribe({
    error: showRefreshError,
  });
}

/** The data stays as it is; several views that fail share one message. */
export function showRefreshError(error: Error): void {
  showNotice(`This page could not be brought up to date. ${error.message}`, "refresh");
}
