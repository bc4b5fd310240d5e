/**
 * The flat schema, version 1, as data: which elements a page's `body` is made of, and where each may stand.
 *
 * Everything the editor refuses, y-prosemirror deletes from the shared document. So what a document holds beyond
 * this grammar (elements, attributes or marks of a newer Sheaf) is collected by `scan` *before* the editor sees it,
 * and either the schema is widened to carry it untouched, or the page is shown without an editor.
 */
import * as Y from "yjs";

export const schema_version = 1;

type Place = "top" | "rows" | "cells" | "inline";
type Inside = "rows" | "cells" | "inline" | "nothing";

interface Rule {
  place: Place;
  inside: Inside;
  attributes: readonly string[];
}

export const grammar: Readonly<Record<string, Rule>> = {
  block: { place: "top", inside: "inline", attributes: ["kind", "indent", "checked"] },
  code: { place: "top", inside: "inline", attributes: ["language"] },
  divider: { place: "top", inside: "nothing", attributes: [] },
  table: { place: "top", inside: "rows", attributes: [] },
  row: { place: "rows", inside: "cells", attributes: [] },
  cell: { place: "cells", inside: "inline", attributes: [] },
  image: { place: "top", inside: "nothing", attributes: ["blob", "alt", "width"] },
  embed: { place: "top", inside: "nothing", attributes: ["kind", "data"] },
  inline_embed: { place: "inline", inside: "nothing", attributes: ["kind", "data"] },
  hard_break: { place: "inline", inside: "nothing", attributes: [] },
};

export const markAttributes: Readonly<Record<string, readonly string[]>> = {
  bold: [],
  italic: [],
  underline: [],
  strike: [],
  code: [],
  link: ["href"],
  highlight: ["color"],
  comment: ["threadId"],
};

export interface ExtraNode {
  inline: boolean;
  inside: "inline" | "blocks" | "nothing";
}

/** What a document holds beyond the grammar. */
export interface Extras {
  nodes: Map<string, ExtraNode>;
  /** Attributes by element name, for known and unknown elements. */
  attributes: Map<string, Set<string>>;
  marks: Map<string, Set<string>>;
  /** Marks stored under `name--hash`: several of the same name may overlap. */
  overlapping: Set<string>;
  /** Structure no schema of ours can hold. Not empty: show the page without an editor. */
  violations: string[];
}

export function noExtras(): Extras {
  return {
    nodes: new Map(),
    attributes: new Map(),
    marks: new Map(),
    overlapping: new Set(),
    violations: [],
  };
}

/** A number that grows with everything added: unchanged means the schema at hand already carries it all. */
export function weight(extras: Extras): number {
  let total = extras.violations.length + extras.overlapping.size;
  for (const node of extras.nodes.values()) total += node.inside === "nothing" ? 1 : 2;
  for (const names of extras.attributes.values()) total += names.size;
  for (const names of extras.marks.values()) total += 1 + names.size;
  return total;
}

const hashed = /^(.*)--[a-zA-Z0-9+/=]{8}$/;

function addTo(map: Map<string, Set<string>>, key: string, names: Iterable<string>): void {
  const known = map.get(key) ?? new Set<string>();
  for (const name of names) known.add(name);
  map.set(key, known);
}

function scanText(text: Y.XmlText, extras: Extras): void {
  const delta = text.toDelta() as { insert: unknown; attributes?: Record<string, unknown> }[];
  for (const part of delta) {
    if (typeof part.insert !== "string") extras.violations.push("an object inside text");
    for (const [key, value] of Object.entries(part.attributes ?? {})) {
      const base = hashed.exec(key)?.[1];
      const name = base ?? key;
      if (base !== undefined) extras.overlapping.add(base);
      const known = markAttributes[name];
      const names = typeof value === "object" && value !== null ? Object.keys(value) : [];
      const unknown = known ? names.filter((attribute) => !known.includes(attribute)) : names;
      if (!known || unknown.length > 0) addTo(extras.marks, name, unknown);
    }
  }
}

function scanAttributes(element: Y.XmlElement, known: readonly string[], extras: Extras): void {
  const unknown = Object.keys(element.getAttributes()).filter((name) => !known.includes(name));
  if (unknown.length > 0) addTo(extras.attributes, element.nodeName, unknown);
}

function scanUnknown(element: Y.XmlElement, place: Place | "unknown", extras: Extras): void {
  const name = element.nodeName;
  if (place === "rows" || place === "cells") {
    extras.violations.push(`${name} among ${place}`);
    return;
  }
  const children = element.toArray();
  const hasText = children.some((child) => child instanceof Y.XmlText);
  const inside: ExtraNode["inside"] = children.length === 0 ? "nothing" : hasText ? "inline" : "blocks";
  const before = extras.nodes.get(name);
  const inline = place === "inline";
  if (before && before.inline !== inline) extras.violations.push(`${name} both in and between text`);
  if (before && before.inside !== inside && before.inside !== "nothing" && inside !== "nothing") {
    extras.violations.push(`${name} with two kinds of content`);
  }
  if (inline && inside === "blocks") extras.violations.push(`${name} holds blocks inside text`);
  extras.nodes.set(name, { inline, inside: inside === "nothing" ? (before?.inside ?? "nothing") : inside });
  scanAttributes(element, [], extras);
  for (const child of children) scanChild(child, hasText ? "inline" : "top", extras);
}

function scanElement(element: Y.XmlElement, place: Place, extras: Extras): void {
  const rule = Object.hasOwn(grammar, element.nodeName) ? grammar[element.nodeName] : undefined;
  if (!rule) {
    scanUnknown(element, place, extras);
    return;
  }
  if (rule.place !== place) {
    extras.violations.push(`${element.nodeName} out of place`);
    return;
  }
  scanAttributes(element, rule.attributes, extras);
  scanChildren(element, extras);
}

function scanChild(child: unknown, place: Place, extras: Extras): void {
  if (child instanceof Y.XmlText) {
    if (place === "inline") scanText(child, extras);
    else extras.violations.push("text outside a block");
  } else if (child instanceof Y.XmlElement) {
    scanElement(child, place, extras);
  } else {
    extras.violations.push("an unknown shared type");
  }
}

function insideOf(parent: Y.XmlFragment, extras: Extras): Inside | "top" {
  if (!(parent instanceof Y.XmlElement)) return "top";
  const rule = Object.hasOwn(grammar, parent.nodeName) ? grammar[parent.nodeName] : undefined;
  if (rule) return rule.inside;
  const extra = extras.nodes.get(parent.nodeName);
  return extra?.inside === "inline" ? "inline" : "top";
}

function scanChildren(
  parent: Y.XmlFragment,
  extras: Extras,
  wanted: (child: unknown) => boolean = () => true,
): void {
  const inside = insideOf(parent, extras);
  for (const child of parent.toArray()) {
    if (!wanted(child)) continue;
    if (inside === "nothing") extras.violations.push("content in an element that holds none");
    else scanChild(child, inside, extras);
  }
}

/** Everything in the body beyond the grammar. */
export function scan(body: Y.XmlFragment): Extras {
  const extras = noExtras();
  scanChildren(body, extras);
  return extras;
}

/** The same, but only for what one transaction brought; adds to `extras`. */
export function scanTransaction(body: Y.XmlFragment, transaction: Y.Transaction, extras: Extras): void {
  const isNew = (child: unknown): boolean => {
    if (!(child instanceof Y.XmlElement || child instanceof Y.XmlText)) return true;
    const id = child._item?.id;
    return !id || id.clock >= (transaction.beforeState.get(id.client) ?? 0);
  };
  for (const type of transaction.changed.keys()) {
    const changed: unknown = type;
    if (changed instanceof Y.XmlText) scanText(changed, extras);
    else if (changed instanceof Y.XmlElement) {
      const rule = Object.hasOwn(grammar, changed.nodeName) ? grammar[changed.nodeName] : undefined;
      const inside = rule === undefined ? extras.nodes.get(changed.nodeName)?.inside : undefined;
      scanAttributes(changed, rule?.attributes ?? [], extras);
      // An unknown element that so far was empty gets its first content: look at it as a whole.
      if (rule === undefined && (inside === undefined || inside === "nothing")) {
        scanUnknown(changed, extras.nodes.get(changed.nodeName)?.inline ? "inline" : "top", extras);
      } else scanChildren(changed, extras, isNew);
    } else if (changed === body) scanChildren(body, extras, isNew);
  }
}

/** Unmerged clones: a scan may add to them while the originals still describe the schema in use. */
export function copyExtras(extras: Extras): Extras {
  const copySets = (map: Map<string, Set<string>>) =>
    new Map([...map].map(([key, names]) => [key, new Set(names)] as const));
  return {
    nodes: new Map(extras.nodes),
    attributes: copySets(extras.attributes),
    marks: copySets(extras.marks),
    overlapping: new Set(extras.overlapping),
    violations: [...extras.violations],
  };
}

export function schemaVersionOf(doc: Y.Doc): number {
  const version: unknown = doc.getMap("meta").get("schema");
  return typeof version === "number" ? version : schema_version;
}
