// A bar of parts next to their numbers; screen readers read the numbers.

import type { Tone } from "../../text/statuses";

const WIDTH = 100;
const GAP = 1;

export function ShareBar({ parts }: { readonly parts: readonly (readonly [Tone, number])[] }) {
  const total = parts.reduce((sum, [, number]) => sum + number, 0);
  let end = 0;
  return (
    <svg
      className="share-bar"
      viewBox={`0 0 ${WIDTH} 10`}
      preserveAspectRatio="none"
      aria-hidden="true"
      focusable="false"
    >
      <rect className="rest" width={WIDTH} height="10" />
      {parts.map(([tone, number]) => {
        const start = end;
        const width = total === 0 ? 0 : (number / total) * WIDTH;
        end += width;
        return (
          number > 0 && (
            <rect
              key={tone}
              className={`tone-${tone}`}
              x={start}
              width={Math.max(GAP, width - GAP)}
              height="10"
              fill="currentcolor"
            />
          )
        );
      })}
    </svg>
  );
}
