/** Pasting plain text: several lines become blocks, Markdown signs become kinds. One line stays a line. */
import { Fragment, type Node as PmNode, type Schema, Slice } from "@tiptap/pm/model";
import { Plugin } from "@tiptap/pm/state";
import { type Line, readMarkdownLines } from "./markdown-lines";

function nodeOf(schema: Schema, line: Line): PmNode | undefined {
  switch (line.type) {
    case "divider":
      return schema.nodes.divider?.create();
    case "code":
      return schema.nodes.code?.create(
        { language: line.language || null },
        line.text === "" ? undefined : schema.text(line.text),
      );
    case "block":
      return schema.nodes.block?.create(
        {
          kind: line.kind === "paragraph" ? null : line.kind,
          indent: line.indent || null,
          checked: line.checked || null,
        },
        line.text === "" ? undefined : schema.text(line.text),
      );
  }
}

export function pasteMarkdown(): Plugin {
  return new Plugin({
    props: {
      /** Into an empty block, a heading arrives as a heading: its kind comes along with its words. */
      transformPasted(slice, view) {
        const { $from, empty } = view.state.selection;
        const first = slice.content.firstChild;
        const intoEmpty = empty && $from.parent.type.name === "block" && $from.parent.content.size === 0;
        if (!intoEmpty || slice.openStart !== 1 || !first?.attrs.kind) return slice;
        const single = slice.content.childCount === 1;
        return new Slice(slice.content, 0, single ? 0 : slice.openEnd);
      },
      clipboardTextParser(text, $context, plain, view) {
        const { schema } = view.state;
        if ($context.parent.type.name === "code" || !/\n/.test(text.trim())) {
          return new Slice(text === "" ? Fragment.empty : Fragment.from(schema.text(text)), 0, 0);
        }
        const lines = plain
          ? text
              .split(/\r?\n/)
              .filter((line) => line.trim() !== "")
              .map(
                (line): Line => ({ type: "block", kind: "paragraph", indent: 0, checked: false, text: line }),
              )
          : readMarkdownLines(text);
        const nodes = lines.flatMap((line) => nodeOf(schema, line) ?? []);
        const [first] = nodes;
        const last = nodes.at(-1);
        const open = (node: PmNode | undefined) =>
          node?.type.name === "block" && node.attrs.kind === null ? 1 : 0;
        return new Slice(Fragment.from(nodes), open(first), open(last));
      },
    },
  });
}
