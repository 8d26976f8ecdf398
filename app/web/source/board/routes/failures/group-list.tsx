// One page of the groups of failures that match the filter.

import { fetchQuery, graphql, useLazyLoadQuery, useRelayEnvironment } from "react-relay/hooks";
import { Link } from "wouter";

import type {
  groupListQuery,
  groupListQuery$data,
} from "../../relay/__generated__/groupListQuery.graphql";
import { useListInteraction } from "../../components/list/list-interaction";
import { OrderBar } from "../../components/list/order-bar";
import { useListUpdates } from "../../components/list/use-list-updates";
import { NextPage } from "../../components/pager";
import { Time } from "../../components/time";
import { useRowKeys } from "../../keyboard/row-keys";
import { useLiveRefresh } from "../../live/events";
import { ALL_FAILURES, failuresPath, type FailuresView } from "../../url/failures";
import { withoutEmpty } from "../../url/parameters";
import { GroupSummary } from "./group-summary";

const PAGE_SIZE = 20;

const query = graphql`
  query groupListQuery(
    $filter: DestinationFilter
    $orderBy: FailureGroupOrder!
    $after: String
    $count: Int!
  ) {
    failureGroups(first: $count, after: $after, filter: $filter, orderBy: $orderBy) {
      nodes {
        id
        ...groupSummary_group
      }
      pageInfo {
        hasNextPage
        endCursor
      }
    }
  }
`;

interface Props {
  readonly view: FailuresView;
  /** Start of the period; null for failures of any time. */
  readonly since: string | null;
  readonly fetchKey: number;
}

export function GroupList({ view, since, fetchKey }: Props) {
  const environment = useRelayEnvironment();
  const variables = {
    filter: withoutEmpty({ failedAfter: since, platform: view.platform, errorCategory: view.category }),
    orderBy: view.order,
    after: view.after || null,
    count: PAGE_SIZE,
  };
  const { failureGroups } = useLazyLoadQuery<groupListQuery>(query, variables, {
    fetchKey,
    fetchPolicy: "store-and-network",
  });
  const interaction = useListInteraction();
  // Another number of groups is another list in the store, so that this one stays in place; its numbers do not.
  const headVariables = { ...variables, count: PAGE_SIZE + 1 };
  const updates = useListUpdates({
    rows: rowsOf(failureGroups),
    headSize: headVariables.count,
    fetchHead: () =>
      fetchQuery<groupListQuery>(environment, query, headVariables).map((response) => ({
        nodes: rowsOf(response.failureGroups),
      })),
    refetchRows: () => fetchQuery<groupListQuery>(environment, query, variables),
    isInUse: interaction.isInUse,
    mayReplace: () => true,
  });
  useLiveRefresh(updates.compare);
  useRowKeys(".causes > li > h2 > a");
  if (!failureGroups) return null;
  return (
    <>
      {since && (
        <p className="muted">
          Failures since <Time at={since} />
        </p>
      )}
      {failureGroups.nodes.length === 0 && <NoGroups view={view} />}
      <div className="steady-list" {...interaction.container}>
        <OrderBar interaction={interaction} updates={updates} />
        <ul className="causes">
          {failureGroups.nodes.map((group) => (
            <GroupSummary key={group.id} group={group} period={view.period} since={since} />
          ))}
        </ul>
      </div>
      <NextPage
        pageInfo={failureGroups.pageInfo}
        pathAfter={(after) => failuresPath({ ...view, after })}
      />
    </>
  );
}

/** The groups of one page, and a row for the link to the next page. */
function rowsOf(groups: groupListQuery$data["failureGroups"]): readonly { readonly id: string }[] {
  const { nodes = [], pageInfo } = groups ?? {};
  const hasNextPage = nodes.length > PAGE_SIZE || pageInfo?.hasNextPage;
  return [...nodes.slice(0, PAGE_SIZE), ...(hasNextPage ? [{ id: "next page" }] : [])];
}

function NoGroups({ view }: { readonly view: FailuresView }) {
  const isFiltered = failuresPath({ ...view, order: ALL_FAILURES.order }) !== failuresPath(ALL_FAILURES);
  return (
    <div className="empty">
      <p>
        {isFiltered ? "No failure matches these filters." : "Nothing is failed, and no outcome is unknown."}
      </p>
      {isFiltered && (
        <Link href={failuresPath(ALL_FAILURES)} className="button">
          Show all failures
        </Link>
      )}
    </div>
  );
}
