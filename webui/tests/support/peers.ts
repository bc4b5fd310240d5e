/** Page editors without a screen: typing, keys, and two peers whose line can be cut. */

import { TextSelection } from "@tiptap/pm/state";
import type { EditorView } from "@tiptap/pm/view";
import { Awareness } from "y-protocols/awareness";
import * as Y from "yjs";
import { readIndent, readKind } from "../../src/editor/kinds";
import { PageEditor } from "../../src/editor/page-editor";

// jsdom draws nothing: what ProseMirror measures is nowhere, and it knows no clipboard.
Range.prototype.getClientRects = () => [] as unknown as DOMRectList;
Range.prototype.getBoundingClientRect = () => new DOMRect();
globalThis.ClipboardEvent ??= class extends Event {} as unknown as typeof ClipboardEvent;
globalThis.DOMRect ??= class {
  bottom = 0;
  left = 0;
  right = 0;
  top = 0;
} as unknown as typeof DOMRect;

export class Writer {
  readonly doc: Y.Doc;
  readonly editor: PageEditor;
  readonly #detach: () => void;
  readonly #awareness: Awareness;
  readonly host = document.createElement("div");

  constructor(doc = new Y.Doc()) {
    this.doc = doc;
    this.#awareness = new Awareness(doc);
    document.body.append(this.host);
    this.editor = new PageEditor({
      doc,
      awareness: this.#awareness,
      label: "page",
      onLinkKey: () => undefined,
      onBarKey: () => undefined,
    });
    this.#detach = this.editor.attach(this.host);
  }

  get view(): EditorView {
    const view = this.editor.view;
    if (!view) throw new Error("there is no editor here");
    return view;
  }

  type(text: string): this {
    for (const letter of text) {
      const { from, to } = this.view.state.selection;
      const insert = () => this.view.state.tr.insertText(letter, from, to);
      const handled = this.view.someProp("handleTextInput", (handle) =>
        handle(this.view, from, to, letter, insert),
      );
      if (!handled) this.view.dispatch(insert());
    }
    return this;
  }

  press(key: string, modifiers: KeyboardEventInit = {}): this {
    const event = new KeyboardEvent("keydown", { key, bubbles: true, cancelable: true, ...modifiers });
    this.view.someProp("handleKeyDown", (handle) => handle(this.view, event));
    return this;
  }

  /** Puts the cursor into the block with this number, at an offset; from the end when negative. */
  at(block: number, offset = -1): this {
    const { doc, tr } = this.view.state;
    let pos = 0;
    for (let index = 0; index < block; index += 1) pos += doc.child(index).nodeSize;
    const size = doc.child(block).content.size;
    const inside = offset < 0 ? size + offset + 1 : offset;
    this.view.dispatch(tr.setSelection(TextSelection.create(doc, pos + 1 + inside)));
    return this;
  }

  selectAll(): this {
    const { doc, tr } = this.view.state;
    this.view.dispatch(tr.setSelection(TextSelection.create(doc, 1, doc.content.size - 1)));
    return this;
  }

  /** "kind+indent: text" per block; "[x]" for a ticked to-do. */
  get lines(): string[] {
    const lines: string[] = [];
    this.view.state.doc.forEach((node) => {
      const kind = node.type.name === "block" ? readKind(node.attrs.kind) : node.type.name;
      const indent = readIndent(node.attrs.indent);
      const tick = node.attrs.checked === true ? "[x]" : "";
      lines.push(
        `${kind}${indent > 0 ? `+${indent}` : ""}${tick}: ${node.textBetween(0, node.content.size, "|", "\\n")}`,
      );
    });
    return lines;
  }

  close(): void {
    this.#detach();
    this.#awareness.destroy();
    this.host.remove();
  }
}

/** Two writers of one page. While apart, neither hears the other; `meet` exchanges what each lacks. */
export class Pair {
  readonly a: Writer;
  readonly b: Writer;
  #together = false;

  constructor(seed?: (doc: Y.Doc) => void) {
    const first = new Y.Doc();
    seed?.(first);
    const second = new Y.Doc();
    Y.applyUpdate(second, Y.encodeStateAsUpdate(first));
    this.a = new Writer(first);
    this.b = new Writer(second);
    first.on("update", (update: Uint8Array, origin: unknown) => {
      if (this.#together && origin !== this) Y.applyUpdate(second, update, this);
    });
    second.on("update", (update: Uint8Array, origin: unknown) => {
      if (this.#together && origin !== this) Y.applyUpdate(first, update, this);
    });
  }

  meet(): this {
    const [a, b] = [this.a.doc, this.b.doc];
    Y.applyUpdate(b, Y.encodeStateAsUpdate(a, Y.encodeStateVector(b)), this);
    Y.applyUpdate(a, Y.encodeStateAsUpdate(b, Y.encodeStateVector(a)), this);
    // What one editor repairs on hearing the other has to arrive as well.
    Y.applyUpdate(b, Y.encodeStateAsUpdate(a, Y.encodeStateVector(b)), this);
    this.#together = true;
    return this;
  }

  part(): this {
    this.#together = false;
    return this;
  }

  close(): void {
    this.a.close();
    this.b.close();
  }
}

export function block(text: string, attributes: Record<string, unknown> = {}): Y.XmlElement {
  const element = new Y.XmlElement("block");
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value as string);
  element.insert(0, [new Y.XmlText(text)]);
  return element;
}

export const seeded =
  (...elements: (() => Y.XmlElement)[]) =>
  (doc: Y.Doc) =>
    doc.getXmlFragment("body").insert(
      0,
      elements.map((make) => make()),
    );
