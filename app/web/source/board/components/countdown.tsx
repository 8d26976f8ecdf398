// Time until, or since, an instant; renewed every second by the clock of the server.

import { useEffect, useState } from "react";

import { serverNow } from "../text/clock";
import { coarseDuration } from "../text/times";
import { Time } from "./time";

const TICK_MS = 1_000;

interface Props {
  readonly at: string;
  /** Words for an instant in the future, and for one in the past. */
  readonly ahead: string;
  readonly behind: string;
}

/** "in 4 min" with `ahead`, or "for 4 min" with `behind`. */
export function Countdown({ at, ahead, behind }: Props) {
  const seconds = Math.ceil((Date.parse(at) - useSeconds().getTime()) / 1_000);
  const isAhead = seconds > 0;
  return (
    <>
      <strong>
        {isAhead ? "in" : "for"} {coarseDuration(Math.abs(seconds) * 1_000)}
      </strong>
      <small className="muted">
        {isAhead ? ahead : behind} <Time at={at} />
      </small>
    </>
  );
}

/** The time by the server's clock, renewed every second while the page is visible. */
function useSeconds(): Date {
  const [now, setNow] = useState(serverNow);
  useEffect(() => {
    const timer = setInterval(() => !document.hidden && setNow(serverNow()), TICK_MS);
    return () => clearInterval(timer);
  }, []);
  return now;
}
