/** The pretend daemon's deliveries, relays, joins and spoken codes: invented states to look at (`--scene`). */
import {
  addDocument,
  addSpace,
  documents,
  emit,
  id,
  invitations,
  joins,
  people,
  self,
  spaces,
} from "./mock_state.mjs";

const url = "wss://relay.example.org";
const minute_ms = 60_000;
const words = ["harbour", "velvet", "otter", "lantern"];
const known = new Set(["orbit", "lamp", "harbour", "velvet", "otter", "lantern", "tide", "table"]);

/** The three people's states, by scene. */
const states = {
  quiet: ["waiting", "waiting", "waiting"],
  relay: ["on_relay", "on_relay", "on_relay"],
  some: ["seen", "delivered", "on_relay"],
  delivered: ["delivered", "seen", "delivered"],
  seen: ["seen", "seen", "seen"],
  trouble: ["delivered", "waiting", "waiting"],
  norelay: ["delivered", "waiting", "waiting"],
};

export function relayStates(scene) {
  if (scene === "norelay" || scene === "alone") return [];
  return [
    { url, state: "connected", problem: null, rtt_ms: 23.4, since_ms: Date.now() - 4e6 },
    ...(scene === "trouble"
      ? [
          {
            url: "wss://other.example.net:7412",
            state: "unreachable",
            problem: "Nobody answers at other.example.net. Sheaf tries again in 40 s.",
            rtt_ms: null,
            since_ms: Date.now() - 9e5,
          },
        ]
      : []),
  ];
}

export function spaceDelivery(space, scene) {
  const isFirst = [...spaces.keys()][0] === space.space_id;
  const troubled = scene === "trouble" && isFirst;
  return {
    state: "delivered",
    waiting_people: 1,
    incomplete_missing: troubled ? 3 : 0,
    relay_warning: null,
  };
}

function device(name, state, ago_ms, missing) {
  const at_ms = state === "waiting" ? null : Date.now() - ago_ms;
  return { device_id: id("v"), name, state, at_ms, missing };
}

function peopleOf(scene) {
  if (scene === "alone") return [];
  const [first, second, third] = people;
  const [a, b, c] = states[scene] ?? states.some;
  const lacks = (state) => (state === "waiting" || state === "on_relay" ? 4 : 0);
  const person = ({ user_id, user_name }, state, devices) => ({ user_id, name: user_name, state, devices });
  return [
    person(first, a, [
      device(first.device_name, a, 2 * minute_ms, lacks(a)),
      device(first.more, "on_relay", 2 * minute_ms, 12),
    ]),
    person(second, b, [device(second.device_name, b, 26 * minute_ms, lacks(b))]),
    person(third, c, [device(third.device_name, c, 26 * minute_ms, lacks(c))]),
    person(self, "delivered", [device("kitchen mini", "delivered", 60 * minute_ms, 0)]),
  ];
}

function relaysOf(scene) {
  if (scene === "norelay" || scene === "alone") return [];
  if (scene === "quiet") return [{ url, state: "waiting", detail: null }];
  if (scene !== "trouble") return [{ url, state: "stored", detail: null }];
  return [
    {
      url,
      state: "full",
      detail: "relay.example.org is full (64 MiB) and takes nothing more for this space.",
    },
    { url: "wss://other.example.net:7412", state: "unreachable", detail: null },
  ];
}

export function deliveryRoutes({ ok, problem, scene }) {
  return [
    [
      "GET",
      /^\/documents\/([^/]+)\/delivery$/,
      ([document_id]) => {
        const document = documents.get(document_id);
        if (!document || scene === "unknown") return problem(503, "Not known", "The list is being read.");
        return ok({
          document_id,
          space_id: document.space_id,
          saved: true,
          relays: relaysOf(scene),
          people: peopleOf(scene),
          incomplete: scene === "trouble" ? { missing: 3, from: "Ann's laptop" } : null,
        });
      },
    ],
    ["POST", /^\/documents\/([^/]+)\/seen$/, () => ok(null, 204)],
  ];
}

// ---- joining, and spoken codes ----------------------------------------------------------------------------------------------

export function startJoin(ticket) {
  const join = {
    join_id: id("j"),
    space_id: id("s"),
    space_name: null,
    state: "searching",
    done_bytes: 0,
    total_bytes: 0,
    error: null,
    safety_words: null,
    inviter_name: null,
  };
  joins.set(join.join_id, join);
  const steps = ticket.includes("bad")
    ? [
        [
          "failed",
          { error: { title: "Nobody answered", detail: "Is the other laptop on, and on the same network?" } },
        ],
      ]
    : [
        ["connecting", {}],
        ["joining", { space_name: "Garden plans" }],
        ["catching_up", { done_bytes: 120_000, total_bytes: 800_000 }],
        ["catching_up", { done_bytes: 560_000, total_bytes: 800_000 }],
        ["done", {}],
      ];
  steps.forEach(([state, fields], n) => {
    setTimeout(
      () => {
        if (!joins.has(join.join_id)) return;
        Object.assign(join, fields, { state });
        if (state === "done") {
          const space = addSpace("Garden plans", "editor", join.space_id);
          addDocument(space.space_id, "Beds and paths");
          emit("spaces_changed");
        }
        emit("join_changed", { join_id: join.join_id, state });
      },
      900 * (n + 1),
    );
  });
  return join;
}

function later(space_id, invitation, steps) {
  steps.forEach(([state, fields], n) => {
    setTimeout(
      () => {
        Object.assign(invitation, fields, { code_state: state });
        emit("invitations_changed", { space_id });
      },
      2_500 * (n + 1),
    );
  });
}

const endings = {
  used: [
    ["confirmed", { safety_words: words, guest_name: "Ann" }],
    ["used", { uses_left: 0 }],
  ],
  burned: [["burned", {}]],
  failed: [["failed", {}]],
  waiting: [],
};

export function codeRoutes({ ok, problem, scene }) {
  return [
    [
      "POST",
      /^\/spaces\/([^/]+)\/invitations$/,
      ([space_id], body) => {
        if (!body.code) return null;
        if (relayStates(scene).length === 0)
          return problem(
            422,
            "That does not work",
            "A spoken code needs a relay, and this laptop knows none.",
          );
        const invitation = {
          invitation_id: id("i"),
          ticket: null,
          link: null,
          qr_svg: null,
          role: body.role,
          expires_at: new Date(Date.now() + 10 * minute_ms).toISOString(),
          uses_left: 1,
          code: "7-orbit-velvet",
          code_state: "waiting",
          code_expires_ms: Date.now() + (process.env.SPOKEN === "expired" ? 4_000 : 10 * minute_ms),
          code_relay: url,
          code_problem: null,
          safety_words: null,
          guest_name: null,
        };
        invitations.set(space_id, [...(invitations.get(space_id) ?? []), invitation]);
        later(space_id, invitation, endings[process.env.SPOKEN ?? "used"] ?? []);
        emit("invitations_changed", { space_id });
        return ok({ ...invitation }, 201);
      },
    ],
  ];
}

export function joinByCode(body, { ok, problem, scene }) {
  const [number, ...said] = (body.ticket ?? "").split("-");
  if (!/^\d+$/.test(number) || said.length !== 2)
    return problem(422, "That is not an invitation", "An invitation starts with “sheaf1”.");
  const wrong = said.find((word) => !known.has(word));
  if (wrong)
    return problem(
      422,
      "That does not work",
      `“${wrong}” is no word of a code. Perhaps “velvet”? Nothing was tried: the code is still good.`,
    );
  if (relayStates(scene).length === 0 && !body.relay)
    return problem(
      422,
      "That does not work",
      "This laptop knows no relay. Ask which one they use and name it.",
    );
  const join = startJoin(body.ticket);
  setTimeout(() => Object.assign(join, { safety_words: words, inviter_name: "Ann" }), 1_000);
  return ok(join, 202);
}
