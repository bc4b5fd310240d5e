/**
 * What floats above the page: the format bar, the slash menu, the block handle. Computed here from the editor's
 * state, drawn by components.
 */
import type { EditorState } from "@tiptap/pm/state";
import { Plugin, TextSelection } from "@tiptap/pm/state";
import type { EditorView } from "@tiptap/pm/view";
import { rank } from "../model/matching";
import { createStore, type Store } from "../model/store";
import { topBlock } from "./blocks";
import { type BlockKind, readKind } from "./kinds";
import { chooseSlashItem, type SlashItem, slashItems } from "./slash-items";
import { undoable } from "./undo-steps";

export interface Box {
  left: number;
  top: number;
  right: number;
  bottom: number;
}

export interface FormatBar {
  box: Box;
  kind: BlockKind | "code" | null;
  marks: ReadonlySet<string>;
  href: string | null;
}

export interface SlashMenu {
  box: Box;
  query: string;
  items: readonly SlashItem[];
  index: number;
  from: number;
  to: number;
}

export interface BlockHandle {
  pos: number;
  top: number;
  left: number;
  height: number;
}

export interface Surface {
  bar: FormatBar | null;
  slash: SlashMenu | null;
  handle: BlockHandle | null;
}

export const bareSurface: Surface = { bar: null, slash: null, handle: null };
export const createSurface = (): Store<Surface> => createStore<Surface>(bareSurface);

export const slash_list_id = "slash-menu";
export const slashOptionId = (item: SlashItem): string => `slash-${item.id}`;

function selectionBox(view: EditorView): Box {
  const { from, to } = view.state.selection;
  const start = view.coordsAtPos(from);
  const end = view.coordsAtPos(to, -1);
  const sameLine = Math.abs(start.top - end.top) < 4;
  return {
    left: sameLine ? start.left : Math.min(start.left, end.left),
    right: sameLine ? end.right : Math.max(start.right, end.right),
    top: start.top,
    bottom: end.bottom,
  };
}

export function activeMarks(state: EditorState): Set<string> {
  const { from, to, $from, empty } = state.selection;
  const found = new Set<string>();
  if (empty) {
    for (const one of state.storedMarks ?? $from.marks()) found.add(one.type.name);
    return found;
  }
  for (const [name, type] of Object.entries(state.schema.marks)) {
    if (state.doc.rangeHasMark(from, to, type)) found.add(name);
  }
  return found;
}

export function hrefAt(state: EditorState): string | null {
  const type = state.schema.marks.link;
  if (!type) return null;
  let href: string | null = null;
  const { from, to, $from } = state.selection;
  const take = (value: unknown) => {
    if (typeof value === "string") href ??= value;
  };
  if (from === to) take(type.isInSet($from.marks())?.attrs.href);
  else state.doc.nodesBetween(from, to, (node) => take(type.isInSet(node.marks)?.attrs.href));
  return href;
}

export function barFor(view: EditorView): FormatBar | null {
  const { state } = view;
  const { selection } = state;
  if (!(selection instanceof TextSelection) || selection.empty || !view.editable) return null;
  if (state.doc.textBetween(selection.from, selection.to, " ").trim() === "") return null;
  const block = topBlock(selection.$from);
  if (selection.$from.parent.type.name === "code") return null;
  const name = block?.node.type.name;
  return {
    box: selectionBox(view),
    kind: name === "block" ? readKind(block?.node.attrs.kind) : name === "code" ? "code" : null,
    marks: activeMarks(state),
    href: hrefAt(state),
  };
}

const slashQuery = /(?:^|\s)\/([\p{L}\p{N} -]{0,24})$/u;

/** The "/query" before the cursor. */
function slashAt(state: EditorState): { query: string; from: number; to: number } | null {
  const { selection } = state;
  if (!(selection instanceof TextSelection) || !selection.$cursor || selection.$cursor.depth !== 1)
    return null;
  const { $cursor } = selection;
  if ($cursor.parent.type.name !== "block") return null;
  const match = slashQuery.exec($cursor.parent.textBetween(0, $cursor.parentOffset, "\n", "\ufffc"));
  const query = match?.[1];
  if (query === undefined) return null;
  return { query, from: $cursor.pos - query.length - 1, to: $cursor.pos };
}

function slashFor(view: EditorView, previous: SlashMenu | null): SlashMenu | null {
  const at = slashAt(view.state);
  if (!at) return null;
  const items = rank(at.query, slashItems, (item) => `${item.label} ${item.keywords}`);
  if (items.length === 0) return null;
  const index = previous && previous.query === at.query ? Math.min(previous.index, items.length - 1) : 0;
  return { ...at, items, index, box: view.coordsAtPos(at.from) };
}

/** Tells assistive technology which menu entry the keys are on while the focus stays in the text. */
function announce(view: EditorView, slash: SlashMenu | null): void {
  const item = slash?.items[slash.index];
  if (slash && item) {
    view.dom.setAttribute("aria-controls", slash_list_id);
    view.dom.setAttribute("aria-activedescendant", slashOptionId(item));
  } else {
    view.dom.removeAttribute("aria-controls");
    view.dom.removeAttribute("aria-activedescendant");
  }
}

export interface SurfaceHooks {
  onLinkKey: () => void;
  onBarKey: () => void;
}

export function surfacePlugin(store: Store<Surface>, hooks: SurfaceHooks): Plugin {
  let slashOn = false;
  const setSlash = (view: EditorView, slash: SlashMenu | null) => {
    if (slash === null) slashOn = false;
    store.update((current) => (current.slash === slash ? current : { ...current, slash }));
    announce(view, slash);
  };
  const refresh = (view: EditorView) => {
    const bar = view.hasFocus() || store.get().bar ? barFor(view) : null;
    store.update((current) => (current.bar === null && bar === null ? current : { ...current, bar }));
    const slash = slashOn ? slashFor(view, store.get().slash) : null;
    if (slash !== store.get().slash) setSlash(view, slash);
  };
  return new Plugin({
    view(view) {
      // Following the text while something scrolls below it.
      const follow = () => {
        const { bar, slash, handle } = store.get();
        if (bar || slash) refresh(view);
        if (handle) store.update((current) => ({ ...current, handle: null }));
      };
      window.addEventListener("scroll", follow, true);
      window.addEventListener("resize", follow);
      return {
        update: (updated, before) => {
          if (updated.state.doc !== before.doc || !updated.state.selection.eq(before.selection))
            refresh(updated);
        },
        destroy() {
          window.removeEventListener("scroll", follow, true);
          window.removeEventListener("resize", follow);
          store.set(bareSurface);
        },
      };
    },
    props: {
      handleTextInput(_view, _from, _to, text) {
        if (text === "/") slashOn = true;
        return false;
      },
      handleKeyDown(view, event) {
        const { slash, bar } = store.get();
        if (
          (event.ctrlKey || event.metaKey) &&
          event.key.toLowerCase() === "k" &&
          !view.state.selection.empty
        ) {
          event.preventDefault();
          event.stopPropagation();
          hooks.onLinkKey();
          return true;
        }
        if (event.altKey && event.key === "F10" && bar) {
          hooks.onBarKey();
          return true;
        }
        if (!slash) {
          if (event.key === "Escape") {
            view.dom.blur();
            return true;
          }
          return false;
        }
        const move = (step: number) => {
          const count = slash.items.length;
          setSlash(view, { ...slash, index: (slash.index + step + count) % count });
          return true;
        };
        switch (event.key) {
          case "ArrowDown":
            return move(1);
          case "ArrowUp":
            return move(-1);
          case "Escape":
            setSlash(view, null);
            return true;
          case "Enter":
          case "Tab": {
            const item = slash.items[slash.index];
            setSlash(view, null);
            return item
              ? undoable(chooseSlashItem(item, slash.from, slash.to))(view.state, view.dispatch)
              : false;
          }
          default:
            return false;
        }
      },
      handleDOMEvents: {
        blur(view, event) {
          setSlash(view, null);
          const next = event.relatedTarget;
          if (!(next instanceof Element && next.closest("[data-floating]"))) {
            store.update((current) => (current.bar ? { ...current, bar: null } : current));
          }
          return false;
        },
        focus(view) {
          refresh(view);
          return false;
        },
      },
    },
  });
}

/** The block beside the pointer, for the handle in the margin. */
export function handleAt(view: EditorView, clientY: number): BlockHandle | null {
  const page = view.dom.getBoundingClientRect();
  const hit = view.posAtCoords({ left: page.left + page.width / 2, top: clientY });
  if (!hit) return null;
  const inside = hit.inside >= 0 ? hit.inside : hit.pos;
  const $pos = view.state.doc.resolve(Math.min(inside, view.state.doc.content.size));
  const pos = $pos.depth > 0 ? $pos.before(1) : $pos.pos;
  const dom = view.nodeDOM(pos);
  if (!(dom instanceof HTMLElement) || !view.state.doc.nodeAt(pos)) return null;
  const box = dom.getBoundingClientRect();
  const line = Number.parseFloat(getComputedStyle(dom).lineHeight) || 28;
  const padding = Number.parseFloat(getComputedStyle(dom).paddingTop) || 0;
  return { pos, top: box.top + padding, left: box.left, height: Math.min(line, box.height) };
}
