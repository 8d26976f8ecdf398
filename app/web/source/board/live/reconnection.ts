// Waits before the next attempt to connect; shorter if the browser is back online or the page visible again.

const FIRST_DELAY_MS = 1_000;
const MAX_DELAY_MS = 30_000;

/** Resolves after the delay of so many failed attempts, when connecting is likely to succeed, or on abort. */
export async function waitForReconnection(failedAttempts: number, signal: AbortSignal): Promise<void> {
  const waking = new AbortController();
  const wake = () => !document.hidden && waking.abort();
  const timeout = AbortSignal.timeout(Math.ceil(reconnectDelay(failedAttempts, Math.random())));
  const end = AbortSignal.any([signal, waking.signal, timeout]);
  if (end.aborted) return;
  window.addEventListener("online", wake, { signal: end });
  document.addEventListener("visibilitychange", wake, { signal: end });
  await new Promise((resolve) => end.addEventListener("abort", resolve));
}

/** Doubles with each failed attempt, from 1 to 30 seconds; `random`, 0 to 1, spreads clients over half of it. */
export function reconnectDelay(failedAttempts: number, random: number): number {
  const delay = Math.min(FIRST_DELAY_MS * 2 ** failedAttempts, MAX_DELAY_MS);
  return delay * (0.5 + random / 2);
}
