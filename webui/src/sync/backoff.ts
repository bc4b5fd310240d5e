/** Pause before the next attempt: doubling, capped, and jittered so that many tabs do not knock at once. */
const first_ms = 250;
const cap_ms = 5_000;

/** @param attempt 0 for the first retry. @param entropy in [0, 1). */
export function retryDelayMs(attempt: number, entropy: number): number {
  const ceiling = Math.min(cap_ms, first_ms * 2 ** Math.min(attempt, 16));
  return Math.round(ceiling / 2 + (ceiling / 2) * entropy);
}
