/** The daemon's HTTP API (openapi.json). Knows addresses and problems; nothing of stores or screens. */
import type { Delivery } from "../model/delivery";
import type { DocumentId, SpaceId } from "../model/identifiers";
import type { Document, Invitation, Join, Member, Peer, Space, Status } from "../model/library";
import { ApiError, type SheafApi } from "../model/ports";

/** RFC 9457, the part that is shown. */
type Problem = { title: string; detail?: string | null };

const request_timeout_ms = 15_000;

interface Call {
  method?: "GET" | "POST" | "PATCH" | "DELETE";
  body?: unknown;
  /** The request is sent to its end when the window closes; its body may have 64 KiB. */
  keepalive?: boolean;
}

function isProblem(value: unknown): value is Problem {
  return typeof value === "object" && value !== null && "title" in value && typeof value.title === "string";
}

async function failureOf(response: Response): Promise<ApiError> {
  if (response.status === 401) return new ApiError({ kind: "signed_out" });
  const body: unknown = await response.json().catch(() => null);
  // A gateway's answer while the daemon is down (the development proxy) is not the daemon speaking.
  if (!isProblem(body) && response.status >= 500) return new ApiError({ kind: "unreachable" });
  return new ApiError({
    kind: "problem",
    status: response.status,
    title: isProblem(body) ? body.title : `Sheaf answered ${response.status}`,
    detail: isProblem(body) ? (body.detail ?? null) : null,
  });
}

export function createApi(base = "/api/v1"): SheafApi {
  async function call(
    path: string,
    { method = "GET", body, keepalive = false }: Call = {},
  ): Promise<Response> {
    let response: Response;
    try {
      response = await fetch(`${base}${path}`, {
        method,
        keepalive,
        credentials: "same-origin",
        cache: "no-store",
        signal: AbortSignal.timeout(request_timeout_ms),
        ...(body === undefined
          ? {}
          : { body: JSON.stringify(body), headers: { "content-type": "application/json" } }),
      });
    } catch {
      throw new ApiError({ kind: "unreachable" });
    }
    if (!response.ok) throw await failureOf(response);
    return response;
  }

  /** The daemon is this program's other half, of the same build: its answers are trusted to be what they say. */
  async function read<T>(path: string, options?: Call): Promise<T> {
    const response = await call(path, options);
    return (await response.json()) as T;
  }

  const space = (id: SpaceId) => `/spaces/${encodeURIComponent(id)}`;
  const document = (id: DocumentId) => `/documents/${encodeURIComponent(id)}`;

  return {
    signIn: async (token) => void (await call("/session", { method: "POST", body: { token } })),
    signOut: async () => void (await call("/session", { method: "DELETE" })),
    status: () => read<Status>("/status"),
    updateProfile: async (profile) => void (await call("/profile", { method: "PATCH", body: profile })),
    spaces: async () => (await read<{ spaces: Space[] }>("/spaces")).spaces,
    space: (id) => read<Space>(space(id)),
    createSpace: (name) => read<Space>("/spaces", { method: "POST", body: { name } }),
    renameSpace: (id, name) => read<Space>(space(id), { method: "PATCH", body: { name } }),
    setRelays: (id, relay_urls) => read<Space>(space(id), { method: "PATCH", body: { relay_urls } }),
    leaveSpace: async (id) => void (await call(space(id), { method: "DELETE" })),
    documents: async (id) => (await read<{ documents: Document[] }>(`${space(id)}/documents`)).documents,
    document: (id) => read<Document>(document(id)),
    createDocument: (id, body) => read<Document>(`${space(id)}/documents`, { method: "POST", body }),
    updateDocument: (id, body, { outlives } = { outlives: false }) =>
      read<Document>(document(id), { method: "PATCH", body, keepalive: outlives }),
    invitations: async (id) =>
      (await read<{ invitations: Invitation[] }>(`${space(id)}/invitations`)).invitations,
    createInvitation: (id, body) => read<Invitation>(`${space(id)}/invitations`, { method: "POST", body }),
    revokeInvitation: async (id, invitationId) =>
      void (await call(`${space(id)}/invitations/${encodeURIComponent(invitationId)}`, { method: "DELETE" })),
    join: (ticket, relay) =>
      read<Join>("/join", { method: "POST", body: relay === undefined ? { ticket } : { ticket, relay } }),
    joinProgress: (joinId) => read<Join>(`/join/${encodeURIComponent(joinId)}`),
    cancelJoin: async (joinId) =>
      void (await call(`/join/${encodeURIComponent(joinId)}`, { method: "DELETE" })),
    members: async (id) => (await read<{ members: Member[] }>(`${space(id)}/members`)).members,
    delivery: (id) => read<Delivery>(`${document(id)}/delivery`),
    seen: async (id) => void (await call(`${document(id)}/seen`, { method: "POST" })),
    peers: async () => (await read<{ peers: Peer[] }>("/peers")).peers,
  };
}
