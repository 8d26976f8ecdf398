// Instants in the chosen time zone. The full time is in the title.

import { useSyncExternalStore } from "react";

import { useStore, ValueStore } from "../store";
import { serverNow } from "../text/clock";
import {
  coarseDuration,
  dayOf,
  fullTime,
  localizeTimes,
  preposition,
  relativeTime,
  shortTime,
} from "../text/times";
import { useZone } from "../text/zone";
import { UserText } from "./user-text";

const TICK_MS = 10_000;
/** Lateness below which a publication is on time. */
const ON_TIME_SECONDS = 60;

/** Time of the last tick: every ten seconds while the page is visible, and when it becomes visible. */
const lastTick = new ValueStore(Date.now());
const tick = () => !document.hidden && lastTick.set(Date.now());
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

/** "at 14:03", "on Fri 27 Nov, 14:03" */
export function TimeWithPreposition({ at }: Props) {
  return (
    <>
      {preposition(new Date(at), useZone(), serverNow())} <Time at={at} />
    </>
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
  return <small className="late">{coarseDuration(seconds * 1_000)} late</small>;
}

/** A sentence of the server, which may contain text from outside, with its times in the chosen zone. */
export function Sentence({ text }: { readonly text: string }) {
  const zone = useZone();
  useDateChange(zone);
  return <UserText text={localizeTimes(text, zone, serverNow())} />;
}

/** The time by the server's clock; renders the component again every ten seconds. */
export function useNow(): Date {
  useStore(lastTick);
  return serverNow(); // the tick may be earlier than an event that is shown already
}

/** Renders the component again when the date in the zone changes, because times of today have no date. */
function useDateChange(zone: string): void {
  useSyncExternalStore(lastTick.subscribe, () => dayOf(serverNow(), zone));
}
