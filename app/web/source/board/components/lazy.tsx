// Pages and parts of pages whose scripts are loaded after the first page. They offer a reload if that fails: React does
// not load a script again, and a newer server does not have the old ones.

import { lazy, useEffect, type ComponentType, type ReactNode } from "react";

import { BOARD_PATH } from "../config";
import { connection } from "../live/connection";
import { recordArrival } from "../relay/arrivals";
import { Page } from "./page";

type Load<P> = () => Promise<{ default: ComponentType<P> }>;

/** Time for the first page to show its data. */
const PRELOAD_DELAY_MS = 2_000;

const pageLoaders: [path: string, load: () => Promise<unknown>][] = [];

/** A page whose URLs begin with `path`, below that of the board. */
export function lazyPage<P extends object>(path: string, load: Load<P>) {
  pageLoaders.push([path, load]);
  return lazyOr(load, PageWithoutScript);
}

/** Loads the page of this URL while the session is checked, and all others soon after the page is live. */
export function usePreloadedPages(): void {
  useEffect(() => {
    preload((path) => location.pathname.startsWith(BOARD_PATH + path));
    let timer: number | undefined;
    const stopWaiting = connection.subscribe(() => {
      if (connection.value.status !== "live" || timer !== undefined) return;
      timer = window.setTimeout(() => preload(() => true), PRELOAD_DELAY_MS);
    });
    return () => {
      stopWaiting();
      clearTimeout(timer);
    };
  }, []);
}

function preload(isWanted: (path: string) => boolean): void {
  for (const [path, load] of pageLoaders) {
    // A failure is shown when the page is opened.
    if (isWanted(path)) load().catch(() => undefined);
  }
}

export function lazyPart<P extends object>(load: Load<P>) {
  return lazyOr(load, PartWithoutScript);
}

function lazyOr<P extends object>(load: Load<P>, replacement: () => ReactNode) {
  return lazy(() =>
    load()
      .catch((): { default: ComponentType<P> } => ({ default: replacement }))
      .finally(recordArrival),
  );
}

function PageWithoutScript() {
  return (
    <Page title="This page could not be loaded">
      <ReloadOffer />
    </Page>
  );
}

function PartWithoutScript() {
  return (
    <div className="empty">
      <p>This part could not be loaded.</p>
      <ReloadOffer />
    </div>
  );
}

function ReloadOffer() {
  return (
    <>
      <p>The server cannot be reached, or it has a newer version of the board.</p>
      <button type="button" onClick={() => location.reload()}>
        Reload
      </button>
    </>
  );
}
