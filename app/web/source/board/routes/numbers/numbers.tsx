// Statistics of a period: success, lateness, and how both change over time.

import { useLocation } from "wouter";
import { useSearch } from "wouter/use-browser-location";

import { Page } from "../../components/page";
import { Panel } from "../../components/panel";
import { useNow } from "../../components/time";
import { accountWords } from "../../text/filter-words";
import { useZone } from "../../text/zone";
import { isTooLong, MAX_DAYS, numbersPath, parseNumbers, type NumbersView } from "../../url/numbers";
import { Breakdown } from "./breakdown";
import { Headline } from "./headline";
import { HeatMap } from "./heat-map";
import { NumberFilters } from "./number-filters";
import { OutcomeCharts } from "./outcome-charts";
import { periodOf, statsVariables } from "./period";

export default function NumbersPage() {
  const search = useSearch();
  const [, navigate] = useLocation();
  const zone = useZone();
  const view = parseNumbers(search);
  const period = periodOf(view, zone, useNow());
  const shown = { view, period, zone };
  const change = (changed: NumbersView) => navigate(numbersPath(changed));
  const key = `${zone} ${JSON.stringify(statsVariables({ view, period }))}`;
  return (
    <Page title="Numbers" filterWords={accountWords(view)}>
      <NumberFilters view={view} period={period} onChange={change} />
      <h2>{period.words}</h2>
      {view.own && isTooLong(view.own) && (
        <p role="status">A period has at most {MAX_DAYS} days. This one shows the last of yours.</p>
      )}
      <Panel key={`headline ${key}`} lines={10}>
        {(fetchKey) => <Headline {...shown} fetchKey={fetchKey} />}
      </Panel>
      <Panel key={`charts ${key} ${view.interval}`} lines={20}>
        {(fetchKey) => <OutcomeCharts {...shown} fetchKey={fetchKey} />}
      </Panel>
      <Breakdown key={`groups ${key}`} {...shown} onChange={change} />
      <Panel key={`hours ${key}`} lines={24}>
        {(fetchKey) => <HeatMap {...shown} fetchKey={fetchKey} onChange={change} />}
      </Panel>
    </Page>
  );
}
