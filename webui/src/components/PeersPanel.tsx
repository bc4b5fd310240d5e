/** Who is connected, and how. */
import { Server, Wifi, WifiOff } from "lucide-react";
import { useApp } from "../hooks/app";
import { useStore } from "../hooks/store";
import { relayName } from "../model/delivery";
import type { Peer, Status } from "../model/library";
import { connectionWords, reasonWords } from "../model/paths";
import { relayWords } from "../model/relays";
import { bytes } from "../model/time";
import { Avatar } from "./Avatar";
import { Popover } from "./Popover";

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
      {(link === "online" ? (status?.clones ?? []) : []).map((clone) => (
        <p key={clone.device_id} className="peers-problem" data-testid="clone-warning">
          {clone.what} {clone.do}
        </p>
      ))}
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
                {reasonWords(peer) ? <span className="muted">{reasonWords(peer)}</span> : null}
                {progressWords(peer) ? <span className="muted">{progressWords(peer)}</span> : null}
              </span>
              <span className={`dot dot-${peer.state}`} aria-hidden="true" />
            </li>
          ))}
        </ul>
      )}
      {status && link === "online" ? <NetworkFacts status={status} /> : null}
    </Popover>
  );
}

function NetworkFacts({ status }: { status: Status }) {
  const { relays } = status;
  return (
    <>
      <dl className="lan-facts">
        <dt>This laptop</dt>
        <dd>{status.lan.addresses[0] ?? status.lan.listening ?? "no network"}</dd>
        <dt>Looking around</dt>
        <dd>{status.lan.mdns === "on" ? "on the local network" : status.lan.mdns}</dd>
        {relays.length === 0 ? (
          <>
            <dt>Relay</dt>
            <dd>none: laptops meet on one network</dd>
          </>
        ) : null}
      </dl>
      <ul className="relay-lines" aria-label="Relays">
        {relays.map((relay) => (
          <li key={relay.url} data-testid="relay-state" data-state={relay.state}>
            <span className={`delivery-mark relay-${relay.state}`} aria-hidden="true">
              <Server size={15} />
            </span>
            <span>
              <span className="relay-name">{relayName(relay.url)}</span> {relayWords(relay)}
            </span>
          </li>
        ))}
      </ul>
    </>
  );
}
