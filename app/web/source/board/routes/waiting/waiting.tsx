// What is going on automatically: posts that no publisher has taken, retries, and publications that run.

import { rememberList } from "../../components/back-link";
import { useListInteraction } from "../../components/list/list-interaction";
import { Page } from "../../components/page";
import { ROOT_PATH } from "../../config";
import { useRowKeys } from "../../keyboard/row-keys";
import { useViewer } from "../../session/viewer";
import { FLAG_FILTERS } from "../../url/results-filter";
import { MirroredRetryTime, Outlook, OverdueTime, PublishingTime, RetryLimits, RetryTime } from "./cells";
import { WaitingSection } from "./waiting-section";

const DUE_FIRST = { field: "SCHEDULED_FOR", direction: "ASC" } as const;
const RETRIED_FIRST = { field: "NEXT_RETRY_AT", direction: "ASC" } as const;

export default function WaitingPage() {
  const interaction = useListInteraction();
  const { isMirror } = useViewer();
  rememberList("/results", "/waiting", "Waiting");
  useRowKeys(".waiting-table .cell-post a");
  return (
    <Page title="Waiting">
      {!isMirror && (
        <WaitingSection
          title="Overdue"
          filter={FLAG_FILTERS.overdue}
          orderBy={DUE_FIRST}
          when={OverdueTime}
          next={Outlook}
          nothing="Nothing is overdue: publishers take every post in time."
          interaction={interaction}
        >
          No publisher has taken these for more than five minutes. Check that a publisher is running, that
          it handles these platforms, and in its log that this server accepts its key.{" "}
          <a href={`${ROOT_PATH}/docs/publishing`}>How publishing works</a>
        </WaitingSection>
      )}
      <WaitingSection
        title="Waiting for a retry"
        filter={FLAG_FILTERS.retrying}
        orderBy={RETRIED_FIRST}
        when={isMirror ? MirroredRetryTime : RetryTime}
        next={RetryLimits}
        nothing="Nothing waits for a retry."
        interaction={interaction}
      >
        {isMirror
          ? "These failed, and the mirrored service had planned to try them again when they were imported."
          : "These failed, and are tried again automatically. Once that has ended, you can retry them yourself."}
      </WaitingSection>
      <WaitingSection
        title="Publishing now"
        filter={{ status: ["PUBLISHING"], awaitsOutcome: true, overdue: false }}
        orderBy={DUE_FIRST}
        when={PublishingTime}
        next={Outlook}
        nothing="Nothing is being published right now."
        interaction={interaction}
      >
        {isMirror
          ? "The mirrored service was publishing these when they were imported."
          : "A publisher has taken these, and must report before the time is over. If it does not, a post that it had begun to publish gets an unknown outcome, and any other goes to the next publisher."}
      </WaitingSection>
    </Page>
  );
}
