// Time by the clock of the server, which may differ from that of the browser.

let offsetMs = 0;

/** Difference from which the user is warned of the wrong clock of the browser. */
export const MAX_CLOCK_DIFFERENCE_MS = 30_000;
/** Difference that a time in whole seconds has after its way through the network. */
const HEADER_PRECISION_MS = 2_000;

/** Sets the clock by a time that the server stated in a response; returns its difference in milliseconds. */
export function setServerTime(now: string): number {
  offsetMs = Date.parse(now) - Date.now();
  return offsetMs;
}

/** Sets the clock by the header Date of a response, which is less precise, only if it is wrong. */
export function correctServerTime(date: string): void {
  const difference = Date.parse(date) - serverNow().getTime();
  if (Math.abs(difference) > HEADER_PRECISION_MS) offsetMs += difference;
}

export function serverNow(): Date {
  return new Date(Date.now() + offsetMs);
}
