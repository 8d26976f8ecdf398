// Sign-out of a browser that is not used, for shared screens. Use of any of its tabs counts.

import { ServerError } from "../relay/server-error";
import { MINUTE_MS } from "../text/times";
import { sessionState, signOut } from "./session-store";

/** Minutes without use after which the browser is signed out. */
export const IDLE_LIMITS = ["never", "15", "60"] as const;
export type IdleLimit = (typeof IDLE_LIMITS)[number];

const LIMIT_KEY = "post-results-board-idle";
/** Time of the last use, in milliseconds; absent after the sign-out of an idle browser. */
const USED_KEY = "post-results-board-used";
const USES = ["pointermove", "pointerdown", "keydown", "wheel"];
const CHECK_MS = 5_000;

export function storedIdleLimit(): IdleLimit {
  const stored = localStorage.getItem(LIMIT_KEY);
  return IDLE_LIMITS.find((limit) => limit === stored) ?? "never";
}

export function storeIdleLimit(limit: IdleLimit): void {
  localStorage.setItem(LIMIT_KEY, limit);
}

/** Records that the user is here, for all tabs. */
export function recordUse(): void {
  localStorage.setItem(USED_KEY, String(Date.now()));
}

/** Signs the browser out when it has been idle for the limit; returns a function that ends this. */
export function watchIdleness(): () => void {
  let checkedAt = -Infinity;

  /** Checks first: after a sleep of the computer, the use would hide how long it was idle. */
  function onUse(): void {
    if (sessionState.value !== "active" || Date.now() - checkedAt < CHECK_MS) return;
    checkedAt = Date.now();
    if (isIdle()) void endSession();
    else recordUse();
  }

  const check = () => isIdle() && void endSession();
  check();
  const timer = setInterval(check, CHECK_MS);
  for (const use of USES) window.addEventListener(use, onUse, { capture: true, passive: true });
  return () => {
    clearInterval(timer);
    for (const use of USES) window.removeEventListener(use, onUse, { capture: true });
  };
}

function isIdle(): boolean {
  const [limit, used] = [storedIdleLimit(), localStorage.getItem(USED_KEY)];
  return limit !== "never" && used !== null && Date.now() - Number(used) >= Number(limit) * MINUTE_MS;
}

/** Covers the page also while the server cannot be reached; the next check tries again then. */
async function endSession(): Promise<void> {
  sessionState.set("ended");
  try {
    await signOut("this");
    localStorage.removeItem(USED_KEY);
  } catch (error) {
    if (!(error instanceof ServerError)) throw error;
  }
}
