// @vitest-environment jsdom
/** What a newer Sheaf may have written: carried, or shown; never deleted. */
import { afterEach, describe, expect, it } from "vitest";
import * as Y from "yjs";
import { scan } from "../../src/editor/grammar";
import { plainTextOf } from "../../src/editor/plain-text";
import { renderReading } from "../../src/editor/reading-view";
import { block, Writer } from "../support/peers";

const open: Writer[] = [];
afterEach(() => {
  for (const one of open.splice(0)) one.close();
});

type Make = () => Y.XmlElement | Y.XmlText;

function page(...elements: Make[]): { doc: Y.Doc; body: Y.XmlFragment; one: Writer } {
  const doc = new Y.Doc();
  doc.getXmlFragment("body").insert(
    0,
    elements.map((make) => make()),
  );
  const one = new Writer(doc);
  open.push(one);
  return { doc, body: doc.getXmlFragment("body"), one };
}

function element(
  name: string,
  attributes: Record<string, unknown> = {},
  children: (Y.XmlElement | Y.XmlText)[] = [],
) {
  const made = new Y.XmlElement(name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value as string);
  if (children.length > 0) made.insert(0, children);
  return made;
}

function marked(text: string, marks: Record<string, unknown>): Y.XmlElement {
  const content = new Y.XmlText();
  content.applyDelta([{ insert: text, attributes: marks }, { insert: " plain" }]);
  return element("block", {}, [content]);
}

const strange: Record<string, Make> = {
  "an unknown element": () => element("whiteboard", { scene: "x", size: 3 }),
  "an unknown element with text": () => element("poem", { metre: "iamb" }, [new Y.XmlText("words words")]),
  "an unknown element with blocks": () =>
    element("columns", {}, [element("column", { w: 1 }, [block("left")])]),
  "an unknown element in a line": () =>
    element("block", {}, [new Y.XmlText("a"), element("mention", { who: "u_1" })]),
  "an unknown attribute of a block": () => block("coloured", { kind: "h1", colour: "red" }),
  "an unknown kind": () => block("marginal", { kind: "aside" }),
  "an unknown mark": () => marked("shiny", { sparkle: { level: 3 } }),
  "an unknown attribute of a mark": () =>
    marked("linked", { link: { href: "https://a.example", title: "t" } }),
  "overlapping comments": () =>
    marked("talk", { "comment--abcdefgh": { threadId: "1" }, "comment--ABCDEFGH": { threadId: "2" } }),
  "formatted code": () => element("code", {}, [new Y.XmlText("x")]),
  "a picture": () => element("image", { blob: "b", alt: "a boat", width: 3 }),
  "an embed": () => element("embed", { kind: "map", data: "{}" }),
  "a table": () => element("table", {}, [element("row", {}, [element("cell", {}, [new Y.XmlText("1")])])]),
};

describe("a page with something newer in it", () => {
  it.each(Object.entries(strange))("keeps %s through editing around it", (_name, make) => {
    const { body, one } = page(
      () => block("before"),
      make,
      () => block("after"),
    );
    const kept = body.get(1).toString();
    expect(one.editor.mode.get()).toEqual({ kind: "editing" });
    one.at(0).type(" it").press("Enter").type("more").press("ArrowUp", { altKey: true });
    one.at(one.view.state.doc.childCount - 1).type(" it");
    expect(body.toString()).toContain(kept);
    expect(one.lines.at(-1)).toBe("paragraph: after it");
  });

  it("keeps it when a block is moved past it", () => {
    const { body, one } = page(() => block("before"), strange["an unknown element with text"] as Make);
    const kept = body.get(1).toString();
    one.at(0).press("ArrowDown", { altKey: true });
    expect(body.toString()).toBe(`${kept}<block>before</block>`);
  });

  it("keeps typing in a block from dropping its unknown attribute", () => {
    const { body, one } = page(strange["an unknown attribute of a block"] as Make);
    one.at(0).type("!");
    expect(body.toString()).toBe('<block colour="red" kind="h1">coloured!</block>');
  });

  it.each(Object.entries(strange))("keeps %s that arrives while the editor is open", async (_name, make) => {
    const { doc, body, one } = page(() => block("before"));
    const other = new Y.Doc();
    Y.applyUpdate(other, Y.encodeStateAsUpdate(doc));
    other.getXmlFragment("body").insert(1, [make()]);
    const arrived = other.getXmlFragment("body").get(1).toString();
    Y.applyUpdate(doc, Y.encodeStateAsUpdate(other), "remote");
    await Promise.resolve();
    expect(body.toString()).toBe(`<block>before</block>${arrived}`);
    one.at(0).type("!");
    expect(body.toString()).toBe(`<block>before!</block>${arrived}`);
  });

  it("shows unknown elements as cards", () => {
    const { one } = page(strange["an unknown element"] as Make);
    expect(one.host.querySelector(".card-block")?.textContent).toContain("whiteboard");
  });
});

const impossible: Record<string, Make> = {
  "text outside of a block": () => new Y.XmlText("loose"),
  "a block in a block": () => element("block", {}, [block("inner")]),
  "a cell outside of a table": () => element("cell", {}, [new Y.XmlText("x")]),
  "content in a divider": () => element("divider", {}, [new Y.XmlText("x")]),
  "an object inside text": () => {
    const text = new Y.XmlText();
    text.insertEmbed(0, { a: 1 });
    return element("block", {}, [text]);
  },
};

describe("a page no schema of ours can hold", () => {
  it.each(Object.entries(impossible))("with %s is shown without an editor, untouched", (_name, make) => {
    const { body, one } = page(() => block("words"), make);
    const before = body.toString();
    expect(one.editor.mode.get()).toEqual({ kind: "reading", reason: "unknown_structure" });
    expect(one.editor.view).toBeNull();
    expect(body.toString()).toBe(before);
    renderReading(body, one.host);
    expect(one.host.textContent).toContain("words");
  });

  it("lets go of the document when such a thing arrives", () => {
    const { doc, body, one } = page(() => block("words"));
    const other = new Y.Doc();
    Y.applyUpdate(other, Y.encodeStateAsUpdate(doc));
    other.getXmlFragment("body").insert(1, [new Y.XmlText("loose")]);
    Y.applyUpdate(doc, Y.encodeStateAsUpdate(other), "remote");
    expect(one.editor.mode.get().kind).toBe("reading");
    expect(body.toString()).toBe("<block>words</block>loose");
  });

  it("is not edited when its schema is newer, also when that arrives later", () => {
    const newer = new Y.Doc();
    newer.getMap("meta").set("schema", 2);
    newer.getXmlFragment("body").insert(0, [block("x")]);
    const one = new Writer(newer);
    open.push(one);
    expect(one.editor.mode.get()).toEqual({ kind: "reading", reason: "newer" });
    expect(one.editor.view).toBeNull();

    const { doc, one: two } = page(() => block("x"));
    const other = new Y.Doc();
    other.getMap("meta").set("schema", 2);
    Y.applyUpdate(doc, Y.encodeStateAsUpdate(other), "remote");
    expect(two.editor.mode.get()).toEqual({ kind: "reading", reason: "newer" });
  });
});

describe("the scan", () => {
  it("finds nothing strange in the grammar itself", () => {
    const doc = new Y.Doc();
    doc
      .getXmlFragment("body")
      .insert(0, [
        block("a", { kind: "todo", indent: 2, checked: true }),
        element("code", { language: "js" }, [new Y.XmlText("x")]),
        element("divider"),
        marked("b", { bold: {}, link: { href: "https://a.example" }, highlight: { color: null } }),
        element("table", {}, [element("row", {}, [element("cell", {}, [new Y.XmlText("1")])])]),
      ]);
    const extras = scan(doc.getXmlFragment("body"));
    expect([extras.nodes.size, extras.attributes.size, extras.marks.size, extras.violations]).toEqual([
      0,
      0,
      0,
      [],
    ]);
  });
});

describe("the words of a page", () => {
  it("can be copied without an editor", () => {
    const { body } = page(
      () => block("one"),
      strange["an unknown element with text"] as Make,
      strange["a table"] as Make,
    );
    const text = plainTextOf(body);
    for (const word of ["one", "words words", "1"]) expect(text).toContain(word);
  });
});
