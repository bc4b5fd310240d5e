/**
 * A page may be empty: no block at all, because opening must not write. The first thing a person types makes the
 * first block; until then a placeholder is drawn by the style sheet.
 */
import { Plugin, Selection, TextSelection } from "@tiptap/pm/state";
import type { EditorView } from "@tiptap/pm/view";
import { beginPage } from "./blocks";

const begin = (view: EditorView): boolean => view.editable && beginPage(view.state, view.dispatch);

export function emptyPagePlugin(): Plugin {
  return new Plugin({
    props: {
      attributes: (state): Record<string, string> =>
        state.doc.childCount === 0 ? { "data-empty": "true" } : {},
      handleTextInput(view, _from, _to, text) {
        if (!begin(view)) return false;
        view.dispatch(view.state.tr.insertText(text));
        return true;
      },
      handlePaste(view) {
        begin(view);
        return false;
      },
      handleDOMEvents: {
        beforeinput(view, event) {
          if (view.state.doc.childCount > 0 || !view.editable) return false;
          if (event.inputType !== "insertText" || event.data === null) return false;
          event.preventDefault();
          begin(view);
          const text = event.data;
          const { from, to } = view.state.selection;
          const handled = view.someProp("handleTextInput", (handle) =>
            handle(view, from, to, text, () => view.state.tr.insertText(text)),
          );
          if (!handled) view.dispatch(view.state.tr.insertText(text));
          return true;
        },
        compositionstart(view) {
          begin(view);
          return false;
        },
        /** Below the last block there is only paper: a click there means "go on writing". */
        mousedown(view, event) {
          const { doc } = view.state;
          const last = view.dom.lastElementChild?.getBoundingClientRect();
          if (event.button !== 0 || !view.editable || !last || event.clientY <= last.bottom + 4) return false;
          event.preventDefault();
          const node = doc.lastChild;
          const tr = view.state.tr;
          const paragraph = view.state.schema.nodes.block;
          if (node && node.type.name !== "block" && paragraph) {
            tr.insert(doc.content.size, paragraph.create());
            tr.setSelection(TextSelection.create(tr.doc, tr.doc.content.size - 1));
          } else tr.setSelection(Selection.atEnd(doc));
          view.dispatch(tr.scrollIntoView());
          view.focus();
          return true;
        },
      },
    },
  });
}
