/**
 * Request and response bodies of `/api/v1`, in the shape that `openapi-typescript` writes (`npm run api`), so
 * that the generated file can take this one's place. Written by hand until then.
 */
import type {
  Document,
  DocumentType,
  Invitation,
  Join,
  Member,
  Peer,
  Role,
  Space,
  Status,
} from "../model/library";
import type { DocumentPatch } from "../model/ports";

export interface components {
  schemas: {
    Status: Status;
    Space: Space;
    SpaceList: { spaces: Space[] };
    SpaceName: { name: string };
    Document: Document;
    DocumentList: { documents: Document[] };
    NewDocument: { title: string; type: DocumentType; parent_id: Document["parent_id"] };
    DocumentPatch: DocumentPatch;
    Invitation: Invitation;
    InvitationList: { invitations: Invitation[] };
    NewInvitation: { role: Role; expires_in_s?: number; max_uses?: number };
    Join: Join;
    MemberList: { members: Member[] };
    PeerList: { peers: Peer[] };
    Profile: { user_name?: string; device_name?: string };
    /** RFC 9457. */
    Problem: { type: string; title: string; status: number; detail?: string | null };
  };
}
