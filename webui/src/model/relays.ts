/** The relays of a space: what counts as an address, and how a relay's state is said. Pure. */
import { relayName } from "./delivery";
import type { RelayTrouble } from "./library";

export interface RelayStatus {
  /** Without any token. */
  url: string;
  state: "connecting" | "connected" | "unreachable" | "refused";
  /** Why it is not connected, and what to do; a whole sentence. */
  problem: string | null;
  rtt_ms: number | null;
  since_ms: number | null;
}

/** PROTOCOL §7: a space names at most this many. */
export const relay_urls_max = 4;
const url_length_max = 200;

export type ReadRelay = { ok: true; url: string } | { ok: false; complaint: string };

/**
 * Reads an address that a person typed: `relay.example.org`, with or without `wss://`. A name without a scheme gets
 * `wss://`, which is what a relay for others should be. An address that is shared with a space holds no token.
 */
export function readRelayUrl(
  text: string,
  { existing = [], isShared = true }: { existing?: readonly string[]; isShared?: boolean } = {},
): ReadRelay {
  const refuse = (complaint: string): ReadRelay => ({ ok: false, complaint });
  const typed = text.trim();
  if (typed === "") return refuse("Type the relay's address, like relay.example.org.");
  if (typed.length > url_length_max || /\s/.test(typed)) return refuse("That is not an address.");
  const withScheme = /^[a-z][a-z0-9+.-]*:\/\//i.test(typed) ? typed : `wss://${typed}`;
  let url: URL;
  try {
    url = new URL(withScheme);
  } catch {
    return refuse("That is not an address. It looks like relay.example.org or wss://relay.example.org:7412.");
  }
  if (url.protocol === "https:" || url.protocol === "http:")
    return refuse(`A relay's address starts with wss://, so probably wss://${url.host}.`);
  if (url.protocol !== "wss:" && url.protocol !== "ws:")
    return refuse("A relay's address starts with wss:// (or ws:// on a network you trust).");
  if (url.hostname === "") return refuse("The address names no machine.");
  const hasToken = url.username !== "" || url.password !== "";
  if (hasToken && isShared)
    return refuse(
      "Leave the token out: everybody in the space sees this address. Start Sheaf with --relay for it.",
    );
  if (url.search !== "" || url.hash !== "") return refuse("Leave out what follows the ? or #.");
  const token = hasToken ? `${url.username}${url.password === "" ? "" : `:${url.password}`}@` : "";
  const plain = `${url.protocol}//${token}${url.host}${url.pathname.replace(/\/+$/, "")}`;
  if (existing.includes(plain)) return refuse("That relay is in the list already.");
  if (existing.length >= relay_urls_max) return refuse(`A space has at most ${relay_urls_max} relays.`);
  return { ok: true, url: plain };
}

/** An address as one person tells it to another: typed as said, `readRelayUrl` gives it back. */
export const sayRelay = (url: string): string => url.replace(/^wss:\/\//, "");

export function relayWords(relay: RelayStatus): string {
  switch (relay.state) {
    case "connected":
      return relay.rtt_ms === null ? "Connected" : `Connected · ${milliseconds(relay.rtt_ms)}`;
    case "connecting":
      return "Connecting…";
    case "unreachable":
      return relay.problem ?? "Cannot be reached; Sheaf keeps trying.";
    case "refused":
      return relay.problem ?? "It answers, and does not want this laptop.";
  }
}

export const milliseconds = (count: number): string =>
  `${count < 10 ? count.toFixed(1) : Math.round(count)} ms`;

/** The line for one address of a space: what this laptop knows of the relay behind it. */
export function relayOfSpace(url: string, known: readonly RelayStatus[]): RelayStatus | null {
  const same = (other: string) => other === url || relayName(other) === relayName(url);
  return known.find((relay) => relay.url === url) ?? known.find((relay) => same(relay.url)) ?? null;
}

const troubleWords: Readonly<Record<RelayTrouble, string>> = {
  rolled_back: "went back to an older copy of what it kept. This laptop gives it again what is missing.",
  lost: "lost what it kept. This laptop gives it again what the others lack.",
  full: "is full. What you write is kept here until there is room, or until your laptops meet.",
};

/** What is said when a relay did not keep what it was given. Nothing is lost by that alone: it is still here. */
export function relayTrouble(event: { url: string; kind: RelayTrouble; detail: string | null }): string {
  return event.detail ?? `The relay ${relayName(event.url)} ${troubleWords[event.kind]}`;
}
