/**
 * A pretend daemon for working on the web editor: the HTTP API and sync socket in memory, with invented people.
 * A development tool only. It keeps nothing, checks nobody, and encrypts nothing.
 *
 *   node dev/mock_daemon.mjs [--port 7411] [--dist FOLDER] [--empty] [--slow-ack MS] [--scene NAME]
 *
 * Scenes: quiet (nobody reached yet), relay, some, delivered, seen, trouble (a gap and a full relay), alone, norelay,
 * unknown, full (a disk that takes nothing). A spoken code ends in what the environment's SPOKEN says: used (the rule),
 * burned, failed; or waits for ever.
 * It serves `dist/` (run `npm run build` first), or stands behind `npm run dev`. Any `#token=NAME` signs in as NAME.
 */
import { randomBytes } from "node:crypto";
import { readFile } from "node:fs/promises";
import { createServer } from "node:http";
import { extname, join, normalize } from "node:path";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import {
  codeRoutes,
  deliveryRoutes,
  joinByCode,
  relayStates,
  spaceDelivery,
  startJoin,
} from "./mock_delivery.mjs";
import {
  addDocument,
  addSpace,
  documents,
  emit,
  id,
  invitations,
  joins,
  now,
  people,
  seed,
  self,
  sessions,
  spaces,
  streams,
} from "./mock_state.mjs";
import { serveSync } from "./mock_sync.mjs";

const { values: options } = parseArgs({
  options: {
    port: { type: "string", default: "7411" },
    empty: { type: "boolean", default: false },
    "slow-ack": { type: "string", default: "0" },
    scene: { type: "string", default: "some" },
    dist: { type: "string", default: fileURLToPath(new URL("../dist/", import.meta.url)) },
  },
});
const port = Number(options.port);
const { dist, scene } = options;
const isFull = scene === "full";
const csp =
  "default-src 'self'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data: blob:; connect-src 'self' ws: wss:; object-src 'none'; base-uri 'none'; frame-ancestors 'none'";

const view = (space) => ({
  ...space,
  delivery: spaceDelivery(space, scene),
  member_count: 4,
  document_count: [...documents.values()].filter((d) => d.space_id === space.space_id && !d.trashed).length,
});

function peers() {
  const [first] = spaces.keys();
  if (!first || options.empty) return [];
  const at = (behind) => [{ space_id: first, behind, done_bytes: 0, total_bytes: 0 }];
  const [ann, bo, chidi] = people;
  return [
    {
      ...ann,
      state: "live",
      path: "webrtc",
      description: "192.168.1.4:50211 ⇄ 192.168.1.9:40022 (udp, host)",
      path_reason: null,
      rtt_ms: 3.4,
      spaces: at(0),
      last_seen_at: now(),
    },
    {
      ...bo,
      state: "live",
      path: "relay",
      description: "wss://relay.example.org (tcp, tls inside)",
      path_reason: "relay: UDP does not get through between these networks",
      rtt_ms: 48,
      spaces: at(12),
      last_seen_at: now(),
    },
    {
      ...chidi,
      state: "offline",
      path: null,
      description: null,
      path_reason: null,
      rtt_ms: null,
      spaces: at(40),
      last_seen_at: new Date(Date.now() - 2.6e8).toISOString(),
    },
  ];
}

// ---- HTTP ------------------------------------------------------------------------------------------------------

const qr = `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 29 29" shape-rendering="crispEdges"><rect width="29" height="29" fill="#fff"/>${Array.from(
  { length: 29 * 29 },
  (_, n) => [n % 29, Math.floor(n / 29)],
)
  .filter(([x, y]) => x > 1 && y > 1 && x < 27 && y < 27 && (x * 7 + y * 13 + x * y) % 3 === 0)
  .map(([x, y]) => `<path d="M${x} ${y}h1v1h-1z"/>`)
  .join("")}</svg>`;

const problem = (status, title, detail) => ({
  status,
  body: { type: "about:blank", title, status, detail },
  problem: true,
});
const ok = (body, status = 200) => ({ status, body });

function orderAfter(document, parent_id, after_id) {
  const siblings = [...documents.values()]
    .filter((d) => d.space_id === document.space_id && d.parent_id === parent_id && d !== document)
    .sort((a, b) => (a.order < b.order ? -1 : 1));
  const index = after_id === null ? 0 : siblings.findIndex((d) => d.document_id === after_id) + 1;
  siblings.splice(index, 0, document);
  document.parent_id = parent_id;
  siblings.forEach((d, n) => {
    d.order = `a${String(n).padStart(4, "0")}`;
  });
}

const routes = [
  [
    "GET",
    /^\/status$/,
    (_, __, token) =>
      ok({
        version: "0.1.0",
        started_at: now(),
        data_dir: "~/.local/share/sheaf",
        ...self,
        port,
        // Signed in under one of the invented names, a second window plays that person's cursor.
        ...people.find((person) => person.user_name.startsWith(token)),
        lan: { listening: "0.0.0.0:51234", mdns: "on", addresses: ["192.168.1.4:51234"] },
        relays: relayStates(scene),
        storage: isFull
          ? { state: "read_only", detail: "The disk is full. Make room for it to go on.", unsent_edits: 0 }
          : { state: "ok", detail: null, unsent_edits: 0 },
        spaces: [...spaces.values()].map(view),
        peers: peers(),
      }),
  ],
  [
    "PATCH",
    /^\/profile$/,
    (_, body) => {
      Object.assign(self, body);
      emit("profile_changed");
      return ok({
        user_name: self.user_name,
        device_name: self.device_name,
        share_seen: self.share_seen,
      });
    },
  ],
  ["GET", /^\/spaces$/, () => ok({ spaces: [...spaces.values()].map(view) })],
  [
    "POST",
    /^\/spaces$/,
    (_, body) => {
      const space = addSpace(body.name);
      emit("spaces_changed");
      return ok(view(space), 201);
    },
  ],
  [
    "PATCH",
    /^\/spaces\/([^/]+)$/,
    ([space_id], body) => {
      Object.assign(spaces.get(space_id), body);
      emit("spaces_changed");
      return ok(view(spaces.get(space_id)));
    },
  ],
  [
    "DELETE",
    /^\/spaces\/([^/]+)$/,
    ([space_id]) => {
      spaces.delete(space_id);
      emit("spaces_changed");
      return ok(null, 204);
    },
  ],
  [
    "GET",
    /^\/spaces\/([^/]+)\/documents$/,
    ([space_id]) => ok({ documents: [...documents.values()].filter((d) => d.space_id === space_id) }),
  ],
  [
    "POST",
    /^\/spaces\/([^/]+)\/documents$/,
    ([space_id], body) => {
      const document = addDocument(space_id, body.title, { type: body.type, parent_id: body.parent_id });
      orderAfter(
        document,
        document.parent_id,
        [...documents.values()]
          .filter((d) => d.parent_id === document.parent_id && d !== document && d.space_id === space_id)
          .at(-1)?.document_id ?? null,
      );
      emit("documents_changed", { space_id });
      return ok(document, 201);
    },
  ],
  [
    "GET",
    /^\/documents\/([^/]+)$/,
    ([document_id]) =>
      documents.has(document_id)
        ? ok(documents.get(document_id))
        : problem(404, "No such document", "It was deleted, or this laptop has not heard of it."),
  ],
  [
    "PATCH",
    /^\/documents\/([^/]+)$/,
    ([document_id], body) => {
      const document = documents.get(document_id);
      if (!document) return problem(404, "No such document");
      if (isFull) return problem(503, "Not saved", "The disk is full.");
      if ("after_id" in body || "parent_id" in body) {
        orderAfter(
          document,
          "parent_id" in body ? body.parent_id : document.parent_id,
          body.after_id ?? null,
        );
      }
      if ("title" in body) document.title = body.title;
      if ("trashed" in body) document.trashed = body.trashed;
      document.updated_at = now();
      emit("documents_changed", { space_id: document.space_id });
      return ok(document);
    },
  ],
  [
    "GET",
    /^\/spaces\/([^/]+)\/invitations$/,
    ([space_id]) => ok({ invitations: invitations.get(space_id) ?? [] }),
  ],
  ...codeRoutes({ ok, problem, scene }),
  ...deliveryRoutes({ ok, problem, scene }),
  [
    "POST",
    /^\/spaces\/([^/]+)\/invitations$/,
    ([space_id], body) => {
      const ticket = `sheaf1${randomBytes(90).toString("hex")}`;
      const invitation = {
        invitation_id: id("i"),
        ticket,
        link: `sheaf:join#${ticket}`,
        qr_svg: qr,
        role: body.role,
        expires_at: new Date(Date.now() + (body.expires_in_s ?? 604800) * 1000).toISOString(),
        uses_left: body.max_uses ?? 1,
        code: null,
        code_state: null,
        code_expires_ms: null,
        code_relay: null,
        code_problem: null,
        safety_words: null,
        guest_name: null,
      };
      invitations.set(space_id, [...(invitations.get(space_id) ?? []), invitation]);
      emit("invitations_changed", { space_id });
      return ok(invitation, 201);
    },
  ],
  [
    "DELETE",
    /^\/spaces\/([^/]+)\/invitations\/([^/]+)$/,
    ([space_id, invitation_id]) => {
      invitations.set(
        space_id,
        (invitations.get(space_id) ?? []).filter((i) => i.invitation_id !== invitation_id),
      );
      emit("invitations_changed", { space_id });
      return ok(null, 204);
    },
  ],
  [
    "POST",
    /^\/join$/,
    (_, body) =>
      body.ticket?.startsWith("sheaf1")
        ? ok(startJoin(body.ticket), 202)
        : joinByCode(body, { ok, problem, scene }),
  ],
  [
    "GET",
    /^\/join\/([^/]+)$/,
    ([join_id]) => (joins.has(join_id) ? ok(joins.get(join_id)) : problem(404, "No such join")),
  ],
  [
    "DELETE",
    /^\/join\/([^/]+)$/,
    ([join_id]) => {
      joins.delete(join_id);
      return ok(null, 204);
    },
  ],
  [
    "GET",
    /^\/spaces\/([^/]+)\/members$/,
    () =>
      ok({
        members: [
          {
            user_id: self.user_id,
            name: self.user_name,
            role: "owner",
            is_self: true,
            devices: [{ device_id: self.device_id, name: self.device_name, is_self: true, online: true }],
          },
          ...people.map((p, n) => ({
            user_id: p.user_id,
            name: p.user_name,
            role: n === 2 ? "reader" : "editor",
            is_self: false,
            devices: [{ device_id: p.device_id, name: p.device_name, is_self: false, online: n === 0 }],
          })),
        ],
      }),
  ],
  ["GET", /^\/peers$/, () => ok({ peers: peers() })],
];

const cookieOf = (request) => /(?:^|;\s*)sheaf_mock=([^;]+)/.exec(request.headers.cookie ?? "")?.[1];

async function readBody(request) {
  const chunks = [];
  for await (const chunk of request) chunks.push(chunk);
  const text = Buffer.concat(chunks).toString();
  return text === "" ? null : JSON.parse(text);
}

const types = {
  ".html": "text/html",
  ".js": "text/javascript",
  ".css": "text/css",
  ".svg": "image/svg+xml",
  ".webmanifest": "application/manifest+json",
};

async function serveFile(pathname, response) {
  const safe = normalize(pathname).replace(/^(\.\.[/\\])+/, "");
  const isPage = safe === "/" || safe.startsWith("/d/") || safe.startsWith("/s/");
  try {
    const body = await readFile(join(dist, isPage ? "index.html" : safe));
    response.writeHead(200, {
      "content-type": types[isPage ? ".html" : extname(safe)] ?? "application/octet-stream",
      "content-security-policy": csp,
      "cache-control": safe.startsWith("/assets/") ? "public, max-age=31536000, immutable" : "no-store",
    });
    response.end(body);
  } catch {
    response.writeHead(404).end("not found");
  }
}

const server = createServer(async (request, response) => {
  const { pathname } = new URL(request.url, "http://localhost");
  if (!pathname.startsWith("/api/v1")) return serveFile(pathname, response);
  const path = pathname.slice("/api/v1".length);
  if (path === "/session" && request.method === "POST") {
    const { token } = await readBody(request);
    const key = randomBytes(8).toString("hex");
    sessions.set(key, token);
    response.writeHead(204, { "set-cookie": `sheaf_mock=${key}; HttpOnly; SameSite=Strict; Path=/` });
    return response.end();
  }
  if (!sessions.has(cookieOf(request))) {
    response.writeHead(401, { "content-type": "application/problem+json" });
    return response.end(JSON.stringify({ type: "about:blank", title: "Signed out", status: 401 }));
  }
  if (path === "/events") {
    response.writeHead(200, { "content-type": "text/event-stream", "cache-control": "no-store" });
    response.write(": hello\n\n");
    streams.add(response);
    request.on("close", () => streams.delete(response));
    return undefined;
  }
  const body = request.method === "GET" ? null : await readBody(request).catch(() => null);
  for (const [method, pattern, handle] of routes) {
    const match = method === request.method && pattern.exec(path);
    const answer = match && handle(match.slice(1), body ?? {}, sessions.get(cookieOf(request)));
    if (!answer) continue;
    response.writeHead(answer.status, {
      "content-type": answer.problem ? "application/problem+json" : "application/json",
      "cache-control": "no-store",
    });
    return response.end(answer.status === 204 ? undefined : JSON.stringify(answer.body));
  }
  response.writeHead(404, { "content-type": "application/problem+json" });
  return response.end(JSON.stringify({ type: "about:blank", title: "Not found", status: 404 }));
});

serveSync(server, {
  isSignedIn: (request) => sessions.has(cookieOf(request)),
  documents,
  spaces,
  delayMs: Number(options["slow-ack"]),
  isFull,
});

if (!options.empty) seed();
server.listen(port, "127.0.0.1", () => process.stdout.write(`http://127.0.0.1:${port}/#token=Robin\n`));
