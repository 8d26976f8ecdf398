// Heights of the bars that stay in place above and below the page, for the stylesheet.

import type { RefCallback } from "react";

/**
 * A ref that stores the height of its element in a custom property, as long as the element exists. When the element
 * grows, the page scrolls so that it does not cover what has the focus.
 */
export function createHeightRef(property: `--${string}`): RefCallback<HTMLElement> {
  const { style } = document.documentElement;
  return (element) => {
    if (!element) return;
    let lastHeight = 0;
    const measure = () => {
      const { height } = element.getBoundingClientRect();
      const focused = height > lastHeight ? focusedInView(element) : null;
      lastHeight = height;
      style.setProperty(property, `${height}px`);
      focused?.scrollIntoView({ block: "nearest" });
    };
    measure(); // an observer's first call may come after the next key moved the focus
    const observer = new ResizeObserver(measure);
    observer.observe(element);
    return () => {
      observer.disconnect();
      style.removeProperty(property);
    };
  };
}

/** The element of the main column that has the focus; null if it is outside of the window or behind other bars. */
function focusedInView(bar: Element): Element | null {
  const focused = document.activeElement?.closest("main *");
  if (!focused || bar.contains(focused)) return focused ?? null;
  const { top, bottom } = focused.getBoundingClientRect();
  const { scrollPaddingTop, scrollPaddingBottom } = getComputedStyle(document.documentElement);
  const isInView = bottom > parseFloat(scrollPaddingTop) && top < innerHeight - parseFloat(scrollPaddingBottom);
  return isInView ? focused : null;
}
