/**
 * The daemon's event stream (server-sent events). Events only say that something changed; whoever listens
 * fetches again, and fetches everything when the stream opens.
 */
import { parseDocumentId, parseSpaceId, type SpaceId } from "../model/identifiers";
import type { DaemonEvent, RelayTrouble } from "../model/library";

export interface EventStreamListener {
  onOpen(): void;
  onEvent(event: DaemonEvent): void;
  /** The stream broke. The browser may be retrying by itself, or not at all: the listener decides. */
  onLost(): void;
}

const names = [
  "documents_changed",
  "spaces_changed",
  "members_changed",
  "invitations_changed",
  "peers_changed",
  "join_changed",
  "storage_changed",
  "profile_changed",
  "delivery_changed",
  "relays_changed",
  "clones_changed",
  "relay_warning",
  "resync",
] as const satisfies readonly DaemonEvent["type"][];

type Fields = Record<string, unknown>;

function parseFields(data: string): Fields {
  try {
    const value: unknown = JSON.parse(data);
    return typeof value === "object" && value !== null ? (value as Fields) : {};
  } catch {
    return {};
  }
}

const troubles: readonly string[] = ["rolled_back", "lost", "full"] satisfies RelayTrouble[];
const isTrouble = (value: unknown): value is RelayTrouble =>
  typeof value === "string" && troubles.includes(value);
const storageStates = ["ok", "low", "read_only", "failed"] as const;
const textOf = (value: unknown): string | null => (typeof value === "string" ? value : null);
const spaceOf = (fields: Fields): SpaceId | null => parseSpaceId(textOf(fields.space_id) ?? "");

/** One event, or null when it is not one we know. */
export function parseEvent(type: DaemonEvent["type"], data: string): DaemonEvent | null {
  const fields = parseFields(data);
  switch (type) {
    case "documents_changed":
    case "members_changed":
    case "invitations_changed": {
      const space_id = spaceOf(fields);
      return space_id ? { type, space_id } : null;
    }
    case "delivery_changed": {
      const space_id = spaceOf(fields);
      return space_id
        ? { type, space_id, document_id: parseDocumentId(textOf(fields.document_id) ?? "") }
        : null;
    }
    case "relay_warning": {
      const [space_id, url] = [spaceOf(fields), textOf(fields.url)];
      if (!space_id || url === null || !isTrouble(fields.kind)) return null;
      return { type, url, space_id, kind: fields.kind, detail: textOf(fields.detail) };
    }
    case "spaces_changed":
    case "peers_changed":
    case "profile_changed":
    case "relays_changed":
    case "clones_changed":
    case "resync":
      return { type };
    case "join_changed":
      return typeof fields.join_id === "string" ? { type, join_id: fields.join_id } : null;
    case "storage_changed": {
      const said = textOf(fields.state);
      if (said === null) return null;
      // A state this editor does not know is not a good one: that is all it needs to know.
      const state = storageStates.find((known) => known === said) ?? "failed";
      return { type, storage: { state, detail: textOf(fields.detail) } };
    }
  }
}

/** Opens the stream; the returned function closes it. */
export function openEvents(listener: EventStreamListener, address = "/api/v1/events"): () => void {
  const source = new EventSource(address);
  source.onopen = () => listener.onOpen();
  source.onerror = () => {
    source.close();
    listener.onLost();
  };
  for (const name of names) {
    source.addEventListener(name, (message: MessageEvent<string>) => {
      const event = parseEvent(name, message.data);
      if (event) listener.onEvent(event);
    });
  }
  return () => source.close();
}
