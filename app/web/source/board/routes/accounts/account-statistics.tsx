// Numbers of the last seven days.

import { graphql, useFragment } from "react-relay/hooks";

import type { accountStatistics_account$key } from "../../relay/__generated__/accountStatistics_account.graphql";
import { Fact } from "../../components/fact";
import { percent, plainNumber } from "../../text/numbers";
import { duration } from "../../text/times";

export function AccountStatistics({ account }: { readonly account: accountStatistics_account$key }) {
  const { stats } = useFragment(
    graphql`
      fragment accountStatistics_account on Account
      @argumentDefinitions(from: { type: "DateTime!" }, to: { type: "DateTime!" }) {
        stats(from: $from, to: $to) {
          attempts
          published
          firstTry
          savedByRetry
          failed
          userCaused
          unknown
          successRate
          lateness {
            p50Seconds
            p95Seconds
          }
        }
      }
    `,
    account,
  );
  if (!stats) return null;
  const settledCount = stats.published + stats.failed + stats.unknown;
  const { lateness, successRate } = stats;
  return (
    <section aria-labelledby="statistics">
      <h2 id="statistics">The last 7 days</h2>
      {settledCount === 0 && <p className="muted">Nothing was published, and nothing has failed.</p>}
      <dl className="facts">
        <Fact name="Success rate">{successRate == null ? "none" : percent(successRate)}</Fact>
        <Fact name="Published">
          {plainNumber(stats.published)}; {plainNumber(stats.firstTry)} by the first attempt,{" "}
          {plainNumber(stats.savedByRetry)} only after a retry
        </Fact>
        <Fact name="Failed">
          {plainNumber(stats.failed)}; {plainNumber(stats.userCaused)} of them because of the content or the
          access
        </Fact>
        <Fact name="Unknown outcome">{plainNumber(stats.unknown)}</Fact>
        <Fact name="Attempts">{plainNumber(stats.attempts)}</Fact>
        {lateness && (
          <Fact name="Lateness">
            half within {duration(lateness.p50Seconds * 1_000)}, 95 of 100 within{" "}
            {duration(lateness.p95Seconds * 1_000)}
          </Fact>
        )}
      </dl>
    </section>
  );
}
