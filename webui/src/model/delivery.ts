/**
 * Who has a document, as the daemon knows it (HTTP: `GET /documents/{id}/delivery`), and the words for it. Pure.
 *
 * The rule of these words: they never claim more than a device has confirmed. The relay's word counts for "on the
 * relay" and nothing else; what is not known is called unknown.
 */
import type { DeviceId, DocumentId, SpaceId, UserId } from "./identifiers";

/** How far something has come on its way to a device; each includes the ones before. */
export type DeliveryState = "waiting" | "on_relay" | "delivered" | "seen";

export interface DeviceDelivery {
  device_id: DeviceId;
  name: string;
  state: DeliveryState;
  /** When it came so far; milliseconds since 1970. */
  at_ms: number | null;
  /** Changes that this device is not known to hold. */
  missing: number;
}

export interface PersonDelivery {
  user_id: UserId;
  name: string;
  /** The best of their devices. */
  state: DeliveryState;
  devices: DeviceDelivery[];
}

export interface RelayDelivery {
  url: string;
  state: "stored" | "waiting" | "unreachable" | "full" | "lost";
  detail: string | null;
}

export interface Delivery {
  document_id: DocumentId;
  space_id: SpaceId;
  /** Everything is on this laptop's disk. */
  saved: boolean;
  relays: RelayDelivery[];
  /** Everybody else in the space, and one's own other devices. */
  people: PersonDelivery[];
  /** What others have announced and this laptop has not received. */
  incomplete: { missing: number; from: string } | null;
}

/** The same, summed over a space. */
export interface SpaceDelivery {
  state: "saved_here" | "on_relay" | "delivered" | "seen";
  waiting_people: number;
  incomplete_missing: number;
  relay_warning: string | null;
}

/** A space of which nothing is known at the moment; nothing is claimed, and nothing is wrong. */
export const notDelivered: SpaceDelivery = {
  state: "saved_here",
  waiting_people: 0,
  incomplete_missing: 0,
  relay_warning: null,
};

/** What this window knows: nothing yet, nothing any more (a question failed), or an answer about the last word. */
export type DeliveryKnowledge =
  | { kind: "asking" }
  | { kind: "unknown" }
  | { kind: "known"; delivery: Delivery };

export type Headline = "saved_here" | "on_relay" | "delivered" | "seen" | "asking" | "unknown";

export interface DeliveryWords {
  headline: Headline;
  /** Few words, for the bar. */
  short: string;
  /** Something needs attention: the list behind it says what. */
  warning: boolean;
}

const rank: Readonly<Record<DeliveryState, number>> = { waiting: 0, on_relay: 1, delivered: 2, seen: 3 };

const reached = (people: readonly Recipient[], state: DeliveryState): number =>
  people.filter((person) => rank[person.state] >= rank[state]).length;

interface Recipient {
  name: string;
  state: DeliveryState;
}

/** Those the bar speaks of: other people; where there are none, one's own other devices. */
export function recipients(delivery: Delivery, self: UserId | null): Recipient[] {
  const others = delivery.people.filter((person) => person.user_id !== self);
  if (others.length > 0) return others;
  return delivery.people.flatMap((person) =>
    person.devices.map((device) => ({ name: `your ${device.name}`, state: device.state })),
  );
}

/** "Delivered to Ann", "Delivered to 2 of 3", "Seen by everybody": of the furthest step that anybody reached. */
export function deliveryWords(
  knowledge: DeliveryKnowledge,
  self: UserId | null,
  relayWarning: string | null = null,
): DeliveryWords {
  const isWarned = relayWarning !== null;
  if (knowledge.kind === "asking") return { headline: "asking", short: "Saved here", warning: isWarned };
  if (knowledge.kind === "unknown")
    return { headline: "unknown", short: "Saved here, others unknown", warning: isWarned };
  const { delivery } = knowledge;
  const people = recipients(delivery, self);
  const warning = warnings(delivery, relayWarning).length > 0;
  const total = people.length;
  const [first] = people;
  const who = (count: number) =>
    count < total ? `${count} of ${total}` : total === 1 && first ? first.name : "everybody";
  if (!delivery.saved) return { headline: "unknown", short: "Not saved yet", warning };
  if (first && reached(people, "seen") === total)
    return { headline: "seen", short: `Seen by ${who(total)}`, warning };
  const delivered = reached(people, "delivered");
  if (delivered > 0) return { headline: "delivered", short: `Delivered to ${who(delivered)}`, warning };
  const isOnRelay = first !== undefined && reached(people, "on_relay") === total;
  if (isOnRelay) return { headline: "on_relay", short: "On the relay", warning };
  return { headline: "saved_here", short: "Saved here", warning };
}

/** What is wrong, a sentence each; `relayWarning` is the space's, for what a relay did that is over by now. */
export function warnings(delivery: Delivery, relayWarning: string | null = null): string[] {
  const { incomplete, relays } = delivery;
  const gaps = incomplete
    ? [
        `Incomplete: ${changes(incomplete.missing)} from ${incomplete.from} ${have(incomplete.missing)} not arrived yet.`,
      ]
    : [];
  const ofRelays = relays.flatMap(warningOf);
  return [...gaps, ...(ofRelays.length === 0 && relayWarning !== null ? [relayWarning] : ofRelays)];
}

function warningOf({ url, state, detail }: RelayDelivery): string[] {
  if (state === "full") return [detail ?? `${relayName(url)} is full and takes nothing more for this space.`];
  if (state === "lost")
    return [detail ?? `${relayName(url)} has lost what it kept. It is being put back from this laptop.`];
  return [];
}

export function spaceWarning(delivery: SpaceDelivery): string | null {
  const missing = delivery.incomplete_missing;
  if (missing > 0) return `Incomplete: ${changes(missing)} ${have(missing)} not arrived yet.`;
  return delivery.relay_warning;
}

export const changes = (count: number): string => `${count} ${count === 1 ? "change" : "changes"}`;
const have = (count: number): string => (count === 1 ? "has" : "have");

const stateWords: Readonly<Record<DeliveryState, string>> = {
  waiting: "Waiting",
  on_relay: "On the relay",
  delivered: "Delivered",
  seen: "Seen",
};

const timedWords: Readonly<Record<DeliveryState, string>> = {
  ...stateWords,
  waiting: "Waiting, last heard of",
  on_relay: "Left on the relay",
};

/** One device's line: what it has, and how much it lacks. `when` is the time in words, if it is known. */
export function deviceWords(device: DeviceDelivery, when: string | null): string {
  const state = when === null ? stateWords[device.state] : `${timedWords[device.state]} ${when}`;
  return device.missing > 0 ? `${state} · lacks ${changes(device.missing)}` : state;
}

export const personWords: Readonly<Record<DeliveryState, string>> = {
  waiting: "will get it when your laptops meet",
  on_relay: "will get it from the relay",
  delivered: "has it",
  seen: "has seen it",
};

/** What a relay has of the page. That it keeps something is said only where somebody still needs it from there. */
export function relayLine(relay: RelayDelivery, people: readonly PersonDelivery[]): string {
  if (relay.state === "unreachable" && relay.detail !== null) return relay.detail;
  const detail = relay.detail === null ? "" : ` ${relay.detail}`;
  if (relay.state === "full" || relay.state === "lost") return `The relay ${relayStateWords[relay.state]}.`;
  const devices = people.flatMap((person) => person.devices);
  const isNeeded = devices.some((device) => rank[device.state] < rank.delivered);
  if (relay.state === "stored" && !isNeeded) return relay.detail ?? "Nobody needs it from the relay.";
  return `The relay ${relayStateWords[relay.state]}.${detail}`;
}

const relayStateWords: Readonly<Record<RelayDelivery["state"], string>> = {
  stored: "keeps it, sealed",
  waiting: "is being given it",
  unreachable: "cannot be reached",
  full: "is full",
  lost: "lost what it kept",
};

/** A relay as a person calls it: its host, and the port when it is not the usual one. */
export function relayName(url: string): string {
  try {
    return new URL(url).host || url;
  } catch {
    return url;
  }
}
