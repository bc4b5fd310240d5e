/** Commands on blocks. Each writes the least it can: an attribute where an attribute is enough. */
import type { Node as PmNode, ResolvedPos } from "@tiptap/pm/model";
import {
  type Command,
  type EditorState,
  NodeSelection,
  Selection,
  TextSelection,
  type Transaction,
} from "@tiptap/pm/state";
import { type BlockKind, continues, indent_max, readIndent, readKind } from "./kinds";

export interface BlockAt {
  node: PmNode;
  pos: number;
}

/** Top-level blocks that the selection touches. */
export function selectedBlocks(state: EditorState): BlockAt[] {
  const { from, to } = state.selection;
  const found: BlockAt[] = [];
  state.doc.forEach((node, pos) => {
    const end = pos + node.nodeSize;
    if (end > from && pos < to) found.push({ node, pos });
    else if (from === to && pos <= from && end >= from && found.length === 0) found.push({ node, pos });
  });
  return found;
}

export function topBlock($pos: ResolvedPos): BlockAt | null {
  if ($pos.depth === 0) return null;
  return { node: $pos.node(1), pos: $pos.before(1) };
}

/** The cursor's text block, when the cursor is an empty selection in one. */
function cursorBlock(state: EditorState): (BlockAt & { $cursor: ResolvedPos }) | null {
  const selection = state.selection;
  if (!(selection instanceof TextSelection) || !selection.$cursor || selection.$cursor.depth !== 1)
    return null;
  return { node: selection.$cursor.parent, pos: selection.$cursor.before(1), $cursor: selection.$cursor };
}

/** Defaults are stored as absence. */
function setKindOn(tr: Transaction, pos: number, kind: BlockKind): void {
  tr.setNodeAttribute(pos, "kind", kind === "paragraph" ? null : kind);
  if (kind !== "todo" && tr.doc.nodeAt(pos)?.attrs.checked) tr.setNodeAttribute(pos, "checked", null);
}

function codeToBlock(state: EditorState, tr: Transaction, { node, pos }: BlockAt, kind: BlockKind): void {
  const type = state.schema.nodes.block;
  if (!type) return;
  const attrs = { kind: kind === "paragraph" ? null : kind };
  tr.setNodeMarkup(pos, type, attrs, node.marks);
}

/** Turns the selected blocks into `kind`; when all are of that kind already, back into paragraphs. */
export function setKind(kind: BlockKind, toggle = true): Command {
  return (state, dispatch) => {
    const blocks = selectedBlocks(state).filter(
      ({ node }) => node.type.name === "block" || node.type.name === "code",
    );
    if (blocks.length === 0) return false;
    const all = blocks.every(({ node }) => node.type.name === "block" && readKind(node.attrs.kind) === kind);
    const next = all && toggle ? "paragraph" : kind;
    if (dispatch) {
      const tr = state.tr;
      for (const block of blocks) {
        if (block.node.type.name === "code") codeToBlock(state, tr, block, next);
        else setKindOn(tr, block.pos, next);
      }
      dispatch(tr.scrollIntoView());
    }
    return true;
  };
}

/** A code block is another node (its text is plain), so this one does replace. */
export function setCode(language: string | null = null): Command {
  return (state, dispatch) => {
    const type = state.schema.nodes.code;
    const blocks = selectedBlocks(state).filter(({ node }) => node.type.name === "block");
    const [first] = blocks;
    const last = blocks.at(-1);
    if (!type || !first || !last) return false;
    if (dispatch) {
      const text = blocks.map(({ node }) => node.textBetween(0, node.content.size, "\n", "\n")).join("\n");
      const node = type.create({ language }, text === "" ? undefined : state.schema.text(text));
      const tr = state.tr.replaceWith(first.pos, last.pos + last.node.nodeSize, node);
      dispatch(tr.setSelection(TextSelection.create(tr.doc, first.pos + 1 + text.length)).scrollIntoView());
    }
    return true;
  };
}

/** The selected blocks and what is indented below them. */
function withDescendants(state: EditorState): BlockAt[] {
  const blocks = selectedBlocks(state);
  const last = blocks.at(-1);
  if (!last) return blocks;
  const depth = readIndent(last.node.attrs.indent);
  let pos = last.pos + last.node.nodeSize;
  while (pos < state.doc.content.size) {
    const node = state.doc.nodeAt(pos);
    if (node?.type.name !== "block" || readIndent(node.attrs.indent) <= depth) break;
    blocks.push({ node, pos });
    pos += node.nodeSize;
  }
  return blocks;
}

export function indent(step: 1 | -1): Command {
  return (state, dispatch) => {
    const blocks = withDescendants(state).filter(({ node }) => node.type.name === "block");
    const [first] = blocks;
    if (!first) return false;
    const before = state.doc.resolve(first.pos).nodeBefore;
    const deepest = Math.min(indent_max, before ? readIndent(before.attrs.indent) + 1 : 0);
    if (step === 1 && readIndent(first.node.attrs.indent) >= deepest) return false;
    if (step === -1 && readIndent(first.node.attrs.indent) === 0) return false;
    if (dispatch) {
      const tr = state.tr;
      for (const { node, pos } of blocks) {
        const next = Math.max(0, Math.min(indent_max, readIndent(node.attrs.indent) + step));
        tr.setNodeAttribute(pos, "indent", next === 0 ? null : next);
      }
      dispatch(tr.scrollIntoView());
    }
    return true;
  };
}

/** Tab always belongs to the page: it never moves the focus out while writing (Escape, then Tab, does). */
export const tab =
  (step: 1 | -1): Command =>
  (state, dispatch) => {
    const block = cursorBlock(state);
    if (block?.node.type.name === "code") {
      if (step === 1) dispatch?.(state.tr.insertText("  "));
      return true;
    }
    indent(step)(state, dispatch);
    return true;
  };

export const toggleChecked =
  (pos: number): Command =>
  (state, dispatch) => {
    const node = state.doc.nodeAt(pos);
    if (node?.type.name !== "block" || readKind(node.attrs.kind) !== "todo") return false;
    dispatch?.(state.tr.setNodeAttribute(pos, "checked", node.attrs.checked === true ? null : true));
    return true;
  };

export const toggleCheckedHere: Command = (state, dispatch) => {
  const block = topBlock(state.selection.$from);
  return block !== null && toggleChecked(block.pos)(state, dispatch);
};

function paragraph(state: EditorState, attrs: Record<string, unknown> | null = null): PmNode | null {
  return state.schema.nodes.block?.create(attrs) ?? null;
}

/** The first block of an empty page. Writes, so it is called when the person types, never on open. */
export const beginPage: Command = (state, dispatch) => {
  const node = paragraph(state);
  if (state.doc.childCount > 0 || !node) return false;
  if (dispatch) {
    const tr = state.tr.insert(0, node);
    dispatch(tr.setSelection(TextSelection.create(tr.doc, 1)));
  }
  return true;
};

const leaveEmptyList: Command = (state, dispatch) => {
  const block = cursorBlock(state);
  if (block?.node.type.name !== "block" || block.node.content.size > 0) return false;
  if (readIndent(block.node.attrs.indent) > 0) return indent(-1)(state, dispatch);
  if (readKind(block.node.attrs.kind) === "paragraph") return false;
  if (dispatch) {
    const tr = state.tr;
    setKindOn(tr, block.pos, "paragraph");
    dispatch(tr.scrollIntoView());
  }
  return true;
};

/** At the start of a block, Enter puts an empty one above: the block itself stays the block others are typing in. */
const enterAtStart: Command = (state, dispatch) => {
  const block = cursorBlock(state);
  if (block?.node.type.name !== "block" || block.$cursor.parentOffset > 0 || block.node.content.size === 0)
    return false;
  const kind = readKind(block.node.attrs.kind);
  const node = paragraph(state, { kind: continues.has(kind) ? kind : null, indent: block.node.attrs.indent });
  if (!node) return false;
  dispatch?.(state.tr.insert(block.pos, node).scrollIntoView());
  return true;
};

const splitBlock: Command = (state, dispatch) => {
  const { $from, $to } = state.selection;
  if ($from.depth !== 1 || $to.depth !== 1 || $from.parent.type.name !== "block") return false;
  if (dispatch) {
    const tr = state.tr.deleteSelection();
    const at = tr.selection.$from;
    if (at.depth !== 1) return false;
    const kind = readKind(at.parent.attrs.kind);
    const type = state.schema.nodes.block;
    if (!type) return false;
    const attrs = {
      kind: continues.has(kind) ? kind : null,
      indent: at.parent.attrs.indent as number | null,
    };
    tr.split(at.pos, 1, [{ type, attrs }]);
    dispatch(tr.scrollIntoView());
  }
  return true;
};

const enterInCode: Command = (state, dispatch) => {
  const block = cursorBlock(state);
  const node = paragraph(state);
  if (block?.node.type.name !== "code" || !node) return false;
  const { $cursor } = block;
  const atEnd = $cursor.parentOffset === block.node.content.size;
  if (atEnd && block.node.textContent.endsWith("\n\n")) {
    if (dispatch) {
      const tr = state.tr.delete($cursor.pos - 2, $cursor.pos);
      const after = tr.mapping.map(block.pos + block.node.nodeSize);
      tr.insert(after, node);
      dispatch(tr.setSelection(TextSelection.create(tr.doc, after + 1)).scrollIntoView());
    }
    return true;
  }
  const indentation =
    /(?:^|\n)([ \t]*)[^\n]*$/.exec(block.node.textBetween(0, $cursor.parentOffset, "\n", "\n"))?.[1] ?? "";
  dispatch?.(state.tr.insertText(`\n${indentation}`).scrollIntoView());
  return true;
};

/** Enter with a card or a divider selected: a paragraph after it. */
const enterOnNode: Command = (state, dispatch) => {
  const node = paragraph(state);
  if (!(state.selection instanceof NodeSelection) || !node) return false;
  if (dispatch) {
    const at = state.selection.to;
    const tr = state.tr.insert(at, node);
    dispatch(tr.setSelection(TextSelection.create(tr.doc, at + 1)).scrollIntoView());
  }
  return true;
};

export const enterCommands: readonly Command[] = [
  beginPage,
  enterInCode,
  leaveEmptyList,
  enterAtStart,
  enterOnNode,
  splitBlock,
];

export const exitCode: Command = (state, dispatch) => {
  const block = topBlock(state.selection.$from);
  const node = paragraph(state);
  if (block?.node.type.name !== "code" || !node) return false;
  if (dispatch) {
    const at = block.pos + block.node.nodeSize;
    const tr = state.tr.insert(at, node);
    dispatch(tr.setSelection(TextSelection.create(tr.doc, at + 1)).scrollIntoView());
  }
  return true;
};

export const hardBreak: Command = (state, dispatch) => {
  const type = state.schema.nodes.hard_break;
  const parent = state.selection.$from.parent;
  if (!type || !parent.inlineContent) return false;
  if (parent.type.name === "code") dispatch?.(state.tr.insertText("\n").scrollIntoView());
  else dispatch?.(state.tr.replaceSelectionWith(type.create()).scrollIntoView());
  return true;
};

/** Backspace at the start of a block takes off one thing at a time: kind, then indentation, then the border. */
export const backspace: Command = (state, dispatch) => {
  const block = cursorBlock(state);
  if (!block || block.$cursor.parentOffset > 0) return false;
  const { node, pos } = block;
  if (node.type.name === "code") {
    if (node.content.size > 0) return true;
    if (dispatch) {
      const tr = state.tr;
      codeToBlock(state, tr, block, "paragraph");
      dispatch(tr);
    }
    return true;
  }
  if (node.type.name !== "block") return false;
  if (readKind(node.attrs.kind) !== "paragraph") {
    if (dispatch) {
      const tr = state.tr;
      setKindOn(tr, pos, "paragraph");
      dispatch(tr);
    }
    return true;
  }
  if (readIndent(node.attrs.indent) > 0) return indent(-1)(state, dispatch);
  return joinBackward(block)(state, dispatch);
};

const joinBackward =
  ({ node, pos }: BlockAt): Command =>
  (state, dispatch) => {
    const before = state.doc.resolve(pos).nodeBefore;
    if (!before) return true;
    const start = pos - before.nodeSize;
    if (!dispatch) return true;
    const tr = state.tr;
    if (before.type.name === "block" && before.content.size === 0) {
      tr.delete(start, pos);
    } else if (node.content.size === 0) {
      tr.delete(pos, pos + node.nodeSize);
      tr.setSelection(
        before.inlineContent ? TextSelection.create(tr.doc, pos - 1) : NodeSelection.create(tr.doc, start),
      );
    } else if (before.type.name === "block") {
      tr.join(pos);
    } else {
      tr.setSelection(
        before.inlineContent ? TextSelection.create(tr.doc, pos - 1) : NodeSelection.create(tr.doc, start),
      );
    }
    dispatch(tr.scrollIntoView());
    return true;
  };

export const deleteForward: Command = (state, dispatch) => {
  const block = cursorBlock(state);
  if (!block || block.$cursor.parentOffset < block.node.content.size) return false;
  const end = block.pos + block.node.nodeSize;
  const after = state.doc.nodeAt(end);
  if (!after) return true;
  if (!dispatch) return true;
  const tr = state.tr;
  if (after.type.name === "block" && after.content.size === 0) tr.delete(end, end + after.nodeSize);
  else if (block.node.type.name === "block" && block.node.content.size === 0) {
    tr.delete(block.pos, end);
    if (!after.inlineContent) tr.setSelection(NodeSelection.create(tr.doc, block.pos));
    else tr.setSelection(TextSelection.create(tr.doc, block.pos + 1));
  } else if (after.type === block.node.type && after.inlineContent) tr.join(end);
  else
    tr.setSelection(
      after.inlineContent ? TextSelection.create(tr.doc, end + 1) : NodeSelection.create(tr.doc, end),
    );
  dispatch(tr.scrollIntoView());
  return true;
};

export const duplicateBlocks: Command = (state, dispatch) => {
  const blocks = selectedBlocks(state);
  const last = blocks.at(-1);
  if (!last) return false;
  dispatch?.(
    state.tr
      .insert(
        last.pos + last.node.nodeSize,
        blocks.map(({ node }) => node),
      )
      .scrollIntoView(),
  );
  return true;
};

export const deleteBlocks: Command = (state, dispatch) => {
  const blocks = selectedBlocks(state);
  const [first] = blocks;
  const last = blocks.at(-1);
  if (!first || !last) return false;
  if (dispatch) {
    const tr = state.tr.delete(first.pos, last.pos + last.node.nodeSize);
    tr.setSelection(Selection.near(tr.doc.resolve(Math.min(first.pos, tr.doc.content.size)), 1));
    dispatch(tr.scrollIntoView());
  }
  return true;
};

/** A divider in place of an empty block, or after a full one; the cursor goes on below it. */
export const insertDivider: Command = (state, dispatch) => {
  const divider = state.schema.nodes.divider?.create();
  const next = paragraph(state);
  const block = topBlock(state.selection.$from);
  if (!divider || !next || !block) return false;
  if (dispatch) {
    const end = block.pos + block.node.nodeSize;
    const empty = block.node.type.name === "block" && block.node.content.size === 0;
    const tr = state.tr;
    // An empty block moves below the divider instead of being replaced.
    if (empty) tr.insert(block.pos, divider);
    else tr.insert(end, [divider, next]);
    const cursor = empty ? block.pos + divider.nodeSize + 1 : end + divider.nodeSize + 1;
    if (empty) setKindOn(tr, block.pos + divider.nodeSize, "paragraph");
    dispatch(tr.setSelection(TextSelection.create(tr.doc, cursor)).scrollIntoView());
  }
  return true;
};

export { setKindOn };
