// One account in the list.

import { graphql, useFragment } from "react-relay/hooks";
import { Link } from "wouter";

import type { accountRow_account$key } from "../../relay/__generated__/accountRow_account.graphql";
import { Initials } from "../../components/initials";
import { Status } from "../../components/status";
import { TimeWithDistance } from "../../components/time";
import { UserText } from "../../components/user-text";
import { healthReason, healthWords } from "../../text/health";
import { cappedNumber, plainNumber } from "../../text/numbers";
import { platformName } from "../../text/reasons";
import { accountPath } from "../../url/paths";
import { openFailuresOfAccount, waitingOnAccount } from "../../url/result-lists";
import { resultsPath } from "../../url/results";

export const ACCOUNT_HEADINGS = [
  "Account",
  "Health",
  "Access ends",
  "Waiting",
  "Failed now",
  "Unknown",
  "Last failure",
];

export function AccountRow({ account }: { readonly account: accountRow_account$key }) {
  const data = useFragment(
    graphql`
      fragment accountRow_account on Account {
        accountId
        accountName
        platform
        health {
          status
          reasons
          activity {
            queuedCount
          }
        }
        token {
          expiresAt
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
          failedAt
          errorCode
        }
      }
    `,
    account,
  );
  const { accountId, health, openFailures, unknownCount, lastFailure } = data;
  return (
    <>
      <td role="cell" className="cell-account">
        <span className="account-name">
          <Initials name={data.accountName} />
          <span>
            <Link href={accountPath(accountId)} tabIndex={-1}>
              <UserText text={data.accountName} limit={100} />
            </Link>
            <small className="muted">
              <UserText text={platformName(data.platform)} />, number {accountId}
            </small>
          </span>
        </span>
      </td>
      <td role="cell" className="cell-health">
        {health && (
          <>
            <Status words={healthWords(health.status)} />
            {health.reasons.map((reason) => (
              <small key={reason}>{healthReason(reason)}</small>
            ))}
          </>
        )}
      </td>
      <td role="cell" data-label="Access ends">
        <span>
          {data.token.expiresAt ? (
            <TimeWithDistance at={data.token.expiresAt} />
          ) : (
            <span className="muted">no date known</span>
          )}
        </span>
      </td>
      <NumberCell
        label="Waiting"
        text={health && plainNumber(health.activity.queuedCount)}
        path={resultsPath(waitingOnAccount(accountId))}
      />
      <NumberCell
        label="Failed now"
        text={openFailures && cappedNumber(openFailures)}
        path={resultsPath(openFailuresOfAccount(accountId))}
      />
      <NumberCell
        label="Unknown"
        text={unknownCount && cappedNumber(unknownCount)}
        path={resultsPath({ account: [accountId], outcome: ["UNKNOWN"] })}
      />
      <td role="cell" data-label="Last failure">
        {lastFailure?.failedAt ? (
          <>
            <span>
              <TimeWithDistance at={lastFailure.failedAt} />
            </span>
            {lastFailure.errorCode && (
              <code>
                <UserText text={lastFailure.errorCode} limit={100} />
              </code>
            )}
          </>
        ) : (
          <span className="muted">none</span>
        )}
      </td>
    </>
  );
}

interface NumberProps {
  readonly label: string;
  /** Null if the number could not be read. */
  readonly text: string | null | undefined;
  readonly path: string;
}

function NumberCell({ label, text, path }: NumberProps) {
  return (
    <td role="cell" data-label={label}>
      {text && text !== "0" ? (
        <Link href={path} tabIndex={-1}>
          {text}
        </Link>
      ) : (
        <span className="muted">{text ?? "–"}</span>
      )}
    </td>
  );
}
