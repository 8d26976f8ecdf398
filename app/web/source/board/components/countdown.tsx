// Time until, or since, an instant; renewed every second by the clock of the server.

import { duration } from "../text/times";
import { Time, useNow } from "./time";

const TICK_MS = 1_000;

interface Props {
  readonly at: string;
  /** Words for an instant in the future, and for one in the past. */
  readonly ahead: string;
  readonly behind: string;
}

/** "in 4 min" with `ahead`, or "for 4 min" with `behind`. */
export function Countdown({ at, ahead, behind }: Props) {
  const milliseconds = Date.parse(at) - useNow(TICK_MS).getTime();
  const isAhead = milliseconds > 0;
  return (
    <>
      <strong>
        {isAhead ? "in" : "for"} {duration(Math.abs(milliseconds))}
      </strong>
      <small className="muted">
        {isAhead ? ahead : behind} <Time at={at} />
      </small>
    </>
  );
}
