// Pages and parts of pages whose scripts are loaded when they are opened. They offer a reload if that fails: React
// does not load a script again, and a newer server does not have the old ones.

import { lazy, type ComponentType, type ReactNode } from "react";

import { Page } from "./page";

type Load<P> = () => Promise<{ default: ComponentType<P> }>;

export function lazyPage<P extends object>(load: Load<P>) {
  return lazyOr(load, PageWithoutScript);
}

export function lazyPart<P extends object>(load: Load<P>) {
  return lazyOr(load, PartWithoutScript);
}

function lazyOr<P extends object>(load: Load<P>, replacement: () => ReactNode) {
  return lazy(() => load().catch((): { default: ComponentType<P> } => ({ default: replacement })));
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
