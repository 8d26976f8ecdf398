// Servers that do not answer, by the circuit breakers of the worker; and platforms on which almost every
// attempt of other publishers has failed lately for several accounts: they may have an outage.

import { useDeferredValue } from "react";
import { graphql, useFragment, useLazyLoadQuery, useRelayEnvironment } from "react-relay/hooks";
import { Link } from "wouter";

import type { outages_query$data, outages_query$key } from "../../relay/__generated__/outages_query.graphql";
import type { outagesAccountsQuery } from "../../relay/__generated__/outagesAccountsQuery.graphql";
import type { outagesQuery } from "../../relay/__generated__/outagesQuery.graphql";
import { ErrorBoundary } from "../../components/error-panel";
import { ArrivalSuspense } from "../../components/loading";
import { Time, useNow } from "../../components/time";
import { UserText } from "../../components/user-text";
import { useLiveRefresh } from "../../live/events";
import { refresh, useLiveQuery } from "../../relay/live-query";
import { count, plainNumber } from "../../text/numbers";
import { platformName } from "../../text/reasons";
import { MINUTE_MS } from "../../text/times";
import { queuedResults } from "../../url/result-lists";
import { ALL_RESULTS, resultsPath, type ResultsView } from "../../url/results";
import { destinationFilter } from "../../url/results-filter";

/** The period starts 50 to 60 minutes ago, and is another one every ten minutes only. */
const [STEP_MS, PERIOD_MS] = [10 * MINUTE_MS, 50 * MINUTE_MS];
/** Failed attempts and accounts from which it is more than the trouble of one post or one account. */
const [MIN_ATTEMPTS, MIN_ACCOUNTS] = [5, 2];
/** Share of the attempts that fail in an outage. */
const MIN_SHARE = 0.8;
/** Accounts that one link names. */
const MAX_ACCOUNTS = 100;
/** Failures without a fault of the post or the account. */
const CATEGORY = "TRANSIENT";

/** Start and end of the period that is looked at. */
interface Period {
  readonly from: string;
  readonly to: string;
}

/** The present period; another one is read before it is shown. */
export function useOutagePeriod(): Period {
  const from = useDeferredValue(Math.floor(useNow().getTime() / STEP_MS) * STEP_MS - PERIOD_MS);
  const to = from + PERIOD_MS + 2 * STEP_MS;
  return { from: new Date(from).toISOString(), to: new Date(to).toISOString() };
}

/** Nothing while it loads, and if it cannot be read: the numbers below say that. */
export function Outages({ from, to }: Period) {
  return (
    <ErrorBoundary key={from} explain={() => <></>}>
      {(fetchKey) => (
        <ArrivalSuspense fallback={null}>
          <OutageList from={from} to={to} fetchKey={fetchKey} />
        </ArrivalSuspense>
      )}
    </ErrorBoundary>
  );
}

/** Selected by the first query of the page too, which saves a request. */
const fragment = graphql`
  fragment outages_query on Query
  @argumentDefinitions(from: { type: "DateTime!" }, to: { type: "DateTime!" }) {
    serverOutages {
      host
      platform
      since
      nextTryAt
      accountIds
    }
    attempts: outcomeStats(from: $from, to: $to, groupBy: [PLATFORM, CATEGORY]) {
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
`;

const query = graphql`
  query outagesQuery($from: DateTime!, $to: DateTime!) {
    ...outages_query @arguments(from: $from, to: $to)
  }
`;

interface OutageListProps extends Period {
  readonly fetchKey: number;
}

function OutageList({ from, to, fetchKey }: OutageListProps) {
  const environment = useRelayEnvironment();
  const options = { fetchKey, fetchPolicy: "store-or-network" } as const;
  const { serverOutages, attempts } = useFragment<outages_query$key>(
    fragment,
    useLazyLoadQuery<outagesQuery>(query, { from, to }, options),
  );
  const servers = serverOutages ?? [];
  // What the worker knows about a platform is more exact than its statistics.
  const failing = failingPlatforms(attempts).filter(
    ({ platform }) => !servers.some((server) => server.platform === platform),
  );
  // Without an outage once a minute only, because every open board would read it after every change.
  useLiveRefresh(() => refresh<outagesQuery>(environment, query, { from, to }), {
    isRelevant: () => failing.length + servers.length > 0,
    recheckMs: MINUTE_MS,
  });
  return (
    <>
      {servers.map((server) => (
        <ServerOutage key={`${server.platform} ${server.host ?? server.accountIds.join()}`} server={server} />
      ))}
      {failing.map((platform) => (
        <ArrivalSuspense key={platform.platform} fallback={null}>
          <Outage attempts={platform} from={from} fetchKey={fetchKey} />
        </ArrivalSuspense>
      ))}
    </>
  );
}

type Server = NonNullable<outages_query$data["serverOutages"]>[number];

function ServerOutage({ server: { host, platform, since, nextTryAt, accountIds } }: { readonly server: Server }) {
  const accounts = accountIds.length <= MAX_ACCOUNTS ? { account: accountIds } : { platform: [platform] };
  const view = queuedResults({ ...accounts, flag: "awaitsOutcome" });
  return (
    <div className="card outage">
      <p>
        <strong>
          {host == null ? "A publisher of your own" : <UserText text={host} />} does not answer
        </strong>{" "}
        (<UserText text={platformName(platform)} />) since <Time at={since} />.{" "}
        <Link href={resultsPath(view)}>What waits on {count(accountIds.length, "account")}</Link> is published
        when it answers, and uses no attempts until then. It is tried again at <Time at={nextTryAt} />.
      </p>
    </div>
  );
}

interface Attempts {
  readonly platform: string;
  readonly failed: number;
  readonly all: number;
}

function failingPlatforms(stats: outages_query$data["attempts"]): Attempts[] {
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

interface OutageProps extends Pick<OutageListProps, "from" | "fetchKey"> {
  readonly attempts: Attempts;
}

function Outage({ attempts: { platform, failed, all }, from, fetchKey }: OutageProps) {
  const view: ResultsView = {
    ...ALL_RESULTS,
    platform: [platform],
    category: [CATEGORY],
    timeField: "updated",
    from: new Date(from),
  };
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
    { filter: destinationFilter(view) },
    { fetchKey },
  );
  const { nodes = [], pageInfo } = destinations ?? {};
  const accounts = new Set(nodes.map(({ accountId }) => accountId)).size;
  if (accounts < MIN_ACCOUNTS) return null;
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
