/** The kinds of a text block. A kind is an attribute value, so turning one into another never replaces the block. */
export const blockKinds = [
  "paragraph",
  "h1",
  "h2",
  "h3",
  "bullet",
  "ordered",
  "todo",
  "quote",
  "callout",
] as const;

export type BlockKind = (typeof blockKinds)[number];

export const indent_max = 8;

export function isBlockKind(value: unknown): value is BlockKind {
  return typeof value === "string" && (blockKinds as readonly string[]).includes(value);
}

/** A kind this editor does not know reads as a paragraph; the stored value is left alone. */
export function readKind(value: unknown): BlockKind {
  return isBlockKind(value) ? value : "paragraph";
}

export function readIndent(value: unknown): number {
  return typeof value === "number" && value > 0 ? Math.min(indent_max, Math.trunc(value)) : 0;
}

/** Kinds that Enter repeats. */
export const continues: ReadonlySet<BlockKind> = new Set(["bullet", "ordered", "todo", "quote", "callout"]);
