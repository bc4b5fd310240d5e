/** By which way a peer is connected, in words. Pure. */
import type { Peer } from "./library";
import { milliseconds } from "./relays";
import { relativeTime } from "./time";

const address = /(\d{1,3}(?:\.\d{1,3}){3}|\[?[0-9a-f]{0,4}(?::[0-9a-f]{0,4}){2,}\]?)/gi;
/** RFC 1918, RFC 3927, RFC 4193, RFC 4291 §2.5.6, and loopback: addresses that end at the router. */
const near =
  /^\[?(?:10\.|127\.|169\.254\.|192\.168\.|172\.(?:1[6-9]|2\d|3[01])\.|f[cd][0-9a-f]{2}:|fe[89ab][0-9a-f]:|::1\]?$)/i;

type Way = Pick<Peer, "path" | "description" | "path_reason">;

/** The daemon says so, or both ends have addresses that no router outside would carry. */
export function isNearby({ description, path_reason }: Way): boolean {
  if (path_reason?.endsWith("on one network")) return true;
  const found = description?.match(address) ?? [];
  return found.length > 0 && found.every((one) => near.test(one)) && !/srflx|prflx/.test(description ?? "");
}

/** "directly", "on this network", "through the relay": how, for the end of "Connected …". */
export function pathWords(peer: Way): string {
  switch (peer.path) {
    case "webrtc":
      return isNearby(peer) ? "on this network" : "directly";
    case "tunnel":
      return "on this network, over TCP";
    case "relay":
      return "through the relay";
    case null:
      return "";
  }
}

/** Why by this way, where it says more than the way itself does: what follows the daemon's "relay: …". */
export function reasonWords(peer: Way): string | null {
  if (!peer.path_reason || (peer.path === "webrtc" && isNearby(peer))) return null;
  const reason = peer.path_reason.replace(/^[^:]{1,24}: /, "");
  return reason.charAt(0).toUpperCase() + reason.slice(1);
}

export function connectionWords(peer: Peer, now: number): string {
  switch (peer.state) {
    case "connecting":
      return "Connecting…";
    case "offline":
      return peer.last_seen_at ? `Away, last here ${relativeTime(peer.last_seen_at, now)}` : "Away";
    case "live":
    case "syncing": {
      const rtt = peer.rtt_ms === null ? "" : ` · ${milliseconds(peer.rtt_ms)}`;
      return `Connected ${pathWords(peer)}`.trim() + rtt;
    }
  }
}
