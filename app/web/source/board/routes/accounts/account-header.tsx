// The account and its health, with the reasons.

import { graphql, useFragment } from "react-relay/hooks";

import type { accountHeader_account$key } from "../../relay/__generated__/accountHeader_account.graphql";
import { Fact } from "../../components/fact";
import { Initials } from "../../components/initials";
import { Status } from "../../components/status";
import { TimeWithDistance } from "../../components/time";
import { UserText } from "../../components/user-text";
import { webUrl } from "../../text/characters";
import { healthReason, healthWords, isSaidByReadiness } from "../../text/health";
import { platformName } from "../../text/reasons";

export function AccountHeader({ account }: { readonly account: accountHeader_account$key }) {
  const data = useFragment(
    graphql`
      fragment accountHeader_account on Account {
        accountId
        accountName
        platform
        platformUsername
        profileUrl
        publisher
        connectedAt
        needsReconnectionSince
        credentialsError
        health {
          status
          reasons
          activity {
            lastPublishedAt
          }
        }
        readiness {
          message
        }
        token {
          expiresAt
          expired
        }
      }
    `,
    account,
  );
  const { health, token } = data;
  const profile = webUrl(data.profileUrl);
  return (
    <section className="card" aria-label="Health">
      <p className="account-name">
        <Initials name={data.accountName} />
        <span>
          <UserText text={platformName(data.platform)} />
          {data.platformUsername && (
            <>
              {", "}
              <UserText text={data.platformUsername} />
            </>
          )}
          , number {data.accountId}
          {profile && (
            <>
              {" · "}
              <a href={profile.href} target="_blank" rel="noopener noreferrer">
                Profile on {profile.hostname}
              </a>
            </>
          )}
        </span>
      </p>
      {health && <Status words={healthWords(health.status)} />}
      {health?.reasons
        .filter((reason) => !isSaidByReadiness(reason))
        .map((reason) => (
          <p key={reason}>{healthReason(reason)}</p>
        ))}
      {data.readiness.message && <p className="fix">{data.readiness.message}</p>}
      {data.credentialsError && (
        <p>
          <UserText text={data.credentialsError} />
        </p>
      )}
      <dl className="facts">
        <Fact name="Published by">
          {data.publisher === "EXTERNAL" ? "a client of the API" : "the worker of this server"}
        </Fact>
        <Fact name={token.expired ? "Access ended" : "Access ends"}>
          {token.expiresAt ? <TimeWithDistance at={token.expiresAt} /> : "no date known"}
        </Fact>
        {data.needsReconnectionSince && (
          <Fact name="No valid access since">
            <TimeWithDistance at={data.needsReconnectionSince} />
          </Fact>
        )}
        <Fact name="Last connected">
          <TimeWithDistance at={data.connectedAt} />
        </Fact>
        <Fact name="Last published">
          {health?.activity.lastPublishedAt ? (
            <TimeWithDistance at={health.activity.lastPublishedAt} />
          ) : (
            "never"
          )}
        </Fact>
      </dl>
    </section>
  );
}
