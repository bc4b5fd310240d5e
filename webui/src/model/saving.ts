/** What a person is told about where their words are. Pure: from facts to sentences. */
import type { SpaceId, UserId } from "./identifiers";
import type { Peer } from "./library";

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

export interface Holders {
  /** People who have everything this laptop has written in the space. */
  have: string[];
  /** Connected, and being sent what they lack. */
  receiving: string[];
  /** Not connected: they get it when they are back. */
  waiting: string[];
}

/** Sorts the space's people by what they have. A person has it as soon as one of their devices does. */
export function holders(peers: readonly Peer[], spaceId: SpaceId, self: UserId | null): Holders {
  const rank = { have: 0, receiving: 1, waiting: 2 } as const;
  const people = new Map<string, { name: string; best: keyof typeof rank }>();
  for (const peer of peers) {
    const space = peer.spaces.find((candidate) => candidate.space_id === spaceId);
    if (!space) continue;
    const own = peer.user_id === self;
    const key = own ? peer.device_id : peer.user_id;
    const name = own ? `your ${peer.device_name}` : peer.user_name;
    const connected = peer.state === "live" || peer.state === "syncing";
    const place = space.behind === 0 ? "have" : connected ? "receiving" : "waiting";
    const known = people.get(key);
    if (!known || rank[place] < rank[known.best]) people.set(key, { name, best: place });
  }
  const named = (place: keyof typeof rank) =>
    [...people.values()].filter((person) => person.best === place).map((person) => person.name);
  return { have: named("have"), receiving: named("receiving"), waiting: named("waiting") };
}

/** "Ann", "Ann and Ben", "Ann, Ben and 2 others". */
export function listNames(names: readonly string[]): string {
  const [first, second, ...rest] = names;
  if (first === undefined) return "";
  if (second === undefined) return first;
  if (rest.length === 0) return `${first} and ${second}`;
  return `${first}, ${second} and ${rest.length} ${rest.length === 1 ? "other" : "others"}`;
}

const capital = (text: string): string => text.charAt(0).toUpperCase() + text.slice(1);

export interface SavingWords {
  /** Two words for the narrow bar. */
  short: string;
  /** The sentence. */
  long: string;
}

export function savingWords(state: SaveState, people: Holders): SavingWords {
  switch (state) {
    case "readonly":
      return { short: "Reading", long: "You can read this; only editors can change it" };
    case "saving":
      return { short: "Saving", long: "Saving…" };
    case "unsaved":
      return { short: "Not saved yet", long: "Not saved yet · kept in this browser until Sheaf is back" };
    case "offline":
      return { short: "Sheaf is stopped", long: "Sheaf is not running on this laptop" };
    case "saved":
      return { short: "Saved", long: ["Saved on this laptop", ...whoHasIt(people)].join(" · ") };
  }
}

function whoHasIt(people: Holders): string[] {
  const parts: string[] = [];
  if (people.have.length > 0) {
    parts.push(capital(`${listNames(people.have)} ${people.have.length === 1 ? "has" : "have"} it`));
  }
  if (people.receiving.length > 0) {
    parts.push(
      capital(`${listNames(people.receiving)} ${people.receiving.length === 1 ? "is" : "are"} getting it`),
    );
  }
  if (people.waiting.length === 1 && people.waiting[0] !== undefined) {
    parts.push(capital(`${people.waiting[0]} will get it when back`));
  } else if (people.waiting.length > 1) {
    const others = people.have.length + people.receiving.length > 0 ? "others" : "people";
    parts.push(`${people.waiting.length} ${others} will get it when they are back`);
  }
  return parts;
}
