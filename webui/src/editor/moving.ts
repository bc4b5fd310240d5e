/**
 * Moving blocks in the shared document itself. Left to y-prosemirror, a move is a comparison by position: it would
 * write each block's words into its neighbour, and what somebody types meanwhile would end up in the wrong one.
 * Here one side of the move is copied and the other side keeps its elements.
 */
import type { Command, EditorState } from "@tiptap/pm/state";
import { ySyncPluginKey } from "y-prosemirror";
import * as Y from "yjs";
import { selectedBlocks } from "./blocks";
import { beginUndoStep } from "./undo-steps";

/** The body the editor is bound to. */
function bodyOf(state: EditorState): Y.XmlFragment | null {
  const plugin: { type: unknown } | undefined = ySyncPluginKey.getState(state);
  return plugin?.type instanceof Y.XmlFragment ? plugin.type : null;
}

function indexAt(state: EditorState, pos: number): number {
  return state.doc.resolve(pos).index(0);
}

/** Copies the run `[from, from + count)` to before the child that now has number `to`, and removes the run. */
function transplant(body: Y.XmlFragment, from: number, count: number, to: number): void {
  const copies = body
    .slice(from, from + count)
    .flatMap((child) => (child instanceof Y.XmlElement || child instanceof Y.XmlText ? [child.clone()] : []));
  if (copies.length !== count) return;
  body.doc?.transact(() => {
    body.delete(from, count);
    body.insert(to > from ? to - count : to, copies);
  }, ySyncPluginKey);
}

/** Moves the selected blocks one place. The neighbour is the one that is copied: the cursor stays in its block. */
export function moveBlocks(step: 1 | -1): Command {
  return (state, dispatch) => {
    const blocks = selectedBlocks(state);
    const body = bodyOf(state);
    const [first] = blocks;
    if (!first || !body) return false;
    const start = indexAt(state, first.pos);
    const neighbour = step === 1 ? start + blocks.length : start - 1;
    if (neighbour < 0 || neighbour >= state.doc.childCount || !dispatch) return true;
    beginUndoStep(state);
    transplant(body, neighbour, 1, step === 1 ? start : start + blocks.length);
    return true;
  };
}

/** Moves the block at `pos` to the border between blocks at `target`. Returns where it is then, or null. */
export function moveBlockTo(state: EditorState, pos: number, target: number): number | null {
  const body = bodyOf(state);
  const node = state.doc.nodeAt(pos);
  const $target = state.doc.resolve(target);
  if (!body || !node || $target.depth > 0) return null;
  if (target >= pos && target <= pos + node.nodeSize) return pos;
  beginUndoStep(state);
  transplant(body, indexAt(state, pos), 1, $target.index(0));
  return target > pos ? target - node.nodeSize : target;
}
