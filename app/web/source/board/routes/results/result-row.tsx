// One result: a post on one account.

import { memo } from "react";
import { graphql, useFragment } from "react-relay/hooks";
import { Link } from "wouter";

import type {
  resultRow_destination$data,
  resultRow_destination$key,
} from "../../relay/__generated__/resultRow_destination.graphql";
import { Status } from "../../components/status";
import { Lateness, Sentence, Time, TimeWithDistance } from "../../components/time";
import { UserText } from "../../components/user-text";
import { accountLabel, plainAccountLabel, postLabel } from "../../text/labels";
import { nextAction, nextActionWords, platformName } from "../../text/reasons";
import { destinationStatus } from "../../text/statuses";
import { postPath } from "../../url/paths";
import { recordOpenedRow } from "./last-results";

export const RESULT_HEADINGS = [
  "Select",
  "Status",
  "Account",
  "Post",
  "When",
  "Attempts",
  "What happened, and what next",
];

const TEXT_LIMIT = 200;

interface Props {
  readonly destination: resultRow_destination$key;
  readonly isSelected: boolean;
  readonly onToggle: (id: string) => void;
  /** True if the row no longer matches the filter. */
  readonly isUnmatched: boolean;
}

/** Rendered again only if its content changes, as each key press moves through a list of many rows. */
export const ResultRow = memo(function ResultRow({ destination, isSelected, onToggle, isUnmatched }: Props) {
  const data = useFragment(
    graphql`
      fragment resultRow_destination on Destination {
        id
        postId
        platform
        accountName
        status
        outcome
        attempts
        error
        errorCode
        isOverdue
        awaitsOutcome
        scheduledFor
        publishedAt
        failedAt
        nextRetryAt
        latenessSeconds
        retryRefusal
        diagnosis {
          nextAction
        }
        outlook {
          sentence
        }
        post {
          content
          reference
        }
      }
    `,
    destination,
  );
  const words = destinationStatus(data);
  const text = postLabel(data.post);
  return (
    <>
      <td role="cell" className="cell-select">
        <input
          type="checkbox"
          tabIndex={-1}
          aria-label={`Select ${plainAccountLabel(data.accountName, data.platform)}`}
          checked={isSelected}
          onChange={() => onToggle(data.id)}
        />
      </td>
      <td role="cell" className="cell-status">
        <Status words={words} />
        {isUnmatched && <small className="muted">now {words.name}; no longer in this list</small>}
      </td>
      <td role="cell" className="cell-account">
        <UserText text={accountLabel(data.accountName)} limit={TEXT_LIMIT} />
        <small className="muted">
          <UserText text={platformName(data.platform)} />
        </small>
      </td>
      <td role="cell" className="cell-post">
        <Link href={postPath(data.postId)} tabIndex={-1} onClick={() => recordOpenedRow(data)}>
          <UserText text={text} limit={TEXT_LIMIT} />
        </Link>
      </td>
      <td role="cell" className="cell-when">
        <When data={data} />
      </td>
      <td role="cell" className="cell-tries">
        {data.attempts}
      </td>
      <td role="cell" className="cell-reason">
        <Reason data={data} />
      </td>
    </>
  );
});

function When({ data }: { readonly data: resultRow_destination$data }) {
  const settledAt = data.publishedAt ?? data.failedAt;
  return (
    <>
      {settledAt && <Time at={settledAt} />}
      {!settledAt && data.scheduledFor && (
        <span>
          due <TimeWithDistance at={data.scheduledFor} />
        </span>
      )}
      <Lateness seconds={data.latenessSeconds} />
    </>
  );
}

function Reason({ data }: { readonly data: resultRow_destination$data }) {
  const action = data.status === "FAILED" ? nextAction(data) : null;
  if (data.status === "PUBLISHED") return null;
  return (
    <>
      {data.error && <UserText text={data.error} limit={TEXT_LIMIT} />}
      <small className="muted">
        {action ? nextActionWords(action) : <Sentence text={data.outlook.sentence} />}
      </small>
    </>
  );
}
