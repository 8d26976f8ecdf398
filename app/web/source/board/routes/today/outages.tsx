// Platforms on which almost every attempt has failed lately for several accounts: they may have an outage.

import { useDeferredValue } from "react";
import { graphql } from "react-relay/hooks";
import { Link } from "wouter";

import type { outagesAccountsQuery } from "../../relay/__generated__/outagesAccountsQuery.graphql";
import type { outagesQuery, outagesQuery$data } from "../../relay/__generated__/outagesQuery.graphql";
import { ErrorBoundary } from "../../components/error-panel";
import { ArrivalSuspense } from "../../components/loading";
import { Time, useNow } from "../../components/time";
import { UserText } from "../../components/user-text";
import { useLiveQuery } from "../../relay/live-query";
import { count, plainNumber } from "../../text/numbers";
import { platformName } from "../../text/reasons";
import { resultsPath } from "../../url/results";

const MINUTE_MS = 60_000;
/** The period starts 50 to 60 minutes ago, and is another one every ten minutes only. */
const [STEP_MS, PERIOD_MS] = [10 * MINUTE_MS, 50 * MINUTE_MS];
/** Failed attempts and accounts from which it is more than the trouble of one post or one account. */
const [MIN_ATTEMPTS, MIN_ACCOUNTS] = [5, 2];
/** Share of the attempts that fail in an outage. */
const MIN_SHARE = 0.8;
/** Failures without a fault of the post or the account. */
const CATEGORY = "TRANSIENT";

/** Nothing while it loads, and if it cannot be read: the numbers below say that. */
export function Outages() {
  const from = useDeferredValue(
    new Date(Math.floor(useNow().getTime() / STEP_MS) * STEP_MS - PERIOD_MS).toISOString(),
  );
  return (
    <ErrorBoundary key={from} explain={() => <></>}>
      {(fetchKey) => (
        <ArrivalSuspense fallback={null}>
          <OutageList from={from} fetchKey={fetchKey} />
        </ArrivalSuspense>
      )}
    </ErrorBoundary>
  );
}

interface Props {
  /** Start of the period. */
  readonly from: string;
  readonly fetchKey: number;
}

function OutageList({ from, fetchKey }: Props) {
  const to = new Date(Date.parse(from) + PERIOD_MS + 2 * STEP_MS).toISOString();
  const { outcomeStats } = useLiveQuery<outagesQuery>(
    graphql`
      query outagesQuery($from: DateTime!, $to: DateTime!) {
        outcomeStats(from: $from, to: $to, groupBy: [PLATFORM, CATEGORY]) {
          buckets {
            groups {
              platform
              category
              counts {
                attempts
              }
            }
          }
        }
      }
    `,
    { from, to },
    { fetchKey },
  );
  const failing = failingPlatforms(outcomeStats);
  return failing.map((attempts) => (
    <ArrivalSuspense key={attempts.platform} fallback={null}>
      <Outage attempts={attempts} from={from} fetchKey={fetchKey} />
    </ArrivalSuspense>
  ));
}

interface Attempts {
  readonly platform: string;
  readonly failed: number;
  readonly all: number;
}

function failingPlatforms(stats: outagesQuery$data["outcomeStats"]): Attempts[] {
  const byPlatform = new Map<string, Attempts>();
  for (const { platform, category, counts } of stats?.buckets[0]?.groups ?? []) {
    if (platform == null) continue;
    const { failed, all } = byPlatform.get(platform) ?? { failed: 0, all: 0 };
    byPlatform.set(platform, {
      platform,
      failed: failed + (category === CATEGORY ? counts.attempts : 0),
      all: all + counts.attempts,
    });
  }
  return [...byPlatform.values()].filter(
    ({ failed, all }) => failed >= MIN_ATTEMPTS && failed >= all * MIN_SHARE,
  );
}

interface OutageProps extends Props {
  readonly attempts: Attempts;
}

function Outage({ attempts: { platform, failed, all }, from, fetchKey }: OutageProps) {
  const { destinations } = useLiveQuery<outagesAccountsQuery>(
    graphql`
      query outagesAccountsQuery($filter: DestinationFilter!) {
        destinations(first: 100, filter: $filter, orderBy: { field: UPDATED_AT, direction: DESC }) {
          nodes {
            id
            accountId
          }
          pageInfo {
            hasNextPage
          }
        }
      }
    `,
    { filter: { platform: [platform], errorCategory: [CATEGORY], updatedAfter: from } },
    { fetchKey },
  );
  const { nodes = [], pageInfo } = destinations ?? {};
  const accounts = new Set(nodes.map(({ accountId }) => accountId)).size;
  if (accounts < MIN_ACCOUNTS) return null;
  const view = { platform: [platform], category: [CATEGORY], period: "updated", from: new Date(from) } as const;
  const name = <UserText text={platformName(platform)} />;
  return (
    <div className="card outage">
      <p>
        <strong>{name} may have an outage.</strong> Since <Time at={from} />, {plainNumber(failed)} of{" "}
        {count(all, "attempt")} to publish there failed without a fault of the post.{" "}
        <Link href={resultsPath(view)}>
          {pageInfo?.hasNextPage ? "More than " : ""}
          {count(nodes.length, "result")} on {pageInfo?.hasNextPage ? "at least " : ""}
          {count(accounts, "account")}
        </Link>
      </p>
    </div>
  );
}
