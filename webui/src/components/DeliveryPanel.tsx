/** The list behind the save indicator: this laptop, each person with their devices, the relays, what is wrong. */
import { CheckCheck, Clock3, Eye, Laptop, Mailbox, Server, TriangleAlert } from "lucide-react";
import type { ReactNode } from "react";
import { useApp } from "../hooks/app";
import { useNow } from "../hooks/clock";
import { useSpace } from "../hooks/library";
import { useStore } from "../hooks/store";
import {
  type DeliveryKnowledge,
  type DeliveryState,
  type DeviceDelivery,
  deviceWords,
  type PersonDelivery,
  personWords,
  type RelayDelivery,
  relayLine,
  relayName,
  warnings,
} from "../model/delivery";
import type { DocumentId, SpaceId, UserId } from "../model/identifiers";
import type { SaveState } from "../model/saving";
import { relativeMoment } from "../model/time";
import { Avatar } from "./Avatar";
import { Button } from "./controls";

const laptopLine: Readonly<Record<SaveState, string>> = {
  saved: "Every change is written to this laptop's disk.",
  saving: "Your last words are on their way to this laptop's disk.",
  unsaved:
    "Your last words are kept in this browser. They move to the laptop's disk as soon as Sheaf runs again.",
  offline: "Sheaf is not running. All you wrote is on this laptop; go on writing, this browser keeps it.",
  held: "Its disk does not take your last words. They are kept in this browser and saved by themselves as soon as it does.",
  paused: "Its disk takes nothing new right now. All you wrote until then is on it.",
  window: "Your last words are only in this window. Copy them, or keep it open until they are saved.",
  readonly: "You were invited as a reader. What others write arrives here.",
};

const marks: Readonly<Record<DeliveryState, ReactNode>> = {
  waiting: <Clock3 size={15} />,
  on_relay: <Mailbox size={15} />,
  delivered: <CheckCheck size={15} />,
  seen: <Eye size={15} />,
};

const minute_ms = 60_000;

interface DeliveryPanelProps {
  state: SaveState;
  knowledge: DeliveryKnowledge;
  spaceId: SpaceId;
  documentId: DocumentId;
}

export function DeliveryPanel({ state, knowledge, spaceId, documentId }: DeliveryPanelProps) {
  const { library } = useApp();
  const self = useStore(library).status?.user_id ?? null;
  const now = useNow(minute_ms);
  const answer = knowledge.kind === "known" ? knowledge.delivery : null;
  const relayWarning = useSpace(spaceId)?.delivery.relay_warning ?? null;
  const problems = answer ? warnings(answer, relayWarning) : relayWarning ? [relayWarning] : [];
  return (
    <div className="delivery" data-testid="delivery-panel">
      <h3>Where it is</h3>
      <Warnings problems={problems} />
      <div className="delivery-here">
        <span className="delivery-mark" aria-hidden="true">
          <Laptop size={16} />
        </span>
        <span className="peer-words">
          <strong>This laptop</strong>
          <span className="muted">{laptopLine[state]}</span>
        </span>
      </div>
      {answer ? (
        <>
          <People people={answer.people} self={self} now={now} spaceId={spaceId} />
          <Relays relays={answer.relays} people={answer.people} spaceId={spaceId} />
        </>
      ) : (
        <NotKnown isAsking={knowledge.kind === "asking"} state={state} documentId={documentId} />
      )}
    </div>
  );
}

/** Nothing, as a rule. */
export function Warnings({ problems }: { problems: readonly string[] }) {
  if (problems.length === 0) return null;
  return (
    <ul className="delivery-warnings" aria-label="Warnings">
      {problems.map((problem) => (
        <li key={problem} data-testid="delivery-warning">
          <TriangleAlert size={15} aria-hidden="true" /> <span>{problem}</span>
        </li>
      ))}
    </ul>
  );
}

interface NotKnownProps {
  isAsking: boolean;
  state: SaveState;
  documentId: DocumentId;
}

function NotKnown({ isAsking, state, documentId }: NotKnownProps) {
  const { delivery } = useApp();
  if (isAsking) return <p className="hint">Asking who has it…</p>;
  return (
    <div className="delivery-unknown">
      <p className="hint">Who else has it is not known right now, so nothing is said about the others.</p>
      {state === "offline" || state === "unsaved" ? null : (
        <Button onClick={() => delivery.changed(documentId)}>Ask again</Button>
      )}
    </div>
  );
}

interface PeopleProps {
  people: readonly PersonDelivery[];
  self: UserId | null;
  now: number;
  spaceId: SpaceId;
}

function People({ people, self, now, spaceId }: PeopleProps) {
  const { overlays } = useApp();
  if (people.length === 0) {
    return (
      <div className="delivery-unknown">
        <p className="hint">Nobody else is in this space yet, so this laptop has the only copy.</p>
        <Button onClick={() => overlays.open({ kind: "share", spaceId })}>Invite somebody</Button>
      </div>
    );
  }
  // Other people first; one's own laptops are the ones one can look at.
  const sorted = [...people].sort((a, b) => Number(a.user_id === self) - Number(b.user_id === self));
  return (
    <ul className="delivery-people" aria-label="People">
      {sorted.map((person) => (
        <Person key={person.user_id} person={person} isSelf={person.user_id === self} now={now} />
      ))}
    </ul>
  );
}

interface PersonProps {
  person: PersonDelivery;
  isSelf: boolean;
  now: number;
}

function Person({ person, isSelf, now }: PersonProps) {
  return (
    <li data-testid="delivery-person" data-state={person.state}>
      <Avatar name={person.name} id={person.user_id} dim={person.state === "waiting"} />
      <div className="peer-words">
        <span>
          <strong>{isSelf ? "Your other laptops" : person.name}</strong>
          {isSelf ? null : <span className="muted"> {personWords[person.state]}</span>}
        </span>
        <ul className="delivery-devices" aria-label={`${isSelf ? "Your" : `${person.name}'s`} devices`}>
          {person.devices.map((device) => (
            <Device key={device.device_id} device={device} now={now} />
          ))}
        </ul>
      </div>
    </li>
  );
}

function Device({ device, now }: { device: DeviceDelivery; now: number }) {
  const when = device.at_ms === null ? null : relativeMoment(device.at_ms, now);
  return (
    <li data-state={device.state}>
      <span className={`delivery-mark mark-${device.state}`} aria-hidden="true">
        {marks[device.state]}
      </span>
      <span className="delivery-device">
        {device.name} <span className="muted">{deviceWords(device, when)}</span>
      </span>
    </li>
  );
}

interface RelaysProps {
  relays: readonly RelayDelivery[];
  people: readonly PersonDelivery[];
  spaceId: SpaceId;
}

function Relays({ relays, people, spaceId }: RelaysProps) {
  const { overlays } = useApp();
  const space = useSpace(spaceId);
  if (relays.length === 0) {
    if (people.length === 0) return null;
    return (
      <div className="delivery-relays">
        <p className="hint">No relay keeps it for those who are away. They get it when your laptops meet.</p>
        {space?.role === "owner" ? (
          <Button look="quiet" onClick={() => overlays.open({ kind: "relays", spaceId })}>
            Add a relay
          </Button>
        ) : null}
      </div>
    );
  }
  return (
    <ul className="delivery-relays" aria-label="Relays">
      {relays.map((relay) => (
        <li key={relay.url} data-testid="delivery-relay" data-state={relay.state}>
          <span className={`delivery-mark relay-${relay.state}`} aria-hidden="true">
            <Server size={16} />
          </span>
          <span className="peer-words">
            <strong>{relayName(relay.url)}</strong>
            <span className="muted">{relayLine(relay, people)}</span>
          </span>
        </li>
      ))}
    </ul>
  );
}
