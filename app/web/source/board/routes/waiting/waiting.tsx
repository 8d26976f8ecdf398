// What is going on automatically: posts that no publisher has taken, retries, and publications that run.

import { rememberList } from "../../components/back-link";
import { useListUse } from "../../components/list/list-use";
import { Page } from "../../components/page";
import { Panel } from "../../components/panel";
import { ROOT_PATH } from "../../config";
import { useRowKeys } from "../../keyboard/row-keys";
import { Outlook, OverdueTime, PublishingTime, RetryLimits, RetryTime } from "./cells";
import { WaitingSection } from "./waiting-section";

const DUE_FIRST = { field: "SCHEDULED_FOR", direction: "ASC" } as const;
const RETRIED_FIRST = { field: "NEXT_RETRY_AT", direction: "ASC" } as const;

export default function WaitingPage() {
  const use = useListUse();
  rememberList("/results", "/waiting", "Waiting");
  useRowKeys(".waiting-table .cell-post a");
  return (
    <Page title="Waiting">
      <Panel lines={5}>
        {(fetchKey) => (
          <WaitingSection
            title="Overdue"
            filter={{ overdue: true }}
            orderBy={DUE_FIRST}
            when={OverdueTime}
            next={Outlook}
            nothing="Nothing is overdue: publishers take every post in time."
            fetchKey={fetchKey}
            use={use}
          >
            No publisher has taken these for more than five minutes. Check that a publisher is running, that
            it handles these platforms, and in its log that this server accepts its key.{" "}
            <a href={`${ROOT_PATH}/docs/publishing`}>How publishing works</a>
          </WaitingSection>
        )}
      </Panel>
      <Panel lines={5}>
        {(fetchKey) => (
          <WaitingSection
            title="Waiting for a retry"
            filter={{ retrying: true, overdue: false }}
            orderBy={RETRIED_FIRST}
            when={RetryTime}
            next={RetryLimits}
            nothing="Nothing waits for a retry."
            fetchKey={fetchKey}
            use={use}
          >
            These failed, and are tried again automatically. Once that has ended, you can retry them yourself.
          </WaitingSection>
        )}
      </Panel>
      <Panel lines={5}>
        {(fetchKey) => (
          <WaitingSection
            title="Publishing now"
            filter={{ status: ["PUBLISHING"], overdue: false }}
            orderBy={DUE_FIRST}
            when={PublishingTime}
            next={Outlook}
            nothing="Nothing is being published right now."
            fetchKey={fetchKey}
            use={use}
          >
            A publisher has taken these, and must report before the time is over. If it does not, a post that
            it had begun to publish gets an unknown outcome, and any other goes to the next publisher.
          </WaitingSection>
        )}
      </Panel>
    </Page>
  );
}
