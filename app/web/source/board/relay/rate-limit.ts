// The wait that the server has asked for, which automatic requests respect.

let notBeforeMs = 0;

/** Records `retryAfterSeconds` of a refused request. */
export function delayAutomaticRequests(seconds: number): void {
  notBeforeMs = Math.max(notBeforeMs, Date.now() + seconds * 1_000);
}

/** Milliseconds until the next automatic request. */
export function automaticRequestDelay(): number {
  return Math.max(0, notBeforeMs - Date.now());
}
