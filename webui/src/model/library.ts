/**
 * What the daemon tells about spaces, documents and people. Field names are the wire's own (snake_case): one
 * word per idea, from the core to the screen.
 */
import type { SpaceDelivery } from "./delivery";
import type { DeviceId, DocumentId, SpaceId, UserId } from "./identifiers";
import type { RelayStatus } from "./relays";

export type Role = "owner" | "editor" | "reader";
export type DocumentType = "page" | "text";

export interface Space {
  space_id: SpaceId;
  name: string;
  role: Role;
  member_count: number;
  document_count: number;
  /** `unavailable`: it is here, but cannot be opened now; nothing about its pages is known. */
  state: "ready" | "joining" | "unavailable";
  /** Where the space's devices meet when they share no network; without tokens. */
  relay_urls: string[];
  delivery: SpaceDelivery;
}

/** Whether the person may only read the space. Of one that cannot be opened now the role is not known. */
export const isReadOnly = (space: Pick<Space, "role" | "state"> | null): boolean =>
  space !== null && space.role === "reader" && space.state !== "unavailable";

export interface Document {
  document_id: DocumentId;
  space_id: SpaceId;
  title: string;
  type: DocumentType;
  parent_id: DocumentId | null;
  order: string;
  trashed: boolean;
  created_at: string;
  updated_at: string;
}

export interface PeerSpace {
  space_id: SpaceId;
  /** Envelopes of mine that the peer lacks. */
  behind: number;
  done_bytes: number;
  total_bytes: number;
}

export interface Peer {
  device_id: DeviceId;
  user_id: UserId;
  user_name: string;
  device_name: string;
  state: "connecting" | "syncing" | "live" | "offline";
  path: "webrtc" | "tunnel" | "relay" | null;
  /** The path for somebody who wants to know: addresses and kinds of candidates. */
  description: string | null;
  /** Why this path and no better one, for somebody who wants to know. */
  path_reason: string | null;
  rtt_ms: number | null;
  spaces: PeerSpace[];
  last_seen_at: string | null;
}

export interface StorageState {
  /** `low`: saved, but there is little room. `read_only`: not saved. `failed`: something cannot even be read. */
  state: "ok" | "low" | "read_only" | "failed";
  detail: string | null;
  unsent_edits: number;
}

/** A device whose identity two computers use: one has a copy of the other's data folder. In the daemon's words. */
export interface Clone {
  device_id: DeviceId;
  is_self: boolean;
  noticed_at: string;
  what: string;
  do: string;
}

/** Whether what is written reaches the disk. Before the daemon has said anything, nothing is wrong. */
export const isSaving = (storage: Pick<StorageState, "state"> | null | undefined): boolean =>
  !storage || storage.state === "ok" || storage.state === "low";

export interface Status {
  version: string;
  started_at: string;
  data_dir: string;
  user_id: UserId;
  user_name: string;
  device_id: DeviceId;
  device_name: string;
  port: number;
  lan: { listening: string | null; mdns: string; addresses: string[] };
  storage: StorageState;
  /** Changes in open editors that build on what has not come to this laptop yet. */
  held_changes: number;
  relays: RelayStatus[];
  clones: Clone[];
  /** Others are told when this person has seen their changes. */
  share_seen: boolean;
  spaces: Space[];
  peers: Peer[];
}

export interface MemberDevice {
  device_id: DeviceId;
  name: string;
  is_self: boolean;
  online: boolean;
}

export interface Member {
  user_id: UserId;
  name: string;
  role: Role;
  is_self: boolean;
  devices: MemberDevice[];
}

/** PROTOCOL §8: a spoken code has one try and ten minutes. */
export type CodeState = "waiting" | "confirmed" | "used" | "burned" | "expired" | "failed";

export interface Invitation {
  invitation_id: string;
  /** Present only for invitations that this device issued. */
  ticket: string | null;
  link: string | null;
  qr_svg: string | null;
  role: Role;
  expires_at: string | null;
  uses_left: number;
  /** Only for an invitation that is read out loud, on the device that made it. */
  code: string | null;
  code_state: CodeState | null;
  code_expires_ms: number | null;
  /** Where the code waits; whoever types it has to look there. */
  code_relay: string | null;
  /** Why it is over without anybody, and what to do. */
  code_problem: string | null;
  safety_words: string[] | null;
  /** Who proved to know the code, by the name they gave. */
  guest_name: string | null;
}

export type JoinState = "searching" | "connecting" | "joining" | "catching_up" | "done" | "failed";

export interface Join {
  join_id: string;
  /** Null until a code has brought a ticket. */
  space_id: SpaceId | null;
  space_name: string | null;
  state: JoinState;
  done_bytes: number;
  total_bytes: number;
  error: { title: string; detail: string } | null;
  /** After a spoken code: both sides see the same four words, unless somebody stands between them. */
  safety_words: string[] | null;
  /** Who invited by the code, by the name they gave. */
  inviter_name: string | null;
}

/** What came over the event stream (HTTP: `GET /events`). */
export type DaemonEvent =
  | { type: "documents_changed"; space_id: SpaceId }
  | { type: "spaces_changed" }
  | { type: "members_changed"; space_id: SpaceId }
  | { type: "invitations_changed"; space_id: SpaceId }
  | { type: "peers_changed" }
  | { type: "join_changed"; join_id: string }
  | { type: "storage_changed"; storage: Pick<StorageState, "state" | "detail"> }
  | { type: "profile_changed" }
  | { type: "delivery_changed"; space_id: SpaceId; document_id: DocumentId | null }
  | { type: "relays_changed" }
  | { type: "clones_changed" }
  | { type: "relay_warning"; url: string; space_id: SpaceId; kind: RelayTrouble; detail: string | null }
  /** So much changed that the daemon stopped counting: fetch everything. */
  | { type: "resync" };

export type RelayTrouble = "rolled_back" | "lost" | "full";

export const untitled = "Untitled";

export function titleOf(document: Pick<Document, "title">): string {
  return document.title.trim() === "" ? untitled : document.title;
}
