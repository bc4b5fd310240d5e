/** Text documents: CodeMirror 6 on the Y.Text named `text`. Loaded only when one is opened. */
import { defaultKeymap, indentWithTab } from "@codemirror/commands";
import { markdown, markdownLanguage } from "@codemirror/lang-markdown";
import { HighlightStyle, syntaxHighlighting } from "@codemirror/language";
import { Compartment, EditorState } from "@codemirror/state";
import { drawSelection, EditorView, highlightSpecialChars, keymap, placeholder } from "@codemirror/view";
import { tags } from "@lezer/highlight";
import { yCollab, yUndoManagerKeymap } from "y-codemirror.next";
import type { Awareness } from "y-protocols/awareness";
import * as Y from "yjs";

/** Class names only: the colours are in the style sheet, once per theme. */
const highlight = HighlightStyle.define([
  { tag: tags.heading1, class: "md-heading md-heading-1" },
  { tag: tags.heading2, class: "md-heading md-heading-2" },
  { tag: tags.heading, class: "md-heading" },
  { tag: tags.strong, class: "md-strong" },
  { tag: tags.emphasis, class: "md-emphasis" },
  { tag: tags.strikethrough, class: "md-strike" },
  { tag: tags.link, class: "md-link" },
  { tag: tags.url, class: "md-url" },
  { tag: tags.monospace, class: "md-code" },
  { tag: tags.quote, class: "md-quote" },
  { tag: tags.list, class: "md-list" },
  { tag: [tags.processingInstruction, tags.contentSeparator, tags.meta], class: "md-sign" },
  { tag: [tags.keyword, tags.operatorKeyword], class: "code-keyword" },
  { tag: [tags.string, tags.special(tags.string)], class: "code-string" },
  { tag: tags.comment, class: "code-comment" },
  { tag: [tags.number, tags.bool, tags.atom], class: "code-number" },
]);

export interface TextEditorOptions {
  doc: Y.Doc;
  awareness: Awareness;
  label: string;
  editable: boolean;
}

export interface TextEditor {
  setEditable(editable: boolean): void;
  focus(): void;
  destroy(): void;
}

const access = (editable: boolean) => [EditorState.readOnly.of(!editable), EditorView.editable.of(editable)];

export function createTextEditor(host: HTMLElement, options: TextEditorOptions): TextEditor {
  const text = options.doc.getText("text");
  const undoManager = new Y.UndoManager(text);
  const editable = new Compartment();
  const view = new EditorView({
    parent: host,
    state: EditorState.create({
      doc: text.toString(),
      extensions: [
        highlightSpecialChars(),
        drawSelection(),
        EditorView.lineWrapping,
        EditorState.allowMultipleSelections.of(true),
        markdown({ base: markdownLanguage }),
        syntaxHighlighting(highlight),
        placeholder("Write, in Markdown or plainly"),
        keymap.of([...yUndoManagerKeymap, indentWithTab, ...defaultKeymap]),
        yCollab(text, options.awareness, { undoManager }),
        editable.of(access(options.editable)),
        EditorView.contentAttributes.of({
          "data-testid": "text-editor",
          "aria-label": options.label,
          spellcheck: "true",
        }),
      ],
    }),
  });
  return {
    setEditable: (value) => view.dispatch({ effects: editable.reconfigure(access(value)) }),
    focus: () => view.focus(),
    destroy() {
      view.destroy();
      undoManager.destroy();
    },
  };
}
