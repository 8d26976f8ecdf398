// Instants in the chosen time zone. The full time is in the title.

import { useEffect, useState, useSyncExternalStore } from "react";

import { ValueStore } from "../store";
import { serverNow } from "../text/clock";
import { dayOf, duration, fullTime, localizeTimes, relativeTime, shortTime } from "../text/times";
import { useZone } from "../text/zone";
import { UserText } from "./user-text";

const TICK_MS = 10_000;
/** Lateness below which a publication is on time. */
const ON_TIME_SECONDS = 60;

/** Notifies its listeners every ten seconds while the page is visible, and when it becomes visible. */
const ticks = new ValueStore(null);
const tick = () => !document.hidden && ticks.set(null);
setInterval(tick, TICK_MS);
document.addEventListener("visibilitychange", tick);

interface Props {
  readonly at: string;
}

/** A time such as "14:03". */
export function Time({ at }: Props) {
  const zone = useZone();
  useDateChange(zone);
  const instant = new Date(at);
  return (
    <time dateTime={at} title={fullTime(instant, zone)}>
      {shortTime(instant, zone, serverNow())}
    </time>
  );
}

/** A time with its distance from now, such as "14:17, in 4 min"; the distance is left out beyond a day. */
export function TimeWithDistance({ at }: Props) {
  const now = useNow();
  const distance = relativeTime(new Date(at), now);
  return (
    <>
      <Time at={at} />
      {distance && <span className="muted">, {distance}</span>}
    </>
  );
}

/** "4 min late"; nothing if it was on time. */
export function Lateness({ seconds }: { readonly seconds: number | null | undefined }) {
  if (seconds == null || seconds < ON_TIME_SECONDS) return null;
  return <small className="late">{duration(seconds * 1_000)} late</small>;
}

/** A sentence of the server, which may contain text from outside, with its times in the chosen zone. */
export function Sentence({ text }: { readonly text: string }) {
  const zone = useZone();
  useDateChange(zone);
  return <UserText text={localizeTimes(text, zone, serverNow())} />;
}

/** The time by the server's clock, renewed every ten seconds by default. */
export function useNow(tickMs = TICK_MS): Date {
  const [now, setNow] = useState(serverNow);
  useEffect(() => {
    const renew = () => !document.hidden && setNow(serverNow());
    const timer = setInterval(renew, tickMs);
    document.addEventListener("visibilitychange", renew);
    return () => {
      clearInterval(timer);
      document.removeEventListener("visibilitychange", renew);
    };
  }, [tickMs]);
  return now;
}

/** Renders the component again when the date in the zone changes, because times of today have no date. */
function useDateChange(zone: string): void {
  useSyncExternalStore(ticks.subscribe, () => dayOf(serverNow(), zone));
}
