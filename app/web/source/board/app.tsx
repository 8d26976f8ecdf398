// The board: its pages, and sign-in before them.

import { Route, Switch } from "wouter";

import { lazyPage } from "./components/lazy";
import { Layout, type NavigationItem } from "./components/layout";
import { NotFound } from "./routes/not-found/not-found";
import { PostPage } from "./routes/post/post";
import { ResultsPage } from "./routes/results/results";
import { TodayPage } from "./routes/today/today";
import { SessionGate } from "./session/session-gate";

const FailuresPage = lazyPage(() => import("./routes/failures/failures"));
const FailureGroupPage = lazyPage(() => import("./routes/failures/failure-group"));
const AccountsPage = lazyPage(() => import("./routes/accounts/accounts"));
const AccountPage = lazyPage(() => import("./routes/accounts/account"));
const NumbersPage = lazyPage(() => import("./routes/numbers/numbers"));
const CalendarPage = lazyPage(() => import("./routes/calendar/calendar"));
const UnknownPage = lazyPage(() => import("./routes/unknown/unknown"));
const WaitingPage = lazyPage(() => import("./routes/waiting/waiting"));
const ActivityPage = lazyPage(() => import("./routes/activity/activity"));

/** Pages of the navigation, in its order. `key` opens the page after `g`. Heavy pages are loaded by `lazyPage`. */
const PAGES: readonly NavigationItem[] = [
  { path: "/", name: "Today", key: "t", page: TodayPage },
  { path: "/results", name: "Results", key: "r", page: ResultsPage },
  { path: "/unknown", name: "Unknown", key: "u", page: UnknownPage },
  { path: "/failures", name: "Failures", key: "f", page: FailuresPage },
  { path: "/waiting", name: "Waiting", key: "w", page: WaitingPage },
  { path: "/accounts", name: "Accounts", key: "a", page: AccountsPage },
  { path: "/numbers", name: "Numbers", key: "n", page: NumbersPage },
  { path: "/calendar", name: "Calendar", key: "c", page: CalendarPage },
  { path: "/activity", name: "Activity", key: "y", page: ActivityPage },
];

export function App() {
  return (
    <SessionGate>
      <Layout items={PAGES}>
        <Switch>
          {PAGES.map(({ path, page }) => (
            <Route key={path} path={path} component={page} />
          ))}
          <Route path="/calendar/:span/:date?" component={CalendarPage} />
          <Route path="/posts/:postId">{({ postId }) => <PostPage key={postId} postId={postId} />}</Route>
          <Route path="/failures/:groupKey">
            {({ groupKey }) => <FailureGroupPage key={groupKey} groupKey={groupKey} />}
          </Route>
          <Route path="/accounts/:number">
            {({ number }) => <AccountPage key={number} number={number} />}
          </Route>
          <Route component={NotFound} />
        </Switch>
      </Layout>
    </SessionGate>
  );
}
