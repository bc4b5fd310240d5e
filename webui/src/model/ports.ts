/**
 * The ports that stores are built on. `api/client` implements them; tests pass plain objects. Keeping them here
 * lets `stores` and `api` stay strangers.
 */
import type { Delivery } from "./delivery";
import type { DocumentId, SpaceId } from "./identifiers";
import type { Document, DocumentType, Invitation, Join, Member, Peer, Role, Space, Status } from "./library";

/** Why a request did not give an answer. */
export type ApiFailure =
  | { kind: "unreachable" }
  | { kind: "signed_out" }
  | { kind: "problem"; status: number; title: string; detail: string | null };

export class ApiError extends Error {
  readonly failure: ApiFailure;
  constructor(failure: ApiFailure) {
    super(describeFailure(failure));
    this.failure = failure;
  }
}

export function describeFailure(failure: ApiFailure): string {
  switch (failure.kind) {
    case "unreachable":
      return "Sheaf is not running on this laptop right now.";
    case "signed_out":
      return "This browser is signed out. Run “sheaf open” to sign in again.";
    case "problem":
      return failure.detail ?? failure.title;
  }
}

/** The daemon spoke, and it is its last word: asking again gives the same answer. */
export function isFinal(error: unknown): boolean {
  if (!(error instanceof ApiError) || error.failure.kind !== "problem") return false;
  const { status } = error.failure;
  return status >= 400 && status < 500 && ![408, 425, 429].includes(status);
}

/** The daemon spoke, and said that it does not know what was asked for. */
export const isNotFound = (error: unknown): boolean =>
  error instanceof ApiError && error.failure.kind === "problem" && error.failure.status === 404;

/** The daemon spoke: it is there, whatever it cannot do. */
export const isAnswered = (error: unknown): boolean =>
  error instanceof ApiError && error.failure.kind === "problem";

export interface DocumentPatch {
  title?: string;
  parent_id?: DocumentId | null;
  after_id?: DocumentId | null;
  trashed?: boolean;
}

export interface ProfilePatch {
  user_name?: string;
  device_name?: string;
  share_seen?: boolean;
}

export type InvitationRequest =
  | { role: Role; expires_in_s?: number; max_uses?: number }
  | { role: Role; code: true };

export interface SheafApi {
  signIn(token: string): Promise<void>;
  signOut(): Promise<void>;
  status(): Promise<Status>;
  updateProfile(profile: ProfilePatch): Promise<void>;
  spaces(): Promise<Space[]>;
  space(spaceId: SpaceId): Promise<Space>;
  createSpace(name: string): Promise<Space>;
  renameSpace(spaceId: SpaceId, name: string): Promise<Space>;
  setRelays(spaceId: SpaceId, urls: readonly string[]): Promise<Space>;
  leaveSpace(spaceId: SpaceId): Promise<void>;
  documents(spaceId: SpaceId): Promise<Document[]>;
  document(documentId: DocumentId): Promise<Document>;
  createDocument(
    spaceId: SpaceId,
    document: { title: string; type: DocumentType; parent_id: DocumentId | null },
  ): Promise<Document>;
  /** `outlives`: the request is sent to its end when the window closes. */
  updateDocument(
    documentId: DocumentId,
    patch: DocumentPatch,
    options?: { outlives: boolean },
  ): Promise<Document>;
  invitations(spaceId: SpaceId): Promise<Invitation[]>;
  createInvitation(spaceId: SpaceId, invitation: InvitationRequest): Promise<Invitation>;
  revokeInvitation(spaceId: SpaceId, invitationId: string): Promise<void>;
  /** `ticket` is a ticket or a spoken code; `relay` is where the code's other half waits, when none is known. */
  join(ticket: string, relay?: string): Promise<Join>;
  joinProgress(joinId: string): Promise<Join>;
  cancelJoin(joinId: string): Promise<void>;
  members(spaceId: SpaceId): Promise<Member[]>;
  peers(): Promise<Peer[]>;
  delivery(documentId: DocumentId): Promise<Delivery>;
  /** Tells the daemon that a person has everything received so far before their eyes. */
  seen(documentId: DocumentId): Promise<void>;
}
