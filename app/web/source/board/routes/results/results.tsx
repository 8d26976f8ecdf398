// Results of all posts: filters in the URL, one row for each post and account.

import { useLocation } from "wouter";
import { useSearch } from "wouter/use-browser-location";

import { rememberList } from "../../components/back-link";
import { DeferredPanel } from "../../components/deferred-panel";
import { Page } from "../../components/page";
import { ROOT_PATH } from "../../config";
import { serverNow } from "../../text/clock";
import { filterWords } from "../../text/filter-words";
import { useZone } from "../../text/zone";
import { parseResults, resultsPath } from "../../url/results";
import { csvPath } from "../../url/results-filter";
import { ResultsFilters } from "./filters";
import { ResultsList } from "./results-list";
import { ShowAsApi } from "./show-as-api";

export default function ResultsPage() {
  const search = useSearch();
  const [, navigate] = useLocation();
  const zone = useZone();
  const view = parseResults(search);
  rememberList("/results", `/results${search}`);
  return (
    <Page
      title="Results"
      filterWords={filterWords(view, zone, serverNow())}
      actions={
        <div className="buttons">
          <ShowAsApi view={view} />
          <a className="button" href={ROOT_PATH + csvPath(view)} download>
            Download CSV
          </a>
        </div>
      }
    >
      <ResultsFilters view={view} onChange={(changed) => navigate(resultsPath(changed))} />
      <DeferredPanel value={search} lines={20}>
        {(shown, fetchKey) => {
          const shownView = parseResults(shown);
          return (
            <ResultsList
              view={shownView}
              filterWords={(names) => filterWords(shownView, zone, serverNow(), names)}
              fetchKey={fetchKey}
            />
          );
        }}
      </DeferredPanel>
    </Page>
  );
}
