/** Where one undo ends and the next begins. Yjs joins what follows within half a second; a new line is a new thought. */
import type { Command, EditorState } from "@tiptap/pm/state";
import { yUndoPluginKey } from "y-prosemirror";
import type { UndoManager } from "yjs";

export function beginUndoStep(state: EditorState): void {
  const plugin: { undoManager: UndoManager } | undefined = yUndoPluginKey.getState(state);
  plugin?.undoManager.stopCapturing();
}

/** The command, as an undo step of its own. */
export const undoable =
  (command: Command): Command =>
  (state, dispatch, view) => {
    if (dispatch) beginUndoStep(state);
    return command(state, dispatch, view);
  };
