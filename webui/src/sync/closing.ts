/**
 * What the daemon means by each close code of `/sync` (PROTOCOL 9, decision 0068).
 *
 * 4400 to 4499 are final, for stock providers too: sending the same again cannot help. Everything else is mended
 * by coming back: 1001 (stopping), 1013 (the disk), 4508 (too slow or out of step), and whatever a network does.
 */
export type StopReason = "signed_out" | "forbidden" | "gone" | "unknown" | "too_big" | "refused" | "protocol";

export type Verdict = { kind: "retry" } | { kind: "stop"; reason: StopReason };

const reasons: ReadonlyMap<number, StopReason> = new Map([
  [4401, "signed_out"],
  [4403, "forbidden"],
  [4404, "gone"],
  [4413, "too_big"],
  [4422, "refused"],
]);

export function verdictOf(code: number): Verdict {
  if (code < 4400 || code >= 4500) return { kind: "retry" };
  return { kind: "stop", reason: reasons.get(code) ?? "protocol" };
}

/** The daemon closed because its storage cannot take or give something now ("try again later"). */
export const isStorageRefusal = (code: number): boolean => code === 1013;
