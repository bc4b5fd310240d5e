/**
 * The document tree of a space, computed from the flat list. The list is a merge of what several people did, so
 * it may hold orphans and cycles (two people move two pages into each other): neither may hide a document.
 */
import type { DocumentId } from "./identifiers";
import type { Document } from "./library";

export interface TreeNode {
  document: Document;
  depth: number;
  children: TreeNode[];
}

export type DropPlace = "before" | "inside" | "after";
export type KeyboardMove = "up" | "down" | "in" | "out";

export interface Place {
  parent_id: DocumentId | null;
  /** The sibling to come after; null: first among its siblings. */
  after_id: DocumentId | null;
}

function bySiblingOrder(a: Document, b: Document): number {
  if (a.order !== b.order) return a.order < b.order ? -1 : 1;
  return a.document_id < b.document_id ? -1 : 1;
}

/** The tree of what is not in the trash. A child of a trashed page goes with it, unless it was restored itself. */
export function buildTree(documents: readonly Document[]): TreeNode[] {
  const byId = new Map(documents.map((document) => [document.document_id, document]));
  const children = new Map<DocumentId | null, Document[]>();
  for (const document of documents) {
    const parent = document.parent_id !== null && byId.has(document.parent_id) ? document.parent_id : null;
    const siblings = children.get(parent);
    if (siblings) siblings.push(document);
    else children.set(parent, [document]);
  }
  const seen = new Set<DocumentId>();
  const grow = (parent: DocumentId | null, depth: number): TreeNode[] =>
    (children.get(parent) ?? []).sort(bySiblingOrder).flatMap((document) => {
      if (seen.has(document.document_id)) return [];
      seen.add(document.document_id);
      const below = grow(document.document_id, depth + 1);
      return document.trashed ? [] : [{ document, depth, children: below }];
    });
  const roots = grow(null, 0);
  // Whatever is left hangs in a cycle: break it at its first member, at the root.
  for (const document of [...documents].sort(bySiblingOrder)) {
    if (seen.has(document.document_id)) continue;
    seen.add(document.document_id);
    const below = grow(document.document_id, 1);
    if (!document.trashed) roots.push({ document, depth: 0, children: below });
  }
  return roots;
}

/** The nearest page above a document that is in the trash and takes it out of the tree; null when none is. */
export function trashedAbove(documents: readonly Document[], id: DocumentId): Document | null {
  const byId = new Map(documents.map((document) => [document.document_id, document]));
  const seen = new Set<DocumentId>([id]);
  let parent = byId.get(id)?.parent_id ?? null;
  while (parent !== null && !seen.has(parent)) {
    seen.add(parent);
    const document = byId.get(parent);
    if (document?.trashed) return document;
    parent = document?.parent_id ?? null;
  }
  return null;
}

export function trashed(documents: readonly Document[]): Document[] {
  return documents
    .filter((document) => document.trashed)
    .sort((a, b) => (a.updated_at < b.updated_at ? 1 : -1));
}

/** Rows in the order they are drawn; `isOpen` says whose children show. */
export function flatten(nodes: readonly TreeNode[], isOpen: (id: DocumentId) => boolean): TreeNode[] {
  return nodes.flatMap((node) => [
    node,
    ...(isOpen(node.document.document_id) ? flatten(node.children, isOpen) : []),
  ]);
}

interface Location {
  node: TreeNode;
  parent: TreeNode | null;
  siblings: readonly TreeNode[];
  index: number;
}

export function locate(
  nodes: readonly TreeNode[],
  id: DocumentId,
  parent: TreeNode | null = null,
): Location | null {
  for (const [index, node] of nodes.entries()) {
    if (node.document.document_id === id) return { node, parent, siblings: nodes, index };
    const below = locate(node.children, id, node);
    if (below) return below;
  }
  return null;
}

/** From the root down to the document itself. */
export function pathTo(nodes: readonly TreeNode[], id: DocumentId): Document[] {
  for (const node of nodes) {
    if (node.document.document_id === id) return [node.document];
    const below = pathTo(node.children, id);
    if (below.length > 0) return [node.document, ...below];
  }
  return [];
}

const idOf = (node: TreeNode | undefined): DocumentId | null => node?.document.document_id ?? null;

/** Where a dragged document lands; null when it would become its own descendant or stay where it is. */
export function placeForDrop(
  nodes: readonly TreeNode[],
  dragged: DocumentId,
  target: DocumentId,
  place: DropPlace,
): Place | null {
  const from = locate(nodes, dragged);
  const to = locate(nodes, target);
  if (!from || !to || dragged === target || locate(from.node.children, target)) return null;
  if (place === "inside") {
    const others = to.node.children.filter((node) => node.document.document_id !== dragged);
    return { parent_id: target, after_id: idOf(others.at(-1)) };
  }
  const siblings = to.siblings.filter((node) => node.document.document_id !== dragged);
  const index = siblings.findIndex((node) => node.document.document_id === target);
  return {
    parent_id: idOf(to.parent ?? undefined),
    after_id: place === "after" ? target : idOf(siblings[index - 1]),
  };
}

/** The same moves by keyboard; null when there is nowhere to go. */
export function placeForKey(nodes: readonly TreeNode[], id: DocumentId, move: KeyboardMove): Place | null {
  const at = locate(nodes, id);
  if (!at) return null;
  const parent_id = idOf(at.parent ?? undefined);
  const previous = at.siblings[at.index - 1];
  switch (move) {
    case "up":
      return previous ? { parent_id, after_id: idOf(at.siblings[at.index - 2]) } : null;
    case "down": {
      const next = at.siblings[at.index + 1];
      return next ? { parent_id, after_id: next.document.document_id } : null;
    }
    case "in":
      return previous
        ? { parent_id: previous.document.document_id, after_id: idOf(previous.children.at(-1)) }
        : null;
    case "out": {
      if (!at.parent) return null;
      return { parent_id: at.parent.document.parent_id, after_id: at.parent.document.document_id };
    }
  }
}

/** Shows a move before the daemon confirmed it: "\0" sorts before every digit a real order key could continue with. */
export function withPlace(documents: readonly Document[], id: DocumentId, place: Place): Document[] {
  const after = documents.find((document) => document.document_id === place.after_id);
  const order = after ? `${after.order}\u0000` : "";
  return documents.map((document) =>
    document.document_id === id ? { ...document, parent_id: place.parent_id, order } : document,
  );
}
