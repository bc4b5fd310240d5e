/**
 * One page on one screen: TipTap bound to a Y.Doc, and the guard in front of it (see `grammar`).
 *
 * Invariants:
 *  1. Nothing reaches y-prosemirror that the current schema cannot carry: the guard looks at each remote change
 *     before the binding's observer does, and lets go of the document first.
 *  2. Mounting writes nothing.
 *  3. Undo takes back only what was done in this editor.
 */
import { type Content, Editor, Extension, type Extensions } from "@tiptap/core";
import { dropCursor } from "@tiptap/pm/dropcursor";
import { type Command, NodeSelection, Plugin, Selection, TextSelection } from "@tiptap/pm/state";
import { dropPoint } from "@tiptap/pm/transform";
import type { EditorView } from "@tiptap/pm/view";
import { initProseMirrorDoc, yCursorPlugin, ySyncPlugin, ySyncPluginKey, yUndoPlugin } from "y-prosemirror";
import type { Awareness } from "y-protocols/awareness";
import type * as Y from "yjs";
import { readPresenceUser } from "../model/presence";
import { createStore, type ReadableStore, type Store } from "../model/store";
import { emptyPagePlugin } from "./empty-page";
import {
  copyExtras,
  type Extras,
  scan,
  scanTransaction,
  schema_version,
  schemaVersionOf,
  weight,
} from "./grammar";
import { MarkdownPrefixes } from "./input-rules";
import { PageKeymap } from "./keymap";
import { pageMarks } from "./marks";
import { moveBlockTo } from "./moving";
import { nameCode, pageNodes } from "./nodes";
import { pasteMarkdown } from "./paste";
import { safeHref } from "./safe-href";
import { createSurface, handleAt, type Surface, surfacePlugin } from "./surface";
import { todoPlugin } from "./todo";
import { beginUndoStep } from "./undo-steps";

export type PageMode =
  | { kind: "editing" }
  /** Shown without an editor. */
  | { kind: "reading"; reason: "newer" | "unknown_structure" };

export interface PageEditorOptions {
  doc: Y.Doc;
  awareness: Awareness;
  label: string;
  /** Ctrl/Cmd-K on a selection, and Alt-F10. */
  onLinkKey: () => void;
  onBarKey: () => void;
}

type BindingMapping = ReturnType<typeof initProseMirrorDoc>["mapping"];

function cursorElement(user: unknown): HTMLElement {
  const { name, color } = readPresenceUser({ user }) ?? { name: "Somebody", color: "#6b6b6b" };
  const cursor = document.createElement("span");
  cursor.className = "remote-cursor";
  cursor.style.setProperty("--presence", color);
  // Drawn by the style sheet, so that a name is never part of the page's text.
  cursor.dataset.name = name;
  return cursor;
}

/** A whole block dropped between blocks moves in the shared document; anything else is ProseMirror's. */
function dropBlocks(): Plugin {
  return new Plugin({
    props: {
      handleDrop(view, event, slice, moved) {
        const { selection } = view.state;
        if (!moved || !(selection instanceof NodeSelection) || selection.$from.depth > 0) return false;
        const at = view.posAtCoords({ left: event.clientX, top: event.clientY });
        const target = at ? dropPoint(view.state.doc, at.pos, slice) : null;
        if (target === null) return false;
        const pos = moveBlockTo(view.state, selection.from, target);
        if (pos === null) return false;
        if (view.state.doc.nodeAt(pos)) {
          view.dispatch(view.state.tr.setSelection(NodeSelection.create(view.state.doc, pos)));
        }
        view.focus();
        return true;
      },
    },
  });
}

function selectionAttributes(user: unknown) {
  const { color } = readPresenceUser({ user }) ?? { color: "#6b6b6b" };
  return { class: "remote-selection", style: `--presence: ${color}` };
}

function collaboration(body: Y.XmlFragment, awareness: Awareness): Extension {
  let mapping: BindingMapping | undefined;
  return Extension.create({
    name: "collaboration",
    priority: 1000,
    /** The editor starts with the shared content instead of being emptied into it: one rendering, no stray selection. */
    onBeforeCreate() {
      nameCode(this.editor);
      const initial = initProseMirrorDoc(body, this.editor.schema);
      // A ProseMirror node is taken as it is; TipTap's type of `content` only does not say so.
      this.editor.options.content = initial.doc as unknown as Content;
      mapping = initial.mapping;
    },
    addProseMirrorPlugins: () => [
      ySyncPlugin(body, mapping ? { mapping } : {}),
      yCursorPlugin(awareness, {
        cursorBuilder: cursorElement,
        selectionBuilder: (user) => selectionAttributes(user),
      }),
      yUndoPlugin({ protectedNodes: new Set(["block", "code"]) }),
    ],
  });
}

export function pageExtensions(extras: Extras): Extensions {
  return [...pageNodes(extras), ...pageMarks(extras), MarkdownPrefixes, PageKeymap];
}

export class PageEditor {
  readonly surface: Store<Surface> = createSurface();
  readonly #options: PageEditorOptions;
  readonly #mode: Store<PageMode>;
  readonly #body: Y.XmlFragment;
  #extras: Extras;
  #editor: Editor | null = null;
  #host: HTMLElement | null = null;
  #editable = true;

  constructor(options: PageEditorOptions) {
    this.#options = options;
    this.#body = options.doc.getXmlFragment("body");
    this.#extras = scan(this.#body);
    this.#mode = createStore<PageMode>(this.#judge());
  }

  get mode(): ReadableStore<PageMode> {
    return this.#mode;
  }

  get body(): Y.XmlFragment {
    return this.#body;
  }

  get view(): EditorView | null {
    return this.#editor?.isDestroyed === false ? this.#editor.view : null;
  }

  #judge(): PageMode {
    if (schemaVersionOf(this.#options.doc) > schema_version) return { kind: "reading", reason: "newer" };
    if (this.#extras.violations.length > 0) return { kind: "reading", reason: "unknown_structure" };
    return { kind: "editing" };
  }

  /** Shows the editor in `host`; the returned function takes it away again. */
  attach(host: HTMLElement): () => void {
    this.#host = host;
    this.#options.doc.on("beforeObserverCalls", this.#guard);
    this.#mount();
    return () => {
      this.#options.doc.off("beforeObserverCalls", this.#guard);
      this.#unmount();
      this.#host = null;
    };
  }

  setEditable(editable: boolean): void {
    this.#editable = editable;
    this.#editor?.setEditable(editable, false);
  }

  focus(where: "start" | "end"): void {
    const view = this.view;
    if (!view) return;
    const { doc, tr } = view.state;
    if (doc.childCount > 0) {
      view.dispatch(
        tr.setSelection(where === "start" ? Selection.atStart(doc) : Selection.atEnd(doc)).scrollIntoView(),
      );
    }
    view.focus();
  }

  run(command: Command): boolean {
    const view = this.view;
    if (!view?.editable) return false;
    beginUndoStep(view.state);
    const done = command(view.state, view.dispatch, view);
    view.focus();
    return done;
  }

  /** Null takes the link off. False: that is no address a link may have. */
  setLink(text: string | null): boolean {
    const href = text === null ? null : safeHref(text);
    if (text !== null && href === null) return false;
    return this.run((state, dispatch) => {
      const type = state.schema.marks.link;
      const { from, to } = state.selection;
      if (!type || from === to) return false;
      const tr = state.tr.removeMark(from, to, type);
      if (href !== null) tr.addMark(from, to, type.create({ href }));
      dispatch?.(tr);
      return true;
    });
  }

  pointAt(clientY: number): void {
    const view = this.view;
    if (!view?.editable) return;
    const handle = handleAt(view, clientY);
    const current = this.surface.get().handle;
    if (current?.pos === handle?.pos && current?.top === handle?.top) return;
    this.surface.update((surface) => ({ ...surface, handle }));
  }

  clearHandle(): void {
    this.surface.update((surface) => (surface.handle ? { ...surface, handle: null } : surface));
  }

  selectBlock(pos: number): void {
    const view = this.view;
    if (!view?.state.doc.nodeAt(pos)) return;
    view.dispatch(view.state.tr.setSelection(NodeSelection.create(view.state.doc, pos)));
  }

  /** An empty block below, with the menu of kinds open in it. */
  insertBelow(pos: number): void {
    const view = this.view;
    const node = view?.state.doc.nodeAt(pos);
    const paragraph = view?.state.schema.nodes.block?.create();
    if (!view?.editable || !node || !paragraph) return;
    const isEmpty = node.type.name === "block" && node.content.size === 0;
    const at = isEmpty ? pos : pos + node.nodeSize;
    const tr = isEmpty ? view.state.tr : view.state.tr.insert(at, paragraph);
    view.dispatch(tr.setSelection(TextSelection.create(tr.doc, at + 1)).scrollIntoView());
    view.focus();
    const handled = view.someProp("handleTextInput", (handle) =>
      handle(view, at + 1, at + 1, "/", () => view.state.tr.insertText("/")),
    );
    if (!handled) view.dispatch(view.state.tr.insertText("/"));
  }

  /** The handle is outside the editor's element, so ProseMirror is told what is being dragged. */
  startDrag(pos: number, transfer: DataTransfer): void {
    const view = this.view;
    if (!view) return;
    this.selectBlock(pos);
    const slice = view.state.selection.content();
    const { dom, text } = view.serializeForClipboard(slice);
    transfer.clearData();
    transfer.setData("text/html", dom.innerHTML);
    transfer.setData("text/plain", text);
    transfer.effectAllowed = "move";
    const block = view.nodeDOM(pos);
    if (block instanceof HTMLElement) transfer.setDragImage(block, 0, 0);
    view.dragging = { slice, move: true };
  }

  endDrag(): void {
    const view = this.view;
    if (view) view.dragging = null;
  }

  #mount(): void {
    if (!this.#host || this.#mode.get().kind !== "editing") return;
    const { awareness, label, onLinkKey, onBarKey } = this.#options;
    const surface = this.surface;
    this.#editor = new Editor({
      element: this.#host,
      editable: this.#editable,
      injectCSS: false,
      enableCoreExtensions: { keymap: false, delete: false, drop: false, paste: false, textDirection: false },
      extensions: [
        ...pageExtensions(this.#extras),
        collaboration(this.#body, awareness),
        Extension.create({
          name: "surface",
          priority: 900,
          addProseMirrorPlugins: () => [
            surfacePlugin(surface, { onLinkKey, onBarKey }),
            emptyPagePlugin(),
            todoPlugin(),
            pasteMarkdown(),
            dropBlocks(),
            dropCursor({ color: false, class: "drop-line", width: 2 }),
          ],
        }),
      ],
      editorProps: {
        attributes: {
          class: "page-body",
          role: "textbox",
          "data-testid": "page-editor",
          "aria-label": label,
          "aria-multiline": "true",
          spellcheck: "true",
        },
      },
    });
  }

  #unmount(): void {
    this.#editor?.destroy();
    this.#editor = null;
  }

  #guard = (transaction: Y.Transaction): void => {
    if (transaction.origin === ySyncPluginKey) return;
    const extras = copyExtras(this.#extras);
    scanTransaction(this.#body, transaction, extras);
    const grown = weight(extras) !== weight(this.#extras);
    const newer = schemaVersionOf(this.#options.doc) > schema_version;
    if ((!grown && !newer) || this.#mode.get().kind === "reading") {
      this.#extras = extras;
      return;
    }
    this.#extras = extras;
    const focused = this.view?.hasFocus() ?? false;
    this.#unmount();
    this.#mode.set(this.#judge());
    queueMicrotask(() => {
      if (this.#editor || !this.#host) return;
      this.#mount();
      if (focused) this.view?.focus();
    });
  };
}
