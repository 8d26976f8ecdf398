// One unknown outcome: what is known about it, where to look, and what was found.

import { graphql } from "react-relay/hooks";
import { Link } from "wouter";

import type {
  unknownItemQuery,
  unknownItemQuery$data,
} from "../../relay/__generated__/unknownItemQuery.graphql";
import { AccountLink } from "../../components/account-link";
import { Fact } from "../../components/fact";
import { Time, TimeWithDistance } from "../../components/time";
import { UserText } from "../../components/user-text";
import { useLiveQuery } from "../../relay/live-query";
import { postLabel } from "../../text/labels";
import { postPath } from "../../url/paths";
import { useFocusAtFirst } from "./focus";
import { Findings } from "./findings";
import { Settled } from "./settled";

const TEXT_LIMIT = 2_000;

interface Props {
  readonly destinationId: string;
  readonly fetchKey: number;
  /** True if the heading takes the focus, because the item came without a link. */
  readonly takesFocus: boolean;
  /** Receives sentences about what was recorded. */
  readonly onReport: (result: string) => void;
  readonly onNext: () => void;
}

export type Item = NonNullable<unknownItemQuery$data["destinations"]>["nodes"][number];

export function UnknownItem({ destinationId, fetchKey, takesFocus, onReport, onNext }: Props) {
  const { destinations } = useLiveQuery<unknownItemQuery>(
    graphql`
      query unknownItemQuery($destinationId: [UUID!]!) {
        destinations(first: 1, filter: { destinationId: $destinationId }) {
          nodes {
            destinationId
            postId
            accountId
            accountName
            platform
            status
            outcome
            errorCode
            error
            isOverdue
            awaitsOutcome
            scheduledFor
            nextRetryAt
            unknownSince
            account {
              profileUrl
            }
            attemptLog {
              attemptId
              startedAt
              worker
            }
            post {
              content
              reference
            }
          }
        }
      }
    `,
    { destinationId: [destinationId] },
    { fetchKey, isRelevant: (change) => change.destinationId === destinationId },
  );
  const heading = useFocusAtFirst<HTMLHeadingElement>(takesFocus);
  const item = destinations?.nodes[0];
  if (!item) return <NoSuchItem onNext={onNext} />;
  return (
    <article className="card">
      <h2 ref={heading} tabIndex={-1}>
        <AccountLink accountId={item.accountId} name={item.accountName} platform={item.platform} />
      </h2>
      <p className="post-text">
        <UserText text={postLabel(item.post)} limit={TEXT_LIMIT} />
      </p>
      <Facts item={item} />
      {item.outcome === "UNKNOWN" ? (
        <Findings item={item} onReport={onReport} onNext={onNext} />
      ) : (
        <Settled item={item} onNext={onNext} />
      )}
    </article>
  );
}

function Facts({ item }: { readonly item: Item }) {
  const attempt = item.attemptLog?.at(-1);
  return (
    <dl className="facts">
      {attempt && (
        <>
          <Fact name="Started">
            <TimeWithDistance at={attempt.startedAt} />
          </Fact>
          <Fact name="By">
            {attempt.worker ? <UserText text={attempt.worker} /> : "a publisher that gave no name"}
          </Fact>
        </>
      )}
      {item.unknownSince && (
        <Fact name="Unknown since">
          <Time at={item.unknownSince} />
        </Fact>
      )}
      {item.error && (
        <Fact name="Error">
          <UserText text={item.error} />
        </Fact>
      )}
      <Fact name="Post">
        <Link href={postPath(item.postId)}>All that happened to it</Link>
      </Fact>
    </dl>
  );
}

function NoSuchItem({ onNext }: { readonly onNext: () => void }) {
  return (
    <div className="empty">
      <p>There is no such post on an account in this workspace, or it was deleted.</p>
      <button type="button" onClick={onNext}>
        Next
      </button>
    </div>
  );
}
