// What happened to a destination, in order: attempts, the waits between them, and what people did.

import { Fragment } from "react";
import { graphql, useLazyLoadQuery, usePaginationFragment, useRelayEnvironment } from "react-relay/hooks";
import {
  commitLocalUpdate,
  ConnectionHandler,
  fetchQuery,
  type Environment,
  type RecordProxy,
} from "relay-runtime";

import attemptsQuery, {
  type timelineAttemptsQuery,
} from "../../relay/__generated__/timelineAttemptsQuery.graphql";
import type { timelineQuery, timelineQuery$variables } from "../../relay/__generated__/timelineQuery.graphql";
import type {
  timeline_attempts$data,
  timeline_attempts$key,
} from "../../relay/__generated__/timeline_attempts.graphql";
import { Actor } from "../../components/actor";
import { MAX_PAGE_SIZE, PAGE_SIZE } from "../../components/list/paged-list";
import { showNotice } from "../../components/notices";
import { Sentence, Time } from "../../components/time";
import { UserText } from "../../components/user-text";
import { useLiveRefresh } from "../../live/events";
import { refresh, showRefreshError } from "../../relay/live-query";
import { useViewer } from "../../session/viewer";
import { duration } from "../../text/times";
import { categoryWords } from "../../text/reasons";
import { enumWords } from "../../text/statuses";
import { useDestinationChanges, type DestinationIds, type HistoryChange } from "./destination-changes";

const query = graphql`
  query timelineQuery($id: ID!, $count: Int!, $canReadRaw: Boolean!) {
    node(id: $id) {
      ... on Destination {
        scheduledFor
      }
      ...timeline_attempts @arguments(count: $count, canReadRaw: $canReadRaw) @alias(as: "destination")
    }
  }
`;

/** Filter of changes that are neither shown as attempts or as the due time nor of use for a reader. */
const BESIDE_ATTEMPTS = {
  excludeOperations: [
    ...["createPost", "createPosts", "import", "loadDemo"],
    ...["claimDestinations", "extendLease", "releaseClaim", "loseLease", "claimVerifications"],
    ...["startAttempt", "reportPublished", "reportFailed", "recordResult"],
  ],
};

interface Props {
  readonly nodeId: string;
  readonly ids: DestinationIds;
  readonly fetchKey: number;
}

export function Timeline({ nodeId, ids, fetchKey }: Props) {
  const canReadRaw = useViewer().scopes.includes("RAW");
  const variables = { id: nodeId, canReadRaw, count: PAGE_SIZE };
  const { node } = useLazyLoadQuery<timelineQuery>(query, variables, {
    fetchKey,
    fetchPolicy: "store-and-network",
  });
  if (!node) return null;
  return (
    <ol className="timeline">
      {node.scheduledFor && (
        <li>
          <Time at={node.scheduledFor} /> due
        </li>
      )}
      {node.destination && (
        <Entries destination={node.destination} variables={variables} ids={ids} fetchKey={fetchKey} />
      )}
    </ol>
  );
}

interface EntriesProps extends Pick<Props, "ids" | "fetchKey"> {
  readonly destination: timeline_attempts$key;
  readonly variables: timelineQuery$variables;
}

function Entries({ destination, variables, ids, fetchKey }: EntriesProps) {
  const environment = useRelayEnvironment();
  const { data, hasNext, loadNext, isLoadingNext } = usePaginationFragment(
    graphql`
      fragment timeline_attempts on Destination
      @refetchable(queryName: "timelineAttemptsQuery")
      @argumentDefinitions(
        count: { type: "Int!" }
        cursor: { type: "String" }
        canReadRaw: { type: "Boolean!" }
      ) {
        attemptConnection(first: $count, after: $cursor) @connection(key: "timeline_attemptConnection") {
          edges {
            cursor
            node {
              attemptId
              number
              kind
              startedAt
              finishedAt
              durationMs
              outcome
              category
              code
              message
              httpStatus
              retryAfterSeconds
              notSent
              worker
              raw @include(if: $canReadRaw)
            }
          }
        }
      }
    `,
    destination,
  );
  const edges = data.attemptConnection?.edges ?? [];
  const attempts = edges.map(({ node }) => node);
  const { changes, hasOlder } = useDestinationChanges(ids, BESIDE_ATTEMPTS, fetchKey);
  const lastStart = attempts.at(-1)?.startedAt ?? "";
  const entries = [
    ...attempts.map((attempt, index) => ({
      key: attempt.attemptId,
      at: attempt.startedAt,
      item: <AttemptEntry attempt={attempt} previous={attempts[index - 1]} />,
    })),
    ...changes.map((change) => ({
      key: change.cursor,
      at: change.happenedAt,
      item: <ChangeEntry change={change} />,
    })),
    // In place of the attempts that are not loaded; the changes after them follow.
    ...(hasNext
      ? [{ key: "later", at: lastStart, item: <LaterAttempts isLoading={isLoadingNext} onPress={showMore} /> }]
      : []),
  ].toSorted((one, other) => one.at.localeCompare(other.at));
  useLiveRefresh(refreshAttempts, { isRelevant: (change) => change.destinationId === ids.destinationId });

  function refreshAttempts(): void {
    // The response replaces the list, so that it has to be as long.
    const count = Math.max(PAGE_SIZE, attempts.length);
    if (count <= MAX_PAGE_SIZE) refresh<timelineQuery>(environment, query, { ...variables, count });
    // Only the last attempt of all may change.
    else if (!hasNext) readEnd(environment, variables, edges.at(-2)!.cursor);
  }

  function showMore(): void {
    loadNext(PAGE_SIZE, {
      onComplete: (error) => error && showNotice(`The attempts could not be read. ${error.message}`),
    });
  }

  return (
    <>
      {hasOlder && <li className="muted">Beside the attempts, only the latest 100 changes are shown.</li>}
      {entries.map(({ key, item }) => (
        <Fragment key={key}>{item}</Fragment>
      ))}
    </>
  );
}

interface LaterAttemptsProps {
  readonly isLoading: boolean;
  readonly onPress: () => void;
}

function LaterAttempts({ isLoading, onPress }: LaterAttemptsProps) {
  return (
    <li>
      <button type="button" onClick={onPress} aria-disabled={isLoading}>
        {isLoading ? "Loading…" : "Show later attempts"}
      </button>
    </li>
  );
}

/** Reads the attempts after the cursor, and replaces those that the list has after it. */
function readEnd(environment: Environment, variables: timelineQuery$variables, after: string): void {
  const { id, canReadRaw } = variables;
  const page = { id, canReadRaw, cursor: after, count: MAX_PAGE_SIZE };
  // Relay adds a page to the list only at its end; this one begins before it.
  fetchQuery<timelineAttemptsQuery>(environment, attemptsQuery, page).subscribe({
    next: () => commitLocalUpdate(environment, (store) => replaceEnd(store.get(id), after)),
    error: showRefreshError,
  });
}

function replaceEnd(destination: RecordProxy | null | undefined, after: string): void {
  const list = destination && ConnectionHandler.getConnection(destination, "timeline_attemptConnection");
  const page = destination?.getLinkedRecord("attemptConnection", { first: MAX_PAGE_SIZE, after });
  const edges = list?.getLinkedRecords("edges") ?? [];
  const last = edges.findIndex((edge) => edge.getValue("cursor") === after);
  const pageInfo = page?.getLinkedRecord("pageInfo");
  if (!list || !page || !pageInfo || last === -1) return;
  list.setLinkedRecords([...edges.slice(0, last + 1), ...(page.getLinkedRecords("edges") ?? [])], "edges");
  list.getLinkedRecord("pageInfo")?.copyFieldsFrom(pageInfo);
}

type Attempt = NonNullable<timeline_attempts$data["attemptConnection"]>["edges"][number]["node"];

interface AttemptProps {
  readonly attempt: Attempt;
  readonly previous: Attempt | undefined;
}

function AttemptEntry({ attempt, previous }: AttemptProps) {
  const wait = previous?.finishedAt ? Date.parse(attempt.startedAt) - Date.parse(previous.finishedAt) : 0;
  const name = attempt.number ? `Attempt ${attempt.number}` : `${enumWords(attempt.kind)} report`;
  return (
    <>
      {wait > 0 && <li className="wait">{duration(wait)} later</li>}
      <li>
        <Time at={attempt.startedAt} /> <strong>{name}</strong> {result(attempt)}
        {attempt.message && (
          <p>
            <UserText text={attempt.message} />
          </p>
        )}
        <p className="muted">
          <UserText text={details(attempt)} />
        </p>
        {attempt.worker && (
          <p className="muted">
            by <UserText text={attempt.worker} />
          </p>
        )}
        {attempt.raw && (
          <details>
            <summary>Response of the platform</summary>
            <pre tabIndex={0}>
              <UserText text={attempt.raw} limit={20_000} />
            </pre>
          </details>
        )}
      </li>
    </>
  );
}

function ChangeEntry({ change }: { readonly change: HistoryChange }) {
  return (
    <li>
      <Time at={change.happenedAt} /> <Sentence text={change.sentence} /> <Actor actor={change.actor} />
    </li>
  );
}

function result({ outcome, durationMs }: Attempt): string {
  if (outcome === "NONE") return "is running";
  const ending = outcome === "UNKNOWN" ? "ended with an unknown outcome" : enumWords(outcome).toLowerCase();
  return ending + durationWords(durationMs);
}

/** What was recorded without the start of its attempt has a duration of about 0. */
function durationWords(milliseconds: Attempt["durationMs"]): string {
  if (milliseconds === null || milliseconds === undefined) return "";
  return milliseconds < 1_000 ? " in less than 1 s" : ` after ${duration(milliseconds)}`;
}

function details({ category, code, httpStatus, retryAfterSeconds, notSent }: Attempt): string {
  return [
    category && categoryWords(category),
    code,
    httpStatus && `HTTP ${httpStatus}`,
    notSent && "not sent",
    retryAfterSeconds && `the platform asked to wait ${duration(retryAfterSeconds * 1_000)}`,
  ]
    .filter(Boolean)
    .join(" · ");
}
