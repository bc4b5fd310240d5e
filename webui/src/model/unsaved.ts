/**
 * What this browser holds that no daemon has acknowledged, in the words a person reads. Pure.
 *
 * Invariants:
 *  1. Only an acknowledgement by the daemon, or the person who confirmed it, ends an entry.
 *  2. Whatever keeps an entry waiting is a reason to say so, never a reason to drop it.
 */
import type { DocumentId } from "./identifiers";
import { type DocumentType, isSaving, type StorageState } from "./library";

/** What a document was called when its words were typed: the daemon may not know it any more. */
export interface DocumentLabel {
  title: string;
  type: DocumentType;
  space: string;
}

/** Why the words of a document are still only in this browser. */
export type WaitState =
  /** Nobody has tried yet, or the daemon is away. */
  | "waiting"
  | "sending"
  /** Another window of this browser has the page open and hands them over itself. */
  | "elsewhere"
  /** The daemon cannot write now. */
  | "storage"
  /** The daemon did not take them in time; it is asked again. */
  | "later"
  /** The person may only read the space now. */
  | "reader"
  /** The daemon does not know the document. */
  | "unknown"
  /** The daemon does not accept them as they are. */
  | "refused";

export interface WaitingDocument {
  documentId: DocumentId;
  label: DocumentLabel | null;
  /** New words, without those that were only deleted or formatted. */
  words: number;
  since_ms: number;
  state: WaitState;
}

/** States that time alone does not end: the person has to decide. */
export const isStuck = (state: WaitState): boolean =>
  state === "reader" || state === "unknown" || state === "refused";

/** What is said of words that are on their way to a disk that takes nothing: that they wait for it. */
export const stateNow = (
  state: WaitState,
  storage: Pick<StorageState, "state"> | null | undefined,
): WaitState => (state === "sending" && !isSaving(storage) ? "storage" : state);

export function waitingWords(state: WaitState): string {
  switch (state) {
    case "waiting":
    case "later":
      return "Waits in this browser";
    case "sending":
      return "Being saved now…";
    case "elsewhere":
      return "Open in another window, which saves them";
    case "storage":
      return "Waits until the disk takes them";
    case "reader":
      return "You can only read this page now, so they cannot be saved in it";
    case "unknown":
      return "Sheaf does not have this page on this laptop";
    case "refused":
      return "Sheaf did not accept them as they are";
  }
}
