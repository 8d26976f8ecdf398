// Collects changes and delivers them in batches, so that the page renders at most a few times per second.

/** Number of changes in one window up to which applying them costs less than one reload. */
const BURST_SIZE = 200;
const BURST_WINDOW_MS = 1_000;

interface Options<T> {
  /** Receives each batch. */
  readonly deliver: (batch: readonly T[]) => void;
  /** Called in place of `deliver` for a burst, whose changes are dropped. */
  readonly reload: () => void;
  /** Milliseconds until the next batch. */
  readonly interval: () => number;
  readonly now: () => number;
}

export class Coalescer<T> {
  private batch: T[] = [];
  private isBurst = false;
  private isPaused = false;
  private timer: ReturnType<typeof setTimeout> | undefined;
  private windowStart = 0;
  private windowCount = 0;

  constructor(private readonly options: Options<T>) {}

  add(item: T): void {
    const now = this.options.now();
    // A batch that waits longer, because of a pause or a hidden page, is in one window.
    if (this.batch.length === 0 && now - this.windowStart > BURST_WINDOW_MS) {
      this.windowStart = now;
      this.windowCount = 0;
    }
    this.windowCount += 1;
    if (this.windowCount > BURST_SIZE) {
      this.isBurst = true;
      this.batch = [];
    }
    if (!this.isBurst) this.batch.push(item);
    this.schedule();
  }

  pause(): void {
    this.isPaused = true;
    this.cancel();
  }

  resume(): void {
    this.isPaused = false;
    if (this.batch.length > 0 || this.isBurst) this.schedule();
  }

  /** Cancels the next delivery. */
  cancel(): void {
    clearTimeout(this.timer);
    this.timer = undefined;
  }

  private schedule(): void {
    if (this.isPaused || this.timer !== undefined) return;
    this.timer = setTimeout(() => this.flush(), this.options.interval());
  }

  private flush(): void {
    this.timer = undefined;
    const { batch, isBurst } = this;
    this.batch = [];
    this.isBurst = false;
    if (isBurst) this.options.reload();
    else this.options.deliver(batch);
  }
}
