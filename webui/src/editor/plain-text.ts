/** The words of a page without an editor: for copying what would otherwise be lost. Reads the Y tree only. */
import * as Y from "yjs";

/** Every block on its own line. */
export function plainTextOf(parent: Y.XmlFragment): string {
  return parent
    .toArray()
    .map((child) => {
      if (child instanceof Y.XmlText) {
        const delta = child.toDelta() as { insert: unknown }[];
        return delta.map((part) => (typeof part.insert === "string" ? part.insert : "")).join("");
      }
      if (!(child instanceof Y.XmlElement)) return "";
      if (child.nodeName === "hard_break") return "\n";
      if (child.nodeName === "divider") return "---\n";
      const words = plainTextOf(child);
      return child.nodeName === "row" ||
        child.parent === null ||
        ["block", "code", "cell"].includes(child.nodeName)
        ? `${words}\n`
        : words;
    })
    .join("");
}
