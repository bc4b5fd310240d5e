/**
 * When to tell the daemon that a person has seen what came in. Knows nothing of screens: whoever owns it says
 * whether somebody is looking, and that the others' changes are drawn.
 *
 * Invariants:
 *  1. It tells only while somebody looks: the page was in front for as long as the pause lasts.
 *  2. It tells only when there is something new, and once for all that came during the pause.
 *  3. What could not be told is told later.
 */
export interface SeenOptions {
  report: () => Promise<void>;
  now?: () => number;
}

/** A page has to be before somebody's eyes this long; with the focus in it, a glance is enough. */
export const look_ms = 1_000;
export const glance_ms = 300;
/** While somebody else types without a pause, it is told this often. */
export const between_ms = 3_000;

export type Looking = "away" | "visible" | "focused";

export class SeenReporter {
  readonly #report: () => Promise<void>;
  readonly #now: () => number;
  #looking: Looking = "away";
  #isReady = false;
  #isNew = false;
  #timer: ReturnType<typeof setTimeout> | null = null;
  #reportedAt = Number.NEGATIVE_INFINITY;
  #isClosed = false;

  constructor({ report, now = Date.now }: SeenOptions) {
    this.#report = report;
    this.#now = now;
  }

  /** Somebody else's change was drawn, or the page was opened. */
  arrived(): void {
    this.#isNew = true;
    this.#plan();
  }

  looking(looking: Looking): void {
    if (looking === this.#looking) return;
    this.#looking = looking;
    this.#replan();
  }

  /** Whether the page shows all that the daemon has; without that, seeing it says nothing. */
  ready(isReady: boolean): void {
    if (isReady === this.#isReady) return;
    this.#isReady = isReady;
    this.#replan();
  }

  close(): void {
    this.#isClosed = true;
    this.#stop();
  }

  #replan(): void {
    this.#stop();
    this.#plan();
  }

  #plan(): void {
    if (this.#timer || this.#isClosed || !this.#isNew || !this.#isReady || this.#looking === "away") return;
    const pause = this.#looking === "focused" ? glance_ms : look_ms;
    const rest = this.#reportedAt + between_ms - this.#now();
    this.#timer = setTimeout(() => void this.#tell(), Math.max(pause, rest));
  }

  async #tell(): Promise<void> {
    this.#isNew = false;
    this.#reportedAt = this.#now();
    // The timer is kept until the answer is here: one report at a time.
    const isTold = await this.#report().then(
      () => true,
      () => false,
    );
    this.#timer = null;
    if (!isTold) this.#isNew = true;
    else this.#plan();
  }

  #stop(): void {
    if (this.#timer) clearTimeout(this.#timer);
    this.#timer = null;
  }
}
