// Shows the pages to a signed-in user, and the sign-in page to others.

import { useCallback, useEffect, useEffectEvent, useState, type ReactNode } from "react";
import { RelayEnvironmentProvider } from "react-relay/hooks";
import type { Environment } from "relay-runtime";
import { Route, Switch, useLocation } from "wouter";

import { Dialog } from "../components/dialog";
import { ErrorPanel } from "../components/error-panel";
import { Skeleton } from "../components/loading";
import { showNotice } from "../components/notices";
import { BOARD_PATH } from "../config";
import { emitReload } from "../live/events";
import { usePageCheck } from "../live/page-check";
import { createEnvironment, followChanges } from "../relay/environment";
import { INVALID_API_KEY, ServerError } from "../relay/server-error";
import { useStore } from "../store";
import { MAX_CLOCK_DIFFERENCE_MS, setServerTime } from "../text/clock";
import { watchIdleness } from "./idle";
import { sessionState } from "./session-store";
import { SignInForm } from "./sign-in-form";
import { SignInPage } from "./sign-in-page";
import { loadViewer, ViewerContext, type Viewer } from "./viewer";
import { storeVisit, useVisits } from "./visits";

const SIGN_IN_PATH = "/sign-in";

interface SignedIn {
  readonly environment: Environment;
  readonly viewer: Viewer;
}

type Gate = SignedIn | "loading" | "signed-out" | Error;

/** Opened while React renders for the first time; null once it is used, and on the sign-in page. */
let firstGate = location.pathname === BOARD_PATH + SIGN_IN_PATH ? null : openGate();

export function SessionGate({ children }: { readonly children: ReactNode }) {
  const [gate, setGate] = useState<Gate>("loading");
  const load = useCallback(async () => {
    const opening = firstGate ?? openGate();
    firstGate = null;
    const opened = await opening;
    setGate(opened);
    return opened !== "signed-out";
  }, []);
  const [path] = useLocation();
  const onSessionState = useEffectEvent(() => {
    if (sessionState.value === "unchecked" && isSignedIn(gate)) void openAgain(gate, setGate);
  });
  useEffect(() => sessionState.subscribe(() => onSessionState()), []);
  useEffect(() => {
    if (gate === "loading" && path !== SIGN_IN_PATH) void load();
  }, [gate, path, load]);

  return (
    <Switch>
      <Route path={SIGN_IN_PATH}>
        <SignInPage onSignedIn={load} />
      </Route>
      <Route>
        {gate === "loading" && <Skeleton lines={12} />}
        {gate === "signed-out" && <RedirectToSignIn />}
        {gate instanceof Error && <FailedStart error={gate} onRetry={() => setGate("loading")} />}
        {isSignedIn(gate) && (
          <SignedInPages
            key={gate.viewer.workspaceId}
            signedIn={gate}
            onSignedInAgain={() => openAgain(gate, setGate)}
          >
            {children}
          </SignedInPages>
        )}
      </Route>
    </Switch>
  );
}

function isSignedIn(gate: Gate): gate is SignedIn {
  return typeof gate === "object" && "viewer" in gate;
}

async function openGate(): Promise<Gate> {
  const environment = createEnvironment();
  try {
    const viewer = await loadViewer(environment);
    if (Math.abs(setServerTime(viewer.serverNow)) > MAX_CLOCK_DIFFERENCE_MS) {
      showNotice("The clock of this computer is wrong. All times here are by the server’s clock.");
    }
    storeVisit(viewer.workspaceId, viewer.serverNow);
    sessionState.set("active");
    return { environment, viewer };
  } catch (error) {
    if (error instanceof ServerError && error.code === INVALID_API_KEY) return "signed-out";
    return error instanceof Error ? error : new Error(String(error));
  }
}

/**
 * Reads the viewer of the session that the browser has now; the page keeps its place in the same workspace. Returns
 * false without a session.
 */
async function openAgain(before: SignedIn, setGate: (gate: Gate) => void): Promise<boolean> {
  const gate = await openGate();
  if (gate instanceof Error) {
    sessionState.set("active"); // as far as is known; the next refused request checks it again
    showNotice(gate.message);
  } else if (!isSignedIn(gate)) {
    sessionState.set("ended");
    return false;
  } else if (gate.viewer.workspaceId !== before.viewer.workspaceId) {
    showNotice("This browser is signed in to another workspace now, which this page shows.");
    setGate(gate);
  } else {
    setGate({ environment: before.environment, viewer: gate.viewer });
    emitReload();
  }
  return true;
}

interface SignedInPagesProps {
  readonly signedIn: SignedIn;
  readonly onSignedInAgain: () => Promise<boolean>;
  readonly children: ReactNode;
}

function SignedInPages({ signedIn: { environment, viewer }, onSignedInAgain, children }: SignedInPagesProps) {
  const state = useStore(sessionState);
  const [firstCursor] = useState(viewer.latestCursor);
  usePageCheck();
  useVisits(viewer.workspaceId);
  useEffect(() => {
    if (firstCursor !== null) return followChanges(environment, firstCursor);
  }, [environment, firstCursor]);
  useEffect(() => {
    if (!viewer.isSignedInByProxy) return watchIdleness();
  }, [viewer.isSignedInByProxy]);
  if (viewer.latestCursor === null) return <KeyWithoutRead />;
  return (
    <RelayEnvironmentProvider environment={environment}>
      <ViewerContext value={viewer}>{children}</ViewerContext>
      {state === "ended" && (
        <Dialog title="Sign in again">
          <p>The session has ended. This page stays as it is.</p>
          <SignInForm onSignedIn={onSignedInAgain} />
        </Dialog>
      )}
    </RelayEnvironmentProvider>
  );
}

function RedirectToSignIn() {
  const [path, navigate] = useLocation();
  useEffect(() => {
    const next = path + location.search;
    navigate(next === "/" ? SIGN_IN_PATH : `${SIGN_IN_PATH}?next=${encodeURIComponent(next)}`, {
      replace: true,
    });
  }, [path, navigate]);
  return null;
}

function FailedStart({ error, onRetry }: { readonly error: Error; readonly onRetry: () => void }) {
  return (
    <main id="content">
      <h1>The board cannot start</h1>
      <ErrorPanel error={error} onRetry={onRetry} />
    </main>
  );
}

function KeyWithoutRead() {
  return (
    <main id="content">
      <h1>This key can publish, but not read</h1>
      <p>
        Its scopes do not include read. Ask the operator of this server for another key, then{" "}
        <a href={`${BOARD_PATH}/sign-in`}>sign in with it</a>.
      </p>
    </main>
  );
}
