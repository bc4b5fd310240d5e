/** What a person is told about their words on this laptop. Pure: from facts to sentences. */

export type SaveState = "saved" | "saving" | "unsaved" | "offline" | "readonly";

export interface SavingFacts {
  /** The socket to the daemon is up and has exchanged its first state. */
  online: boolean;
  /** Edits of this tab that the daemon has not acknowledged as committed. */
  pending: boolean;
  readOnly: boolean;
}

export function saveState(facts: SavingFacts): SaveState {
  if (facts.readOnly) return "readonly";
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
    case "offline":
      return { short: "Sheaf is stopped", long: "Sheaf is not running on this laptop" };
  }
}
