// The board: its pages, and sign-in before them.

import { Route, Switch } from "wouter";

import { lazyPage, usePreloadedPages } from "./components/lazy";
import { Layout, type NavigationItem } from "./components/layout";
import { NotFound } from "./routes/not-found/not-found";
import { TodayPage } from "./routes/today/today";
import { SessionGate } from "./session/session-gate";

const ResultsPage = lazyPage("/results", () => import("./routes/results/results"));
const PostPage = lazyPage("/posts/", () => import("./routes/post/post"));
const UnknownPage = lazyPage("/unknown", () => import("./routes/unknown/unknown"));
const FailuresPage = lazyPage("/failures", () => import("./routes/failures/failures"));
const FailureGroupPage = lazyPage("/failures/", () => import("./routes/failures/failure-group"));
const WaitingPage = lazyPage("/waiting", () => import("./routes/waiting/waiting"));
const AccountsPage = lazyPage("/accounts", () => import("./routes/accounts/accounts"));
const AccountPage = lazyPage("/accounts/", () => import("./routes/accounts/account"));
const NumbersPage = lazyPage("/numbers", () => import("./routes/numbers/numbers"));
const CalendarPage = lazyPage("/calendar", () => import("./routes/calendar/calendar"));
const WebhooksPage = lazyPage("/webhooks", () => import("./routes/webhooks/webhooks"));
const WebhookPage = lazyPage("/webhooks/", () => import("./routes/webhooks/webhook-page"));
const ActivityPage = lazyPage("/activity", () => import("./routes/activity/activity"));

/** Pages of the navigation, in its order. `key` opens the page after `g`. */
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
  { path: "/webhooks", name: "Webhooks", key: "h", page: WebhooksPage, scope: "ADMIN" },
];

export function App() {
  usePreloadedPages();
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
          <Route path="/webhooks/:webhookId">
            {({ webhookId }) => <WebhookPage key={webhookId} webhookId={webhookId} />}
          </Route>
          <Route component={NotFound} />
        </Switch>
      </Layout>
    </SessionGate>
  );
}
