// The frame of every page: header, navigation, messages.

import type { ComponentType, ReactNode } from "react";
import { useLocation } from "wouter";

import { useLostFocus } from "../keyboard/lost-focus";
import { useShortcuts } from "../keyboard/shortcuts";
import { isPaused } from "../live/connection";
import { useViewer } from "../session/viewer";
import { BulkDialogHost } from "./bulk/bulk-dialog";
import { ErrorBoundary } from "./error-panel";
import { Header } from "./header";
import { Loading } from "./loading";
import { createHeightRef } from "./height-ref";
import { Navigation } from "./navigation";
import { Notices } from "./notice-list";
import { PaletteHost } from "./palette/palette-host";
import { ReconnectingBanner } from "./reconnecting-banner";

export interface NavigationItem {
  readonly path: string;
  readonly name: string;
  readonly key: string;
  readonly page: ComponentType;
  /** Scope without which the page shows nothing, so that nothing leads to it. */
  readonly scope?: string;
}

interface Props {
  readonly items: readonly NavigationItem[];
  readonly children: ReactNode;
}

const barsRef = createHeightRef("--header-height");

export function Layout({ items: all, children }: Props) {
  const { scopes } = useViewer();
  const items = all.filter(({ scope }) => scope === undefined || scopes.includes(scope));
  const [path, navigate] = useLocation();
  useLostFocus();
  useShortcuts({
    "/": () => {
      const field = document.querySelector<HTMLElement>("main input[type=search]");
      if (field) field.focus();
      else navigate("/results");
    },
    z: () => isPaused.set(!isPaused.value),
    ...Object.fromEntries(items.map(({ key, path: target }) => [`g ${key}`, () => navigate(target)])),
  });
  return (
    <>
      <a className="skip" href="#content">
        Skip to content
      </a>
      <div className="top-bars" ref={barsRef}>
        <Header items={items} />
        <ReconnectingBanner />
      </div>
      <Navigation items={items} />
      <ErrorBoundary key={path}>
        {() => <Loading lines={12}>{children}</Loading>}
      </ErrorBoundary>
      <BulkDialogHost />
      <PaletteHost pages={items} />
      <Notices />
    </>
  );
}
