// Heights of the bars that stay in place above and below the page, for the stylesheet.

import type { RefCallback } from "react";

/** A ref that stores the height of its element in a custom property, as long as the element exists. */
export function createHeightRef(property: `--${string}`): RefCallback<HTMLElement> {
  const { style } = document.documentElement;
  return (element) => {
    if (!element) return;
    const measure = () => style.setProperty(property, `${element.getBoundingClientRect().height}px`);
    measure(); // an observer's first call may come after the next key moved the focus
    const observer = new ResizeObserver(measure);
    observer.observe(element);
    return () => {
      observer.disconnect();
      style.removeProperty(property);
    };
  };
}
