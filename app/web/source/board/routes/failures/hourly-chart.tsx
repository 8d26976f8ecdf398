// The failures of each of the last 24 hours, as bars and as a sentence.

import { serverNow } from "../../text/clock";
import { count, plainNumber } from "../../text/numbers";
import { HOUR_MS, shortTime } from "../../text/times";
import { useZone } from "../../text/zone";

const [BAR_WIDTH, HEIGHT] = [6, 32];
/** Height of the bar of an hour with a single failure among many. */
const MIN_BAR_HEIGHT = 2;

/** `counts` has the numbers of the last whole UTC hours, oldest first; the last one is that of the current hour. */
export function HourlyChart({ counts }: { readonly counts: readonly number[] }) {
  const zone = useZone();
  const total = counts.reduce((sum, number) => sum + number, 0);
  if (total === 0) return <p className="muted">None in the last 24 hours</p>;
  const highest = Math.max(...counts);
  const now = serverNow();
  const hoursAgo = counts.length - 1 - counts.lastIndexOf(highest);
  const hour = shortTime(new Date(Math.floor(now.getTime() / HOUR_MS - hoursAgo) * HOUR_MS), zone, now);
  return (
    <figure className="hourly">
      <svg viewBox={`0 0 ${counts.length * BAR_WIDTH} ${HEIGHT}`} aria-hidden="true" focusable="false">
        {counts.map((number, index) => {
          const height = number === 0 ? 0 : Math.max(MIN_BAR_HEIGHT, (number / highest) * HEIGHT);
          return (
            <rect
              key={index}
              x={index * BAR_WIDTH + 1}
              y={HEIGHT - height}
              width={BAR_WIDTH - 2}
              height={height}
            />
          );
        })}
        <path d={`M0 ${HEIGHT}h${counts.length * BAR_WIDTH}`} />
      </svg>
      <figcaption className="muted">
        {count(total, "failure")} in the last 24 hours,{" "}
        {total > 1 && (highest === total ? "all " : `${plainNumber(highest)} of them `)}
        in the hour from {hour}
      </figcaption>
    </figure>
  );
}
