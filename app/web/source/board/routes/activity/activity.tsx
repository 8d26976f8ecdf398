// Everything that has changed in the workspace, as sentences, newest first.

import { useSearch } from "wouter/use-browser-location";

import { rememberList } from "../../components/back-link";
import { Page } from "../../components/page";
import { useRowKeys } from "../../keyboard/row-keys";
import { useViewer } from "../../session/viewer";
import { endOfLastVisit } from "../../session/visits";
import { count } from "../../text/numbers";
import { DAY_MS, duration } from "../../text/times";
import { activityPath, parseActivity } from "../../url/activity";
import { ActivityFilters, activityWords } from "./activity-filters";
import { ChangeList } from "./change-list";

export default function ActivityPage() {
  const search = useSearch();
  const view = parseActivity(search);
  const { workspaceId, changesRetentionSeconds } = useViewer();
  const days = (changesRetentionSeconds * 1_000) / DAY_MS;
  rememberList("/results", activityPath(view), "Activity");
  useRowKeys(".changed-post a");
  return (
    <Page title="Activity" filterWords={activityWords(view)}>
      <p className="muted">
        The newest change is at the top. Changes are stored for{" "}
        {Number.isInteger(days) ? count(days, "day") : duration(changesRetentionSeconds * 1_000)}.
      </p>
      <ActivityFilters view={view} />
      <ChangeList key={search} view={view} lastVisit={endOfLastVisit(workspaceId)} />
    </Page>
  );
}
