// Icons of statuses, drawn with the color of the text. They repeat a word, so that screen readers skip them.

import type { IconName } from "../text/statuses";

const PATHS: Readonly<Record<IconName, string>> = {
  check: "M3 8.5l3.5 3.5L13 4.5",
  cross: "M4 4l8 8M12 4l-8 8",
  question: "M5.5 6a2.5 2.5 0 1 1 3.8 2.1c-.8.5-1.3 1-1.3 1.9M8 12.6v.4",
  arrow: "M8 13V3M4 7l4-4 4 4",
  clock: "M8 2.5a5.5 5.5 0 1 0 0 11a5.5 5.5 0 1 0 0-11M8 5v3.2l2.2 1.3",
  repeat: "M3 8a5 5 0 0 1 8.7-3.3L13 6M13 3v3h-3M13 8a5 5 0 0 1-8.7 3.3L3 10M3 13v-3h3",
  alarm: "M8 2L14 13H2zM8 6.5v3M8 11v.4",
  draft: "M3 13l.6-3L10.5 3 13 5.5 6 12.4z",
  minus: "M3.5 8h9",
};

export function Icon({ name }: { readonly name: IconName }) {
  return (
    <svg className="icon" viewBox="0 0 16 16" aria-hidden="true" focusable="false">
      <path d={PATHS[name]} />
    </svg>
  );
}
