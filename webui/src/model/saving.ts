/** What a person is told about their words on this laptop. Pure: from facts to sentences. */

import { isSaving, type StorageState } from "./library";

export type StorageNews = Pick<StorageState, "state" | "detail">;

export type SaveState =
  | "saved"
  | "saving"
  | "unsaved"
  | "offline"
  | "readonly"
  /** The laptop's disk does not take what was written; the browser keeps it. */
  | "held"
  /** The disk takes nothing new, and there is nothing new. */
  | "paused"
  /** Neither the laptop nor the browser keeps it: it is in this window only. */
  | "window";

export interface SavingFacts {
  /** The socket to the daemon is up and has exchanged its first state. */
  online: boolean;
  /** Edits of this tab that the daemon has not acknowledged as committed. */
  pending: boolean;
  readOnly: boolean;
  /** The daemon is there and cannot write. */
  isStorageRefused: boolean;
  /** The browser's own storage has what is pending. */
  kept: boolean;
}

export function saveState(facts: SavingFacts): SaveState {
  if (facts.readOnly) return "readonly";
  if (facts.pending && !facts.kept) return "window";
  if (facts.isStorageRefused) return facts.pending ? "held" : facts.online ? "saved" : "paused";
  if (facts.online) return facts.pending ? "saving" : "saved";
  return facts.pending ? "unsaved" : "offline";
}

/** "Ann", "Ann and Ben", "Ann, Ben and 2 others". */
export function listNames(names: readonly string[]): string {
  const [first, second, ...rest] = names;
  if (first === undefined) return "";
  if (second === undefined) return first;
  if (rest.length === 0) return `${first} and ${second}`;
  return `${first}, ${second} and ${rest.length} ${rest.length === 1 ? "other" : "others"}`;
}

/**
 * What the whole window says about the laptop's disk.
 *
 * @param kept this browser's own storage has what the disk does not take.
 */
export function storageWords(storage: StorageNews, kept: boolean): { lead: string; rest: string } {
  if (isSaving(storage))
    return { lead: "Everything is saved.", rest: storage.detail ?? "There is little room left." };
  const where = kept
    ? "What you write is kept in this browser and saved by itself as soon as the disk takes it again."
    : "This browser cannot keep it either: it is only in this window. Do not close it.";
  return {
    lead: "What you write now is not saved on this laptop.",
    rest: `${storage.detail ?? "Its disk cannot be written. Run “sheaf doctor” to see why."} ${where}`,
  };
}

export interface SavingWords {
  /** Two words for the narrow bar. */
  short: string;
  /** The sentence. */
  long: string;
}

/** While something is not on the laptop's disk, nothing is said about the others. */
export function savingWords(state: Exclude<SaveState, "saved">): SavingWords {
  switch (state) {
    case "readonly":
      return { short: "Reading", long: "You can read this; only editors can change it" };
    case "saving":
      return { short: "Saving", long: "Saving…" };
    case "unsaved":
      return { short: "Not saved yet", long: "Not saved yet · kept in this browser until Sheaf is back" };
    case "held":
      return {
        short: "Not saved: disk",
        long: "Not saved on this laptop · kept in this browser until the disk takes it",
      };
    case "paused":
      return { short: "Disk takes nothing", long: "The laptop's disk takes nothing new right now" };
    case "window":
      return { short: "Only in this window", long: "Not saved · only in this window, do not close it" };
    case "offline":
      return { short: "Sheaf is stopped", long: "Sheaf is not running on this laptop" };
  }
}
