// The failures of today by cause, each with its fix first.

import { graphql, useFragment } from "react-relay/hooks";
import { Link } from "wouter";

import type { failuresPanel_query$key } from "../../relay/__generated__/failuresPanel_query.graphql";
import { ErrorPanel } from "../../components/error-panel";
import { Time } from "../../components/time";
import { UserText } from "../../components/user-text";
import { caughtError } from "../../relay/partial-data";
import { groupMessage } from "../../text/filter-words";
import { count } from "../../text/numbers";
import { platformName, sourceWords } from "../../text/reasons";
import { groupPath } from "../../url/failures";
import { failedResults } from "../../url/result-lists";
import { resultsPath } from "../../url/results";
import type { TodayPanelProps } from "./today";

const fragment = graphql`
  fragment failuresPanel_query on Query
  @argumentDefinitions(since: { type: "DateTime!" }, count: { type: "Int!" })
  @catch(to: RESULT) {
    failureGroups(first: $count, filter: { failedAfter: $since, outcome: [FAILED] }) {
      nodes {
        id
        key
        count
        accountCount
        platform
        message
        code
        category
        lastSeen
        diagnosis {
          fix
          source
        }
      }
      pageInfo {
        hasNextPage
      }
    }
  }
`;

export function FailuresPanel({ query, since, onRetry }: TodayPanelProps<failuresPanel_query$key>) {
  const result = useFragment(fragment, query);
  if (!result.ok) return <ErrorPanel error={caughtError(result.errors)} onRetry={onRetry} />;
  const { failureGroups } = result.value;
  const groups = failureGroups?.nodes ?? [];
  const allFailed = failedResults({ from: new Date(since) });
  return (
    <section aria-labelledby="failures">
      <h2 id="failures">Failed today, by cause</h2>
      {groups.length === 0 && <p className="muted">Nothing has failed today.</p>}
      <ul className="causes">
        {groups.map((group) => (
          <li key={group.id}>
            <p className="fix">
              <Link href={groupPath(group.key, "today")}>{group.diagnosis.fix}</Link>
            </p>
            <p>
              <Link href={resultsPath({ ...allFailed, group: [group.key] })}>
                {count(group.count, "failure")}
              </Link>{" "}
              on {count(group.accountCount, "account")} of <UserText text={platformName(group.platform)} />,
              the last <Time at={group.lastSeen} />
            </p>
            <p className="muted">
              <UserText text={groupMessage(group.message)} />{" "}
              <code>
                <UserText text={group.code} />
              </code>
              , can be fixed by{" "}
              {sourceWords(group.diagnosis.source, group.category)}
            </p>
          </li>
        ))}
      </ul>
      {failureGroups?.pageInfo.hasNextPage && (
        <Link href={resultsPath(allFailed)}>All failures of today</Link>
      )}
    </section>
  );
}
