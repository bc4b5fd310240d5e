/**
 * A page as Markdown without an editor and without the daemon: for saving words to a file when nothing else can
 * take them. Reads the Y tree only. Every word is in it; of the shape as much as Markdown has signs for.
 */
import * as Y from "yjs";
import { type BlockKind, readIndent, readKind } from "./kinds";

const before: Readonly<Record<BlockKind, string>> = {
  paragraph: "",
  h1: "# ",
  h2: "## ",
  h3: "### ",
  bullet: "- ",
  ordered: "1. ",
  todo: "- [ ] ",
  quote: "> ",
  callout: "> ",
};

const signs: readonly (readonly [mark: string, sign: string])[] = [
  ["code", "`"],
  ["bold", "**"],
  ["italic", "*"],
  ["strike", "~~"],
];

/** Signs stand next to a letter, not next to a space: "**so** ", never "**so **". */
function signed(text: string, attributes: Record<string, unknown>): string {
  const words = text.trim();
  if (words === "") return text;
  let inner = words;
  for (const [mark, sign] of signs) if (attributes[mark]) inner = `${sign}${inner}${sign}`;
  const href = (attributes.link as { href?: unknown } | undefined)?.href;
  if (typeof href === "string") inner = `[${inner}](${href})`;
  return text.replace(words, () => inner);
}

interface Part {
  insert: unknown;
  attributes?: Record<string, unknown>;
}

function inline(parent: Y.XmlFragment, isPlain: boolean): string {
  return parent
    .toArray()
    .map((child) => {
      if (child instanceof Y.XmlText) {
        return (child.toDelta() as Part[])
          .map(({ insert, attributes = {} }) => {
            if (typeof insert !== "string") return "";
            return isPlain ? insert : signed(insert, attributes);
          })
          .join("");
      }
      if (!(child instanceof Y.XmlElement)) return "";
      return child.nodeName === "hard_break" ? "\n" : inline(child, isPlain);
    })
    .join("");
}

function blockOf(element: Y.XmlElement): string {
  const attributes = element.getAttributes() as Record<string, unknown>;
  if (element.nodeName === "divider") return "---";
  if (element.nodeName === "code") {
    return `\`\`\`${String(attributes.language ?? "")}\n${inline(element, true)}\n\`\`\``;
  }
  if (element.nodeName === "table") {
    const rows = element.toArray().filter((row) => row instanceof Y.XmlElement);
    return rows
      .map((row) =>
        row
          .toArray()
          .map((cell) => (cell instanceof Y.XmlElement ? inline(cell, false) : ""))
          .join(" | "),
      )
      .join("\n");
  }
  const kind = readKind(attributes.kind);
  const sign = kind === "todo" && attributes.checked === true ? "- [x] " : before[kind];
  return "  ".repeat(readIndent(attributes.indent)) + sign + inline(element, false);
}

const listKinds: ReadonlySet<unknown> = new Set(["bullet", "ordered", "todo"]);
const isListed = (child: unknown): boolean =>
  child instanceof Y.XmlElement && listKinds.has((child.getAttributes() as Record<string, unknown>).kind);

export function markdownOf(page: Y.XmlFragment): string {
  let text = "";
  let last: unknown = null;
  for (const child of page.toArray()) {
    const block = child instanceof Y.XmlElement ? blockOf(child) : child.toString();
    if (last !== null) text += isListed(last) && isListed(child) ? "\n" : "\n\n";
    text += block;
    last = child;
  }
  return text === "" ? "" : `${text}\n`;
}

/** All the words of a document, whichever kind it is. */
export const wholeText = (doc: Y.Doc): string =>
  markdownOf(doc.getXmlFragment("body")) + doc.getText("text").toString();
