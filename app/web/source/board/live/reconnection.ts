// Waits before the next attempt to connect; shorter if the browser is back online or the page visible again.

const FIRST_DELAY_MS = 1_000;
const MAX_DELAY_MS = 30_000;

/** Resolves after the delay of so many failed attempts, or when connecting is likely to succeed. */
export async function waitForReconnection(failedAttempts: number, signal: AbortSignal): Promise<void> {
  const waking = new AbortController();
  const wake = () => !document.hidden && waking.abort();
  const options = { signal: waking.signal };
  await new Promise<void>((resolve) => {
    const timer = setTimeout(wakeAnyway, reconnectDelay(failedAttempts, Math.random()));
    function wakeAnyway() {
      waking.abort();
    }
    waking.signal.addEventListener("abort", () => {
      clearTimeout(timer);
      resolve();
    });
    window.addEventListener("online", wake, options);
    document.addEventListener("visibilitychange", wake, options);
    signal.addEventListener("abort", wakeAnyway, options);
  });
}

/** Doubles with each failed attempt, from 1 to 30 seconds; `random`, 0 to 1, spreads clients over half of it. */
export function reconnectDelay(failedAttempts: number, random: number): number {
  const delay = Math.min(FIRST_DELAY_MS * 2 ** failedAttempts, MAX_DELAY_MS);
  return delay * (0.5 + random / 2);
}
