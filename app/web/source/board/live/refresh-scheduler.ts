// Times the automatic refreshes of one view.

import { automaticRequestDelay } from "../relay/rate-limit";

/** After a reload, changes were missed: also the objects that a view has read may be outdated. */
export type RefreshCause = "changes" | "reload";

/** Shortest time between two automatic refreshes of one view. */
const REFRESH_INTERVAL_MS = { changes: 5_000, reload: 2_000 };

/** Calls `refresh` only while the page is visible, and not before the server accepts requests again. */
export class RefreshScheduler {
  private cause: RefreshCause | null = null;
  private timer: ReturnType<typeof setTimeout> | undefined;
  private lastRefresh = 0;

  constructor(private readonly refresh: (cause: RefreshCause) => void) {}

  schedule(cause: RefreshCause): void {
    if (this.cause !== "reload") this.cause = cause;
    this.resume();
  }

  /** Sets the timer of a refresh that is due, for instance when the page is visible again. */
  resume(): void {
    if (this.cause === null) return;
    const interval = this.lastRefresh + REFRESH_INTERVAL_MS[this.cause] - Date.now();
    clearTimeout(this.timer);
    this.timer = setTimeout(() => this.run(), Math.max(0, interval, automaticRequestDelay()));
  }

  stop(): void {
    clearTimeout(this.timer);
  }

  private run(): void {
    const { cause } = this;
    if (document.hidden || cause === null) return;
    if (automaticRequestDelay() > 0) return this.resume();
    this.cause = null;
    this.lastRefresh = Date.now();
    this.refresh(cause);
  }
}
