// Pages and parts of pages whose scripts are loaded when they are opened, or about to be. They offer a reload if that fails: React
// does not load a script again, and a newer server does not have the old ones.

import { lazy, useEffect, type ComponentType, type ReactNode } from "react";

import { BOARD_PATH } from "../config";
import { recordArrival } from "../live/arrivals";
import { Page } from "./page";

type Load<P> = () => Promise<{ default: ComponentType<P> }>;

const pageLoaders: [path: string, load: () => Promise<unknown>][] = [];

/** A page that is loaded when it is opened, or when the pointer or the focus is on a link below `path`. */
export function lazyPage<P extends object>(path: string, load: Load<P>) {
  pageLoaders.push([path, load]);
  return lazyOr(load, PageWithoutScript);
}

/** Loads the page of this URL while the session is checked, and those of links that the user is about to follow. */
export function usePreloadedPages(): void {
  useEffect(() => {
    preload(location.pathname);
    document.addEventListener("pointerover", preloadLinked);
    document.addEventListener("focusin", preloadLinked);
    return () => {
      document.removeEventListener("pointerover", preloadLinked);
      document.removeEventListener("focusin", preloadLinked);
    };
  }, []);
}

function preloadLinked({ target }: Event): void {
  const link = target instanceof Element ? target.closest("a") : null;
  if (link) preload(link.pathname);
}

function preload(pathname: string): void {
  for (const [path, load] of pageLoaders) {
    // A failure is shown when the page is opened.
    if (pathname.startsWith(BOARD_PATH + path)) load().catch(() => undefined);
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
