/** The box of a to-do: a click ticks it; so do Space and Enter when it has the focus. */
import { Plugin } from "@tiptap/pm/state";
import type { EditorView } from "@tiptap/pm/view";
import { toggleChecked } from "./blocks";

function toggleBox(view: EditorView, target: EventTarget | null): boolean {
  if (!(target instanceof Element) || !target.classList.contains("check")) return false;
  const block = target.closest("[data-kind=todo]");
  if (!block || !view.editable) return false;
  const pos = view.posAtDOM(block, 0) - 1;
  return toggleChecked(pos)(view.state, view.dispatch);
}

export function todoPlugin(): Plugin {
  return new Plugin({
    props: {
      handleDOMEvents: {
        mousedown(view, event) {
          if (!(event.target instanceof Element) || !event.target.classList.contains("check")) return false;
          event.preventDefault();
          toggleBox(view, event.target);
          return true;
        },
        keydown(view, event) {
          if (event.key !== " " && event.key !== "Enter") return false;
          if (!toggleBox(view, event.target)) return false;
          event.preventDefault();
          return true;
        },
      },
    },
  });
}
