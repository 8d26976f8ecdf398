// Heights of the bars that stay in place above and below the page, for the stylesheet.

import type { RefCallback } from "react";

/** A ref that stores the height of its element in a custom property, as long as the element exists. */
export function measuredHeight(property: `--${string}`): RefCallback<HTMLElement> {
  const { style } = document.documentElement;
  return (element) => {
    if (!element) return;
    const observer = new ResizeObserver(() =>
      style.setProperty(property, `${element.getBoundingClientRect().height}px`),
    );
    observer.observe(element);
    return () => {
      observer.disconnect();
      style.removeProperty(property);
    };
  };
}
