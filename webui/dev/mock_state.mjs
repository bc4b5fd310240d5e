/** What the pretend daemon keeps in memory, and the invented content it starts with. */
import { randomBytes } from "node:crypto";
import * as Y from "yjs";
import { room } from "./mock_sync.mjs";

export const id = (prefix) => `${prefix}_${randomBytes(10).toString("hex")}`;
export const now = () => new Date().toISOString();

export const self = {
  user_id: id("u"),
  device_id: id("v"),
  user_name: "Robin",
  device_name: "laptop",
  share_seen: true,
};
export const sessions = new Map();
export const spaces = new Map();
export const documents = new Map();
export const invitations = new Map();
export const joins = new Map();
export const streams = new Set();

export function emit(type, data = {}) {
  for (const stream of streams) stream.write(`event: ${type}\ndata: ${JSON.stringify(data)}\n\n`);
}

// ---- invented content ------------------------------------------------------------------------------------------

export function addSpace(name, role = "owner", space_id = id("s")) {
  const space = { space_id, name, role, state: "ready", relay_urls: [] };
  spaces.set(space.space_id, space);
  return space;
}

let order = 0;
export function addDocument(
  space_id,
  title,
  { type = "page", parent_id = null, document_id = id("d"), trashed = false } = {},
) {
  order += 1;
  const document = {
    document_id,
    space_id,
    title,
    type,
    parent_id,
    order: `a${String(order).padStart(4, "0")}`,
    trashed,
    created_at: now(),
    updated_at: now(),
  };
  documents.set(document.document_id, document);
  return document;
}

function block(text, attrs = {}) {
  const element = new Y.XmlElement("block");
  for (const [key, value] of Object.entries(attrs)) element.setAttribute(key, value);
  const content = new Y.XmlText();
  const delta = Array.isArray(text) ? text : [{ insert: text }];
  content.applyDelta(delta.filter((part) => part.insert !== ""));
  element.insert(0, [content]);
  return element;
}

export const people = [
  { user_id: id("u"), device_id: id("v"), user_name: "Ann", device_name: "thinkpad", more: "old desktop" },
  { user_id: id("u"), device_id: id("v"), user_name: "Bo Lindqvist", device_name: "mini" },
  { user_id: id("u"), device_id: id("v"), user_name: "Chidi", device_name: "desk" },
];

export function seed() {
  const trip = addSpace("Island trip");
  trip.relay_urls = ["wss://relay.example.org"];
  addSpace("Reading group", "editor");
  const plan = addDocument(trip.space_id, "The week on Vlieland", { document_id: "d_welcome" });
  addDocument(trip.space_id, "Packing list", { parent_id: plan.document_id });
  addDocument(trip.space_id, "Ferries and trains", { parent_id: plan.document_id });
  addDocument(trip.space_id, "Recipes for the camping stove");
  addDocument(trip.space_id, "notes.md", { type: "text", document_id: "d_notes" });
  addDocument(trip.space_id, "Old budget", { trashed: true });
  const doc = room(plan.document_id).doc;
  doc.getMap("meta").set("schema", 1);
  const code = new Y.XmlElement("code");
  code.setAttribute("language", "text");
  code.insert(0, [new Y.XmlText("14:20  Harlingen → Vlieland   (90 min)\n16:05  bus to the house, 4 stops")]);
  doc.getXmlFragment("body").insert(0, [
    block([
      { insert: "We leave on " },
      { insert: "Friday", attributes: { bold: {} } },
      {
        insert:
          ", the three of us, and the house is ours until the Sunday after. Everything on this page lives on our own laptops; write whenever you like, also on the boat.",
      },
    ]),
    block("Getting there", { kind: "h2" }),
    block("Train to Harlingen Haven", { kind: "ordered" }),
    block("The slow ferry, because the deck is the best part", { kind: "ordered" }),
    block("Bikes from the harbour", { kind: "ordered" }),
    block("Ask for the long frame", { kind: "ordered", indent: 1 }),
    code,
    block("Before Friday", { kind: "h2" }),
    block("Book the ferry", { kind: "todo", checked: true }),
    block("Charge the lamps", { kind: "todo" }),
    block(
      [
        { insert: "Ask Bo about the " },
        { insert: "tide table", attributes: { link: { href: "https://example.org/tides" } } },
      ],
      { kind: "todo" },
    ),
    block("No signal on the north side. That is the point.", { kind: "callout" }),
    block("The sea is not a place one visits. It is a place one is lent.", { kind: "quote" }),
    new Y.XmlElement("divider"),
    block("Evenings", { kind: "h3" }),
    block("Pancakes, then cards", { kind: "bullet" }),
    block([{ insert: "Read aloud, " }, { insert: "one chapter each", attributes: { highlight: {} } }], {
      kind: "bullet",
    }),
  ]);
  room("d_notes")
    .doc.getText("text")
    .insert(
      0,
      "# Notes\n\nPlain *Markdown*, for those who like to see the signs.\n\n- one\n- two **strong** words\n\n> and a quote\n\n```js\nconst tide = await table.next();\n```\n",
    );
}
