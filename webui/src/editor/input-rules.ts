/** Markdown at the start of a block: typed, then a space. */
import { Extension, InputRule } from "@tiptap/core";
import type { Command, EditorState } from "@tiptap/pm/state";
import { insertDivider, setCode, setKindOn } from "./blocks";
import type { BlockKind } from "./kinds";
import { readKind } from "./kinds";
import { beginUndoStep } from "./undo-steps";

interface Prefix {
  find: RegExp;
  kind: BlockKind;
}

const prefixes: readonly Prefix[] = [
  { find: /^#\s$/, kind: "h1" },
  { find: /^##\s$/, kind: "h2" },
  { find: /^###\s$/, kind: "h3" },
  { find: /^[-*+]\s$/, kind: "bullet" },
  { find: /^\d{1,3}[.)]\s$/, kind: "ordered" },
  { find: /^\[( |x|X)?\]\s$/, kind: "todo" },
  { find: /^>\s$/, kind: "quote" },
];

/** TipTap collects a rule's steps in one transaction; reading `tr` again brings the state up to it. */
function onward(state: EditorState, command: Command): void {
  void state.tr;
  command(state, () => undefined);
}

export const MarkdownPrefixes = Extension.create({
  name: "markdownPrefixes",
  addInputRules() {
    const { editor } = this;
    return [
      ...prefixes.map(
        ({ find, kind }) =>
          new InputRule({
            find,
            handler({ state, range, match }) {
              const $from = state.doc.resolve(range.from);
              if ($from.parent.type.name !== "block" || readKind($from.parent.attrs.kind) === kind)
                return null;
              const pos = $from.before(1);
              beginUndoStep(editor.state);
              const tr = state.tr.delete(range.from, range.to);
              setKindOn(tr, pos, kind);
              if (kind === "todo" && /x/i.test(match[1] ?? "")) tr.setNodeAttribute(pos, "checked", true);
              return undefined;
            },
          }),
      ),
      new InputRule({
        find: /^```([\w+#.-]*)\s$/,
        handler({ state, range, match }) {
          beginUndoStep(editor.state);
          state.tr.delete(range.from, range.to);
          onward(state, setCode(match[1] || null));
        },
      }),
      new InputRule({
        find: /^(?:---|\*\*\*|___)$/,
        handler({ state, range }) {
          beginUndoStep(editor.state);
          state.tr.delete(range.from, range.to);
          onward(state, insertDivider);
        },
      }),
    ];
  },
});
