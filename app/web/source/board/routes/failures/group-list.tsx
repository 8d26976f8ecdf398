// One page of the groups of failures that match the filter.

import { graphql } from "react-relay/hooks";
import { Link } from "wouter";

import type { groupListQuery } from "../../relay/__generated__/groupListQuery.graphql";
import { NextPage } from "../../components/pager";
import { Time } from "../../components/time";
import { useRowKeys } from "../../keyboard/row-keys";
import { useLiveQuery } from "../../relay/live-query";
import { ALL_FAILURES, failuresPath, type FailuresView } from "../../url/failures";
import { withoutEmpty } from "../../url/parameters";
import { GroupSummary } from "./group-summary";

interface Props {
  readonly view: FailuresView;
  /** Start of the period; null for failures of any time. */
  readonly since: string | null;
  readonly fetchKey: number;
}

export function GroupList({ view, since, fetchKey }: Props) {
  const { failureGroups } = useLiveQuery<groupListQuery>(
    graphql`
      query groupListQuery($filter: DestinationFilter, $orderBy: FailureGroupOrder!, $after: String) {
        failureGroups(first: 20, after: $after, filter: $filter, orderBy: $orderBy) {
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
    `,
    {
      filter: withoutEmpty({ failedAfter: since, platform: view.platform, errorCategory: view.category }),
      orderBy: view.order,
      after: view.after || null,
    },
    { fetchKey },
  );
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
      <ul className="causes">
        {failureGroups.nodes.map((group) => (
          <GroupSummary key={group.id} group={group} since={since} />
        ))}
      </ul>
      <NextPage
        pageInfo={failureGroups.pageInfo}
        pathAfter={(after) => failuresPath({ ...view, after })}
      />
    </>
  );
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
