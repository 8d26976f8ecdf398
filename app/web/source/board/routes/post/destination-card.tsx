// What happened to the post on one account.

import { useState } from "react";
import { graphql, useFragment } from "react-relay/hooks";
import { Link } from "wouter";

import type {
  destinationCard_destination$data,
  destinationCard_destination$key,
} from "../../relay/__generated__/destinationCard_destination.graphql";
import { AccountLink } from "../../components/account-link";
import { Panel } from "../../components/panel";
import { RetryButton } from "../../components/retry-button";
import { Status } from "../../components/status";
import { Lateness, Sentence, Time } from "../../components/time";
import { UserText } from "../../components/user-text";
import { count } from "../../text/numbers";
import { categoryWords, sourceWords } from "../../text/reasons";
import { destinationStatus, stateOf } from "../../text/statuses";
import { groupPath } from "../../url/failures";
import { unknownPath } from "../../url/unknown";
import { Duplicates } from "./duplicates";
import { PlatformLink } from "./platform-link";
import { Timeline } from "./timeline";

interface Props {
  readonly destination: destinationCard_destination$key;
  readonly postId: string;
  readonly isInitiallyOpen: boolean;
  /** True if the post can be retried on this account only, so that a key does it. */
  readonly isOnlyRetryable: boolean;
}

export function DestinationCard({ destination, postId, isInitiallyOpen, isOnlyRetryable }: Props) {
  const data = useFragment(
    graphql`
      fragment destinationCard_destination on Destination {
        id
        destinationId
        accountId
        platform
        accountName
        status
        outcome
        attempts
        error
        errorCode
        failureGroup
        isOverdue
        awaitsOutcome
        isDuplicated
        scheduledFor
        nextRetryAt
        publishedAt
        latenessSeconds
        platformPostUrl
        diagnosis {
          category
          code
          fix
          source
        }
        outlook {
          sentence
        }
        ...retryButton_destination
      }
    `,
    destination,
  );
  const [isOpen, setOpen] = useState(isInitiallyOpen);
  const ids = { postId, destinationId: data.destinationId };

  return (
    <article className="card">
      <header>
        <h2 tabIndex={-1}>
          <AccountLink accountId={data.accountId} name={data.accountName} platform={data.platform} />
        </h2>
        <Status words={destinationStatus(data)} />
      </header>
      {data.isDuplicated && (
        <p className="problem">It was reported as published more than once: check whether it appears twice.</p>
      )}
      {data.publishedAt && (
        <p>
          Published <Time at={data.publishedAt} /> <Lateness seconds={data.latenessSeconds} />
          <PlatformLink url={data.platformPostUrl} />
        </p>
      )}
      {data.isDuplicated && (
        <Panel lines={1}>{(fetchKey) => <Duplicates ids={ids} fetchKey={fetchKey} />}</Panel>
      )}
      {data.error && data.status !== "PUBLISHED" && (
        <p>
          <UserText text={data.error} />
        </p>
      )}
      {data.diagnosis && data.status !== "PUBLISHED" && (
        <>
          <p className="fix">{data.diagnosis.fix}</p>
          {stateOf(data) !== "cancelled" && (
            <p className="muted">
              {categoryWords(data.diagnosis.category)}{" "}
              <code>
                <UserText text={data.diagnosis.code} />
              </code>
              , can be fixed by {sourceWords(data.diagnosis.source, data.diagnosis.category)}
            </p>
          )}
        </>
      )}
      {data.failureGroup && (
        <Link href={groupPath(data.failureGroup, null)}>Others with this cause</Link>
      )}
      <p>
        <Sentence text={outlookWithoutFix(data)} />
      </p>
      {data.outcome === "UNKNOWN" && (
        <Link href={unknownPath(data.destinationId)}>Say what you found on the platform</Link>
      )}
      <RetryButton destination={data} hasKey={isOnlyRetryable} />
      <details open={isOpen} onToggle={(event) => setOpen(event.currentTarget.open)}>
        <summary>History: {count(data.attempts, "attempt")}</summary>
        {isOpen && (
          <Panel lines={3}>
            {(fetchKey) => <Timeline nodeId={data.id} ids={ids} fetchKey={fetchKey} />}
          </Panel>
        )}
      </details>
    </article>
  );
}

/** What happens next; the fix, with which the sentence of a failure ends, is shown already. */
function outlookWithoutFix({ outlook, diagnosis }: destinationCard_destination$data): string {
  return diagnosis ? outlook.sentence.replace(diagnosis.fix, "").trimEnd() : outlook.sentence;
}
