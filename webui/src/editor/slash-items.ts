/** What the slash menu offers. */
import { type Command, TextSelection } from "@tiptap/pm/state";
import { insertDivider, setCode, setKind } from "./blocks";

export interface SlashItem {
  id: string;
  label: string;
  hint: string;
  /** Other words a person may look for. */
  keywords: string;
  run: Command;
}

export const slashItems: readonly SlashItem[] = [
  {
    id: "paragraph",
    label: "Text",
    hint: "Plain paragraph",
    keywords: "paragraph plain body",
    run: setKind("paragraph", false),
  },
  {
    id: "h1",
    label: "Heading 1",
    hint: "# and a space",
    keywords: "title h1 big",
    run: setKind("h1", false),
  },
  { id: "h2", label: "Heading 2", hint: "## and a space", keywords: "h2 section", run: setKind("h2", false) },
  {
    id: "h3",
    label: "Heading 3",
    hint: "### and a space",
    keywords: "h3 subsection",
    run: setKind("h3", false),
  },
  {
    id: "bullet",
    label: "Bulleted list",
    hint: "- and a space",
    keywords: "unordered ul points",
    run: setKind("bullet", false),
  },
  {
    id: "ordered",
    label: "Numbered list",
    hint: "1. and a space",
    keywords: "ordered ol numbers",
    run: setKind("ordered", false),
  },
  {
    id: "todo",
    label: "To-do",
    hint: "[] and a space",
    keywords: "task checkbox check",
    run: setKind("todo", false),
  },
  {
    id: "quote",
    label: "Quote",
    hint: "> and a space",
    keywords: "blockquote cite",
    run: setKind("quote", false),
  },
  {
    id: "callout",
    label: "Callout",
    hint: "A note that stands out",
    keywords: "note info tip warning box",
    run: setKind("callout", false),
  },
  {
    id: "code",
    label: "Code block",
    hint: "``` and a space",
    keywords: "source pre program",
    run: setCode(),
  },
  { id: "divider", label: "Divider", hint: "---", keywords: "line rule hr separator", run: insertDivider },
];

/** Takes the typed "/query" away and does what was chosen, in one step to undo. */
export function chooseSlashItem(item: SlashItem, from: number, to: number): Command {
  return (state, dispatch) => {
    const tr = state.tr.delete(from, to);
    tr.setSelection(TextSelection.create(tr.doc, from));
    const after = state.apply(tr);
    if (!dispatch) return true;
    item.run(after, (next) => {
      for (const step of next.steps) tr.step(step);
      tr.setSelection(
        TextSelection.between(tr.doc.resolve(next.selection.anchor), tr.doc.resolve(next.selection.head)),
      );
    });
    dispatch(tr.scrollIntoView());
    return true;
  };
}
