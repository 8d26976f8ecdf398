// What is waiting on an account and due soon or already, the earliest first.

import { graphql } from "react-relay/hooks";
import { Link } from "wouter";

import type { accountDueQuery } from "../../relay/__generated__/accountDueQuery.graphql";
import { Time, TimeWithDistance } from "../../components/time";
import { UserText } from "../../components/user-text";
import { useLiveQuery } from "../../relay/live-query";
import { postLabel } from "../../text/labels";
import { cappedNumber, totalOf } from "../../text/numbers";
import { postPath } from "../../url/paths";
import { dueBy } from "../../url/result-lists";
import { resultsPath } from "../../url/results";
import { destinationFilter } from "../../url/results-filter";

interface Props {
  readonly accountId: number;
  /** Limit of the due times. */
  readonly before: string;
  readonly fetchKey: number;
}

const TEXT_LIMIT = 120;

export function AccountDue({ accountId, before, fetchKey }: Props) {
  const view = dueBy(new Date(before), { account: [accountId] });
  const { destinations, account } = useLiveQuery<accountDueQuery>(
    graphql`
      query accountDueQuery($accountId: Int!, $filter: DestinationFilter!) {
        account(accountId: $accountId) {
          isActive
          needsReconnection
          onLostAccess
          readiness {
            canPost
          }
        }
        destinations(first: 5, filter: $filter, orderBy: { field: SCHEDULED_FOR, direction: ASC }) {
          totalCountCapped
          totalCountIsCapped
          nodes {
            id
            postId
            scheduledFor
            post {
              content
              reference
            }
          }
        }
      }
    `,
    { accountId, filter: destinationFilter(view) },
    { fetchKey, isRelevant: (change) => change.accountId === accountId },
  );
  const nodes = destinations?.nodes ?? [];
  const total = totalOf(destinations);
  const waits = account?.isActive && account.needsReconnection && account.onLostAccess === "WAIT";
  return (
    <section aria-labelledby="due">
      <h2 id="due">
        Due until <Time at={before} />
      </h2>
      {nodes.length === 0 && <p className="muted">Nothing is due.</p>}
      {nodes.length > 0 && !account?.readiness.canPost && (
        <p className="problem">
          {waits
            ? "Each of these waits until the account is reconnected, and fails 24 hours after it is due."
            : "Each of these fails when it is due, unless the account is reconnected before."}
        </p>
      )}
      <ul className="timeline">
        {nodes.map(({ id, postId, scheduledFor, post }) => (
          <li key={id}>
            {scheduledFor && <TimeWithDistance at={scheduledFor} />}{" "}
            <Link href={postPath(postId)}>
              <UserText text={postLabel(post)} limit={TEXT_LIMIT} />
            </Link>
          </li>
        ))}
      </ul>
      {total.count > nodes.length && <Link href={resultsPath(view)}>All {cappedNumber(total)}</Link>}
    </section>
  );
}
