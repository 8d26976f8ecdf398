// Small modules that several pages share. The first script includes them, because each would be a file of its own.

import "./components/account-filters";
import "./components/account-link";
import "./components/action-button";
import "./components/actor";
import "./components/back-link";
import "./components/bulk/retry-action";
import "./components/change-item";
import "./components/chart/units";
import "./components/fact";
import "./components/icon";
import "./components/initials";
import "./components/list/list-parts";
import "./components/pager";
import "./components/status";
import "./keyboard/row-keys";
import "./relay/expected-version";
import "./relay/mutate";
import "./routes/results/last-results";
import "./text/actors";
import "./text/filter-words";
import "./text/health";
import "./text/labels";
import "./url/results-filter";
