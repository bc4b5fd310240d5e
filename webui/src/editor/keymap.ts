/** Every key of the page editor, in one table. `shortcuts` is the readable one. */
import { Extension } from "@tiptap/core";
import { baseKeymap, chainCommands, selectAll, toggleMark } from "@tiptap/pm/commands";
import { keymap } from "@tiptap/pm/keymap";
import type { MarkType } from "@tiptap/pm/model";
import { type Command, TextSelection } from "@tiptap/pm/state";
import { redo, undo } from "y-prosemirror";
import {
  backspace,
  deleteForward,
  duplicateBlocks,
  enterCommands,
  exitCode,
  hardBreak,
  setCode,
  setKind,
  tab,
  toggleCheckedHere,
} from "./blocks";
import { moveBlocks } from "./moving";
import { undoable } from "./undo-steps";

export function mark(name: string): Command {
  return (state, dispatch, view) => {
    const type: MarkType | undefined = state.schema.marks[name];
    if (!type || state.selection.$from.parent.type.name === "code") return false;
    return toggleMark(type)(state, dispatch, view);
  };
}

const undoCommand: Command = (state) => {
  undo(state);
  return true;
};
const redoCommand: Command = (state) => {
  redo(state);
  return true;
};

/** First the text of the block, then the page: what people expect of Ctrl-A in a code block or a paragraph. */
const selectInCode: Command = (state, dispatch) => {
  const { $from, $to } = state.selection;
  if ($from.parent.type.name !== "code" || !$from.sameParent($to)) return false;
  const from = $from.start();
  const to = $from.end();
  if (state.selection.from === from && state.selection.to === to) return false;
  dispatch?.(state.tr.setSelection(TextSelection.create(state.doc, from, to)));
  return true;
};

const downOutOfCode: Command = (state, dispatch) => {
  const { $head, empty } = state.selection;
  if (!empty || $head.parent.type.name !== "code" || $head.pos !== $head.end()) return false;
  return $head.after(1) === state.doc.content.size && exitCode(state, dispatch);
};

export const PageKeymap = Extension.create({
  name: "pageKeymap",
  priority: 50,
  addProseMirrorPlugins() {
    const keys: Record<string, Command> = {
      "Mod-z": undoCommand,
      "Mod-y": redoCommand,
      "Mod-Shift-z": redoCommand,
      "Mod-b": mark("bold"),
      "Mod-i": mark("italic"),
      "Mod-u": mark("underline"),
      "Mod-Shift-s": mark("strike"),
      "Mod-Shift-x": mark("strike"),
      "Mod-e": mark("code"),
      "Mod-Shift-h": mark("highlight"),
      "Mod-Alt-0": setKind("paragraph"),
      "Mod-Alt-1": setKind("h1"),
      "Mod-Alt-2": setKind("h2"),
      "Mod-Alt-3": setKind("h3"),
      "Mod-Alt-c": setCode(),
      "Mod-Shift-7": setKind("ordered"),
      "Mod-Shift-8": setKind("bullet"),
      "Mod-Shift-9": setKind("todo"),
      "Mod-Shift-.": setKind("quote"),
      "Mod-Enter": chainCommands(exitCode, toggleCheckedHere),
      "Mod-d": undoable(duplicateBlocks),
      "Mod-a": chainCommands(selectInCode, selectAll),
      "Alt-ArrowUp": moveBlocks(-1),
      "Alt-ArrowDown": moveBlocks(1),
      "Shift-Enter": hardBreak,
      Tab: tab(1),
      "Shift-Tab": tab(-1),
      Enter: undoable(chainCommands(...enterCommands)),
      Backspace: backspace,
      "Mod-Backspace": backspace,
      "Shift-Backspace": backspace,
      Delete: deleteForward,
      ArrowDown: downOutOfCode,
    };
    return [keymap(keys), keymap(baseKeymap)];
  },
});
