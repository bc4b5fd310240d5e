/** Who is connected, and how. */
import { Wifi, WifiOff } from "lucide-react";
import { useApp } from "../hooks/app";
import { useStore } from "../hooks/store";
import type { Peer } from "../model/library";
import { bytes, relativeTime } from "../model/time";
import { Avatar } from "./Avatar";
import { Popover } from "./Popover";

const paths = { webrtc: "directly", tunnel: "through a tunnel", relay: "through a relay" } as const;

function connectionWords(peer: Peer, now: number): string {
  switch (peer.state) {
    case "connecting":
      return "Connecting…";
    case "offline":
      return peer.last_seen_at ? `Away, last here ${relativeTime(peer.last_seen_at, now)}` : "Away";
    case "live":
    case "syncing": {
      const how = peer.path ? `Connected ${paths[peer.path]}` : "Connected";
      const rtt =
        peer.rtt_ms === null
          ? ""
          : ` · ${peer.rtt_ms < 10 ? peer.rtt_ms.toFixed(1) : Math.round(peer.rtt_ms)} ms`;
      return how + rtt;
    }
  }
}

function progressWords(peer: Peer): string | null {
  const behind = peer.spaces.reduce((sum, space) => sum + space.behind, 0);
  const total = peer.spaces.reduce((sum, space) => sum + space.total_bytes, 0);
  const done = peer.spaces.reduce((sum, space) => sum + space.done_bytes, 0);
  if (peer.state === "syncing" && total > done) return `Catching up: ${bytes(done)} of ${bytes(total)}`;
  if (behind > 0) return `${behind} ${behind === 1 ? "change" : "changes"} of yours to receive`;
  return null;
}

export function PeersPanel() {
  const { people, library, daemon } = useApp();
  const { peers } = useStore(people);
  const { status } = useStore(library);
  const link = useStore(daemon);
  const connected = peers.filter((peer) => peer.state === "live" || peer.state === "syncing");
  const label =
    connected.length === 0
      ? "Nobody else is connected"
      : `${connected.length} ${connected.length === 1 ? "laptop" : "laptops"} connected`;
  const now = Date.now();
  return (
    <Popover
      label={label}
      testId="peers-button"
      buttonClass={`peers-button ${connected.length > 0 ? "peers-live" : ""}`}
      button={
        <>
          {connected.length > 0 ? (
            <Wifi size={16} aria-hidden="true" />
          ) : (
            <WifiOff size={16} aria-hidden="true" />
          )}
          <span aria-hidden="true">{connected.length}</span>
        </>
      }
    >
      <h3>Who is connected</h3>
      {peers.length === 0 ? (
        <p className="hint">
          {link === "online"
            ? "Nobody yet. People appear here when a laptop they have invited, or that invited them, is near."
            : "Sheaf is not running on this laptop, so nothing is known about the others."}
        </p>
      ) : (
        <ul className="peer-list">
          {peers.map((peer) => (
            <li
              key={peer.device_id}
              className="peer-row"
              data-testid="peer-row"
              data-state={peer.state}
              data-path={peer.path ?? ""}
            >
              <Avatar name={peer.user_name} id={peer.user_id} dim={peer.state === "offline"} />
              <span className="peer-words">
                <span>
                  <strong>{peer.user_name}</strong> <span className="muted">{peer.device_name}</span>
                </span>
                <span className="muted" title={peer.description ?? undefined}>
                  {connectionWords(peer, now)}
                </span>
                {progressWords(peer) ? <span className="muted">{progressWords(peer)}</span> : null}
              </span>
              <span className={`dot dot-${peer.state}`} aria-hidden="true" />
            </li>
          ))}
        </ul>
      )}
      {status && link === "online" ? (
        <dl className="lan-facts">
          <dt>This laptop</dt>
          <dd>{status.lan.addresses[0] ?? status.lan.listening ?? "no network"}</dd>
          <dt>Looking around</dt>
          <dd>{status.lan.mdns === "on" ? "on the local network" : status.lan.mdns}</dd>
        </dl>
      ) : null}
    </Popover>
  );
}
