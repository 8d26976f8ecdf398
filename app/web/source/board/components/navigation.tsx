// The links to the pages of the board. On narrow windows, the first ones are in a bar, and a menu has the others.

import { useState } from "react";
import { Link, useLocation } from "wouter";

import type { NavigationItem } from "./layout";
import { createHeightRef } from "./height-ref";

/** Number of links in the bar of narrow windows. */
const BAR_LINKS = 4;
const MENU_ID = "more-pages";

const barRef = createHeightRef("--navigation-height");

export function Navigation({ items }: { readonly items: readonly NavigationItem[] }) {
  const [path] = useLocation();
  const [isOpen, setOpen] = useState(false);
  const others = items.slice(BAR_LINKS);
  return (
    <nav className="navigation" aria-label="Board" ref={barRef}>
      {items.map((item, index) => (
        <PageLink key={item.path} item={item} className={index < BAR_LINKS ? undefined : "wide-only"} />
      ))}
      <button
        type="button"
        className="more-pages"
        popoverTarget={MENU_ID}
        aria-expanded={isOpen}
        aria-current={others.some((item) => isCurrent(path, item.path)) ? "true" : undefined}
      >
        More
      </button>
      <div
        id={MENU_ID}
        className="page-menu"
        popover="auto"
        onToggle={(event) => setOpen(event.newState === "open")}
        onClick={({ currentTarget }) => currentTarget.hidePopover()}
      >
        {isOpen && others.map((item) => <PageLink key={item.path} item={item} />)}
      </div>
    </nav>
  );
}

interface LinkProps {
  readonly item: NavigationItem;
  readonly className?: string | undefined;
}

function PageLink({ item, className }: LinkProps) {
  const [path] = useLocation();
  return (
    <Link
      href={item.path}
      className={className}
      aria-current={isCurrent(path, item.path) ? "page" : undefined}
    >
      {item.name}
    </Link>
  );
}

function isCurrent(path: string, target: string): boolean {
  return target === "/" ? path === "/" : path === target || path.startsWith(`${target}/`);
}
