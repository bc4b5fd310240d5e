import { describe, expect, it } from "vitest";
import * as Y from "yjs";
import { wholeText } from "../../src/editor/markdown-copy";

type Part = { insert: string; attributes?: Record<string, unknown> };

function element(
  name: string,
  parts: string | Part[],
  attributes: Record<string, unknown> = {},
): Y.XmlElement {
  const made = new Y.XmlElement(name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value as string);
  const text = new Y.XmlText();
  text.applyDelta(typeof parts === "string" ? [{ insert: parts }] : parts);
  made.insert(0, [text]);
  return made;
}

describe("a page saved to a file", () => {
  it("has its words and their shape", () => {
    const doc = new Y.Doc();
    const mixed: Part[] = [
      { insert: "so " },
      { insert: "bold ", attributes: { bold: {} } },
      { insert: "a link", attributes: { link: { href: "https://example.org" } } },
    ];
    doc
      .getXmlFragment("body")
      .insert(0, [
        element("block", "Head", { kind: "h2" }),
        element("block", mixed),
        element("block", "one", { kind: "bullet" }),
        element("block", "two", { kind: "bullet", indent: 1 }),
        element("block", "done", { kind: "todo", checked: true }),
        element("code", "let a = 1", { language: "js" }),
        new Y.XmlElement("divider"),
      ]);
    expect(wholeText(doc)).toBe(
      "## Head\n\nso **bold** [a link](https://example.org)\n\n- one\n  - two\n- [x] done\n\n" +
        "```js\nlet a = 1\n```\n\n---\n",
    );
  });

  it("has the words of what this editor does not know, too", () => {
    const doc = new Y.Doc();
    doc.getXmlFragment("body").insert(0, [element("from_the_future", "kept words", { kind: "wheel" })]);
    doc.getText("text").insert(0, "and plain ones");
    expect(wholeText(doc)).toBe("kept words\nand plain ones");
  });

  it("may be empty", () => {
    expect(wholeText(new Y.Doc())).toBe("");
  });
});
