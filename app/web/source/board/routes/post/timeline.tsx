// What happened to a destination, in order: attempts, the waits between them, and what people did.

import { Fragment } from "react";
import { graphql, useLazyLoadQuery, usePaginationFragment, useRelayEnvironment } from "react-relay/hooks";

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
import { refresh } from "../../relay/live-query";
import { useViewer } from "../../session/viewer";
import { duration } from "../../text/times";
import { categoryWords } from "../../text/reasons";
import { enumWords } from "../../text/statuses";
import { useHasOlderChanges, useOtherChanges, type PostChange } from "./post-changes";

const query = graphql`
  query timelineQuery($id: ID!, $count: Int!, $canReadRaw: Boolean!) {
    node(id: $id) {
      ... on Destination {
        destinationId
        scheduledFor
      }
      ...timeline_attempts @arguments(count: $count, canReadRaw: $canReadRaw) @alias(as: "destination")
    }
  }
`;

interface Props {
  readonly id: string;
  readonly postId: string;
  readonly fetchKey: number;
}

export function Timeline({ id, postId, fetchKey }: Props) {
  const canReadRaw = useViewer().scopes.includes("RAW");
  const variables = { id, canReadRaw, count: PAGE_SIZE };
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
      {node.destination && node.destinationId && (
        <Entries
          destination={node.destination}
          destinationId={node.destinationId}
          variables={variables}
          postId={postId}
          fetchKey={fetchKey}
        />
      )}
    </ol>
  );
}

interface EntriesProps extends Pick<Props, "postId" | "fetchKey"> {
  readonly destination: timeline_attempts$key;
  readonly destinationId: string;
  readonly variables: timelineQuery$variables;
}

function Entries({ destination, destinationId, variables, postId, fetchKey }: EntriesProps) {
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
              worker
              raw @include(if: $canReadRaw)
            }
          }
        }
      }
    `,
    destination,
  );
  const attempts = data.attemptConnection?.edges.map(({ node }) => node) ?? [];
  const changes = useOtherChanges(postId, destinationId, fetchKey);
  const hasOlderChanges = useHasOlderChanges(postId, fetchKey);
  const lastStart = attempts.at(-1)?.startedAt ?? "";
  const entries = [
    ...attempts.map((attempt, index) => ({
      key: attempt.attemptId,
      at: attempt.startedAt,
      item: <AttemptEntry attempt={attempt} before={attempts[index - 1]} />,
    })),
    // Later ones follow with the later attempts.
    ...changes
      .filter(({ happenedAt }) => !hasNext || happenedAt <= lastStart)
      .map((change) => ({
        key: change.cursor,
        at: change.happenedAt,
        item: <ChangeEntry change={change} />,
      })),
  ].toSorted((one, other) => one.at.localeCompare(other.at));
  // The response replaces the list, so that it has to be as long.
  const count = Math.min(MAX_PAGE_SIZE, Math.max(PAGE_SIZE, attempts.length));
  useLiveRefresh(
    () => refresh<timelineQuery>(environment, query, { ...variables, count }),
    { isRelevant: (change) => change.postId === postId },
  );

  function showMore(): void {
    loadNext(PAGE_SIZE, {
      onComplete: (error) => error && showNotice(`The attempts could not be read. ${error.message}`),
    });
  }

  return (
    <>
      {hasOlderChanges && (
        <li className="muted">What people did before the latest 100 changes of the post is not shown.</li>
      )}
      {entries.map(({ key, item }) => (
        <Fragment key={key}>{item}</Fragment>
      ))}
      {hasNext && (
        <li>
          <button type="button" onClick={showMore} aria-disabled={isLoadingNext}>
            {isLoadingNext ? "Loading…" : "Show later attempts"}
          </button>
        </li>
      )}
    </>
  );
}

type Attempt = NonNullable<timeline_attempts$data["attemptConnection"]>["edges"][number]["node"];

interface AttemptProps {
  readonly attempt: Attempt;
  readonly before: Attempt | undefined;
}

function AttemptEntry({ attempt, before }: AttemptProps) {
  const wait = before?.finishedAt ? Date.parse(attempt.startedAt) - Date.parse(before.finishedAt) : 0;
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

function ChangeEntry({ change }: { readonly change: PostChange }) {
  return (
    <li>
      <Time at={change.happenedAt} /> <Sentence text={change.sentence} /> <Actor actor={change.actor} />
    </li>
  );
}

function result({ outcome, durationMs }: Attempt): string {
  if (outcome === "NONE") return "is running";
  const time = durationMs === null || durationMs === undefined ? "" : ` after ${duration(durationMs)}`;
  const ending = outcome === "UNKNOWN" ? "ended with an unknown outcome" : enumWords(outcome).toLowerCase();
  return ending + time;
}

function details({ category, code, httpStatus, retryAfterSeconds }: Attempt): string {
  return [
    category && categoryWords(category),
    code,
    httpStatus && `HTTP ${httpStatus}`,
    retryAfterSeconds && `the platform asked to wait ${duration(retryAfterSeconds * 1_000)}`,
  ]
    .filter(Boolean)
    .join(" · ");
}
