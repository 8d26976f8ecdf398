// Pages whose scripts are loaded when they are opened.

import { lazy, type ComponentType } from "react";

import { Page } from "./page";

/** A page that offers a reload if its script cannot be loaded: a newer server does not have the old scripts. */
export function lazyPage<P extends object>(load: () => Promise<{ default: ComponentType<P> }>) {
  return lazy(() => load().catch((): { default: ComponentType<P> } => ({ default: PageWithoutScript })));
}

function PageWithoutScript() {
  return (
    <Page title="This page could not be loaded">
      <p>The server cannot be reached, or it has a newer version of the board.</p>
      <button type="button" onClick={() => location.reload()}>
        Reload
      </button>
    </Page>
  );
}
