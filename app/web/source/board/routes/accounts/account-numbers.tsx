// What is waiting on an account and what has failed on it; each number leads to its rows.

import { graphql, useFragment } from "react-relay/hooks";
import { Link } from "wouter";

import type { accountNumbers_account$key } from "../../relay/__generated__/accountNumbers_account.graphql";
import { CountLink } from "../../components/count-link";
import { TimeWithDistance } from "../../components/time";
import { UserText } from "../../components/user-text";
import { exactCount, type CappedCount } from "../../text/numbers";
import { postPath } from "../../url/paths";
import {
  failedOrUnknown,
  failedWithoutAccess,
  openFailuresOfAccount,
  waitingOnAccount,
} from "../../url/result-lists";
import { resultsPath } from "../../url/results";

interface Props {
  readonly account: accountNumbers_account$key;
  /** Number of results that failed because the platform rejected the access or the account could not post. */
  readonly withoutAccess: CappedCount;
  /** Number of results that failed, or became unknown, from `since` on. */
  readonly lastWeek: CappedCount;
  /** Seven days ago. */
  readonly since: string;
}

export function AccountNumbers({ account: key, withoutAccess, lastWeek, since }: Props) {
  const { accountId, health, openFailures, unknownCount, lastFailure } = useFragment(
    graphql`
      fragment accountNumbers_account on Account {
        accountId
        health {
          activity {
            queuedCount
          }
        }
        openFailures {
          count
          capped
        }
        unknownCount {
          count
          capped
        }
        lastFailure {
          postId
          failedAt
          error
          diagnosis {
            fix
          }
        }
      }
    `,
    key,
  );
  const account = [accountId];
  return (
    <section aria-label="Numbers">
      <ul className="numbers">
        {health && (
          <CountLink
            value={exactCount(health.activity.queuedCount)}
            name="waiting"
            tone="neutral"
            path={resultsPath(waitingOnAccount(accountId))}
          />
        )}
        {openFailures && (
          <CountLink
            value={openFailures}
            name="failed now"
            tone="bad"
            path={resultsPath(openFailuresOfAccount(accountId))}
          />
        )}
        <CountLink
          value={withoutAccess}
          name="failed without access"
          tone="bad"
          path={resultsPath(failedWithoutAccess(accountId))}
        />
        {unknownCount && (
          <CountLink
            value={unknownCount}
            name="with an unknown outcome"
            tone="warning"
            path={resultsPath({ account, outcome: ["UNKNOWN"] })}
          />
        )}
        <CountLink
          value={lastWeek}
          name="failed or unknown in the last 7 days"
          tone="bad"
          path={resultsPath(failedOrUnknown(accountId, since))}
        />
      </ul>
      {lastFailure?.failedAt && (
        <p>
          Last failure <TimeWithDistance at={lastFailure.failedAt} />:{" "}
          <Link href={postPath(lastFailure.postId)}>
            <UserText text={lastFailure.error ?? "(no message)"} limit={200} />
          </Link>{" "}
          {lastFailure.diagnosis?.fix}
        </p>
      )}
    </section>
  );
}
