// Failures by cause, each with its fix first.

import { useLocation } from "wouter";
import { useSearch } from "wouter/use-browser-location";

import { PlatformFilter } from "../../components/account-filters";
import { rememberList } from "../../components/back-link";
import { Choice, ChoiceFilter } from "../../components/fields";
import { Page } from "../../components/page";
import { LaterPage } from "../../components/pager";
import { Panel } from "../../components/panel";
import { filterPhrase } from "../../text/filter-words";
import { categoryWords, platformName } from "../../text/reasons";
import {
  FAILURE_ORDERS,
  FAILURE_PERIODS,
  failuresPath,
  parseFailures,
  type FailuresView,
} from "../../url/failures";
import { CATEGORIES } from "../../url/results";
import { GroupList } from "./group-list";
import { usePeriodStart } from "./period-start";

const ORDER_WORDS = { COUNT: "Number of failures", LAST_SEEN: "Latest failure" };
const PERIOD_WORDS = {
  today: "Today",
  hour: "The last hour",
  day: "The last 24 hours",
  week: "The last 7 days",
  month: "The last 30 days",
};

export default function FailuresPage() {
  const search = useSearch();
  const [, navigate] = useLocation();
  const view = parseFailures(search);
  const since = usePeriodStart(view.period);
  rememberList("/failures", failuresPath(view));
  return (
    <Page title="Failures" filterWords={filterWordsOf(view)}>
      <Filters
        view={view}
        onChange={(changes) => navigate(failuresPath({ ...view, after: "", ...changes }))}
      />
      <Panel key={search} lines={16}>
        {(fetchKey) => <GroupList view={view} since={since} fetchKey={fetchKey} />}
      </Panel>
      {view.after && <LaterPage firstPath={failuresPath({ ...view, after: "" })} />}
    </Page>
  );
}

function filterWordsOf({ period, platform, category }: FailuresView): string[] {
  return [
    ...filterPhrase("Failed in", period ? [PERIOD_WORDS[period]] : []),
    ...filterPhrase("Platform", platform.map(platformName)),
    ...filterPhrase("Cause", category.map(categoryWords)),
  ];
}

interface FiltersProps {
  readonly view: FailuresView;
  readonly onChange: (changes: Partial<FailuresView>) => void;
}

function Filters({ view, onChange }: FiltersProps) {
  return (
    <search className="filters">
      <ChoiceFilter
        label="Failed in"
        values={view.period ? [view.period] : []}
        options={FAILURE_PERIODS}
        name={(period) => PERIOD_WORDS[period]}
        onChange={([period]) => onChange({ period: period ?? null })}
      />
      <PlatformFilter values={view.platform} onChange={(platform) => onChange({ platform })} />
      <ChoiceFilter
        label="Cause"
        values={view.category}
        options={CATEGORIES}
        name={categoryWords}
        onChange={(category) => onChange({ category })}
      />
      <Choice
        label="Order by"
        value={view.order}
        options={FAILURE_ORDERS}
        name={(order) => ORDER_WORDS[order]}
        onChange={(order) => onChange({ order })}
      />
    </search>
  );
}
