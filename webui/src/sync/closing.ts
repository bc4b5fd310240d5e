/** What the daemon means by each close code of `/sync` (HTTP). */
export type StopReason = "signed_out" | "forbidden" | "gone" | "too_big" | "refused" | "protocol";

export type Verdict = { kind: "retry" } | { kind: "stop"; reason: StopReason };

export function verdictOf(code: number): Verdict {
  switch (code) {
    case 4401:
      return { kind: "stop", reason: "signed_out" };
    case 4403:
      return { kind: "stop", reason: "forbidden" };
    case 4404:
      return { kind: "stop", reason: "gone" };
    case 4408:
      return { kind: "retry" };
    case 4413:
      return { kind: "stop", reason: "too_big" };
    case 4422:
      return { kind: "stop", reason: "refused" };
    default:
      return code >= 4400 && code < 4500 ? { kind: "stop", reason: "protocol" } : { kind: "retry" };
  }
}
