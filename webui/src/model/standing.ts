/**
 * Whether a document is here, as far as the daemon has said so. Pure.
 *
 * Only the daemon's own "not here" counts as one, given while its storage works. A failed request, an error, an
 * empty list and a daemon in trouble say nothing about a document.
 */
import { isSaving, type StorageState } from "./library";
import { type ApiFailure, describeFailure } from "./ports";

export type Standing =
  | { kind: "asking" }
  | { kind: "unreachable" }
  /** The daemon is there and cannot tell. It is asked again. */
  | { kind: "troubled"; words: string }
  /** The daemon does not have it. */
  | { kind: "unknown"; words: string };

export function standingOf(failure: ApiFailure, storage: Pick<StorageState, "state"> | null): Standing {
  if (failure.kind !== "problem") return { kind: "unreachable" };
  const kind = failure.status === 404 && isSaving(storage) ? "unknown" : "troubled";
  return { kind, words: describeFailure(failure) };
}
