// Times the automatic refreshes of one view.

import { automaticRequestDelay } from "../relay/rate-limit";

/**
 * "changes": the data of the view may have changed. "reload": changes were missed, so the objects that it has read may
 * be outdated too. "retry": its request has failed.
 */
export type RefreshCause = "changes" | "reload" | "retry";

/** Shortest time between two automatic refreshes of one view. */
const REFRESH_INTERVAL_MS: Record<RefreshCause, number> = { changes: 5_000, reload: 2_000, retry: 2_000 };

/**
 * Calls `refresh` only while the page is visible, and not before the server accepts requests again. It listens to the
 * visibility of the page until it is stopped.
 */
export class RefreshScheduler {
  private cause: RefreshCause | null = null;
  private timer: ReturnType<typeof setTimeout> | undefined;
  private lastRefresh = 0;

  constructor(private readonly refresh: (cause: RefreshCause) => void) {
    document.addEventListener("visibilitychange", this.setTimer);
  }

  schedule(cause: RefreshCause): void {
    if (this.cause !== "reload") this.cause = cause;
    this.setTimer();
  }

  stop(): void {
    clearTimeout(this.timer);
    document.removeEventListener("visibilitychange", this.setTimer);
  }

  /** Sets the timer of the scheduled refresh, if there is one. */
  private readonly setTimer = (): void => {
    if (this.cause === null) return;
    const interval = this.lastRefresh + REFRESH_INTERVAL_MS[this.cause] - Date.now();
    clearTimeout(this.timer);
    this.timer = setTimeout(() => this.run(), Math.max(0, interval, automaticRequestDelay()));
  };

  private run(): void {
    const { cause } = this;
    if (document.hidden || cause === null) return;
    if (automaticRequestDelay() > 0) return this.setTimer();
    this.cause = null;
    this.lastRefresh = Date.now();
    this.refresh(cause);
  }
}
