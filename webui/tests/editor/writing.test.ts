// @vitest-environment jsdom
import { afterEach, describe, expect, it } from "vitest";
import * as Y from "yjs";
import { block, seeded, Writer } from "../support/peers";

const open: Writer[] = [];
function writer(seed?: (doc: Y.Doc) => void): Writer {
  const doc = new Y.Doc();
  seed?.(doc);
  const made = new Writer(doc);
  open.push(made);
  return made;
}
afterEach(() => {
  for (const one of open.splice(0)) one.close();
});

const yOf = (one: Writer) => one.doc.getXmlFragment("body");

describe("opening", () => {
  it.each([
    ["an empty page", undefined],
    [
      "a page",
      seeded(
        () => block("a"),
        () => block("b", { kind: "todo", indent: 1, checked: true }),
      ),
    ],
    ["a page with kinds nobody knows", seeded(() => block("a", { kind: "poem", indent: 99 }))],
    [
      "a page with defaults written out",
      seeded(() => block("a", { kind: "paragraph", indent: 0, checked: false })),
    ],
  ])("%s writes nothing, and neither do clicks", (_name, seed) => {
    const doc = new Y.Doc();
    seed?.(doc);
    let updates = 0;
    doc.on("update", () => {
      updates += 1;
    });
    const one = new Writer(doc);
    open.push(one);
    if (doc.getXmlFragment("body").length > 0) one.at(0, 0);
    one.editor.setEditable(false);
    one.editor.setEditable(true);
    expect(updates).toBe(0);
  });
});

describe("direction", () => {
  it("is each block's own, by its first words", () => {
    const one = writer(
      seeded(
        () => block("a"),
        () => block("שלום", { kind: "todo" }),
      ),
    );
    expect([...one.host.querySelectorAll(".block")].map((each) => each.getAttribute("dir"))).toEqual([
      "auto",
      "auto",
    ]);
  });
});

describe("the first words", () => {
  it("make the first block of an empty page", () => {
    const one = writer().type("Hello");
    expect(one.lines).toEqual(["paragraph: Hello"]);
    expect(yOf(one).toString()).toBe("<block>Hello</block>");
  });

  it("may be an Enter", () => {
    expect(writer().press("Enter").type("x").lines).toEqual(["paragraph: x"]);
  });
});

describe("markdown while typing", () => {
  it.each([
    ["# Title", ["h1: Title"]],
    ["## Title", ["h2: Title"]],
    ["### Title", ["h3: Title"]],
    ["- point", ["bullet: point"]],
    ["* point", ["bullet: point"]],
    ["1. one", ["ordered: one"]],
    ["7) one", ["ordered: one"]],
    ["[] task", ["todo: task"]],
    ["[x] task", ["todo[x]: task"]],
    ["> words", ["quote: words"]],
    ["```js x", ["code: x"]],
    ["---below", ["divider: ", "paragraph: below"]],
    ["#nospace", ["paragraph: #nospace"]],
    ["a - b", ["paragraph: a - b"]],
  ])("%s", (typed, lines) => {
    expect(writer().type(typed).lines).toEqual(lines);
  });

  it.each([
    ["**bold** x", "<block><bold>bold</bold> x</block>"],
    ["*it* x", "<block><italic>it</italic> x</block>"],
    ["a `code` x", "<block>a <code>code</code> x</block>"],
    ["~~no~~ x", "<block><strike>no</strike> x</block>"],
    ["2 * 3 * 4", "<block>2 * 3 * 4</block>"],
  ])("%s", (typed, xml) => {
    expect(yOf(writer().type(typed)).toString()).toBe(xml);
  });

  it("makes links of addresses and of brackets, but never of scripts", () => {
    const links = (typed: string) => writer().type(typed).host.querySelectorAll("a").length;
    expect(links("see https://example.org/a now")).toBe(1);
    expect(links("[words](example.org) x")).toBe(1);
    expect(links("[words](javascript:alert(1)) x")).toBe(0);
  });

  it("does nothing inside code", () => {
    expect(writer().type("``` # no").lines).toEqual(["code: # no"]);
  });
});

describe("Enter", () => {
  it("goes on with a list and ends it when empty", () => {
    const one = writer().type("- a").press("Enter").type("b").press("Enter").press("Enter").type("c");
    expect(one.lines).toEqual(["bullet: a", "bullet: b", "paragraph: c"]);
  });

  it("goes out one level at a time", () => {
    const one = writer()
      .type("- a")
      .press("Enter")
      .press("Tab")
      .type("b")
      .press("Enter")
      .press("Enter")
      .type("c");
    expect(one.lines).toEqual(["bullet: a", "bullet+1: b", "bullet: c"]);
  });

  it("leaves a heading for a paragraph, and a new to-do unticked", () => {
    expect(writer().type("# a").press("Enter").type("b").lines).toEqual(["h1: a", "paragraph: b"]);
    expect(writer().type("[x] a").press("Enter").type("b").lines).toEqual(["todo[x]: a", "todo: b"]);
  });

  it("splits in the middle", () => {
    expect(writer().type("- ab").at(0, 1).press("Enter").lines).toEqual(["bullet: a", "bullet: b"]);
  });

  it("at the start leaves the block itself in place, for those who are typing in it", () => {
    const one = writer(seeded(() => block("words", { kind: "h1" })));
    const element = yOf(one).get(0);
    one.at(0, 0).press("Enter");
    expect(one.lines).toEqual(["paragraph: ", "h1: words"]);
    expect(yOf(one).get(1)).toBe(element);
  });

  it("in code makes a line, keeps its indentation, and leaves after two empty ones", () => {
    const one = writer().type("``` ").type("  a").press("Enter").type("b");
    expect(one.lines).toEqual(["code:   a\n  b"]);
    const two = writer().type("``` a").press("Enter").press("Enter").press("Enter").type("c");
    expect(two.lines).toEqual(["code: a", "paragraph: c"]);
  });

  it("with Shift breaks the line", () => {
    expect(writer().type("a").press("Enter", { shiftKey: true }).type("b").lines).toEqual([
      "paragraph: a\\nb",
    ]);
  });
});

describe("Backspace and Delete", () => {
  it("take off the kind, then the indentation, then the border", () => {
    const one = writer().type("- a").press("Enter").press("Tab").type("b").at(1, 0);
    expect(one.press("Backspace").lines).toEqual(["bullet: a", "paragraph+1: b"]);
    expect(one.press("Backspace").lines).toEqual(["bullet: a", "paragraph: b"]);
    expect(one.press("Backspace").lines).toEqual(["bullet: ab"]);
  });

  it("remove an empty block above and keep the kind of this one", () => {
    const one = writer(
      seeded(
        () => block(""),
        () => block("x"),
      ),
    );
    expect(one.at(1, 0).press("Backspace").lines).toEqual(["paragraph: x"]);
  });

  it("select what cannot be joined instead of deleting it", () => {
    const one = writer(
      seeded(
        () => new Y.XmlElement("divider"),
        () => block("x"),
      ),
    );
    one.at(1, 0).press("Backspace");
    expect(one.lines).toEqual(["divider: ", "paragraph: x"]);
    one.press("Backspace");
    expect(one.lines).toEqual(["paragraph: x"]);
  });

  it("join forward", () => {
    expect(writer().type("a").press("Enter").type("b").at(0).press("Delete").lines).toEqual([
      "paragraph: ab",
    ]);
  });
});

describe("indentation", () => {
  it("stops one deeper than the block above, and never leaves the page", () => {
    const one = writer().type("a").press("Tab").press("Enter").type("b").press("Tab").press("Tab");
    expect(one.lines).toEqual(["paragraph: a", "paragraph+1: b"]);
    one.press("Tab", { shiftKey: true }).press("Tab", { shiftKey: true });
    expect(one.lines).toEqual(["paragraph: a", "paragraph: b"]);
  });

  it("takes along what hangs below", () => {
    const one = writer(
      seeded(
        () => block("a"),
        () => block("b"),
        () => block("c", { indent: 1 }),
        () => block("d"),
      ),
    );
    expect(one.at(1).press("Tab").lines).toEqual([
      "paragraph: a",
      "paragraph+1: b",
      "paragraph+2: c",
      "paragraph: d",
    ]);
  });
});

describe("blocks", () => {
  it("tick, move and duplicate by keyboard", () => {
    const one = writer().type("[] a").press("Enter").type("b").at(0);
    expect(one.press("Enter", { ctrlKey: true }).lines).toEqual(["todo[x]: a", "todo: b"]);
    expect(one.press("ArrowDown", { altKey: true }).lines).toEqual(["todo: b", "todo[x]: a"]);
    expect(one.type("!").lines).toEqual(["todo: b", "todo[x]: a!"]);
    expect(one.press("d", { ctrlKey: true }).lines).toEqual(["todo: b", "todo[x]: a!", "todo[x]: a!"]);
  });

  it("keep their element when they become something else", () => {
    const one = writer(seeded(() => block("words")));
    const element = yOf(one).get(0);
    one.at(0).press("1", { ctrlKey: true, altKey: true });
    expect(one.lines).toEqual(["h1: words"]);
    expect(yOf(one).get(0)).toBe(element);
  });

  it("tick by a press on the box", () => {
    const one = writer(seeded(() => block("a", { kind: "todo" })));
    const box = one.host.querySelector(".check");
    expect(box?.getAttribute("aria-checked")).toBe("false");
    box?.dispatchEvent(new MouseEvent("mousedown", { bubbles: true, cancelable: true }));
    expect(one.host.querySelector(".check")?.getAttribute("aria-checked")).toBe("true");
  });

  it("writes only what changed when typing: no attribute is set along the way", () => {
    const one = writer(seeded(() => block("a")));
    one.at(0).type("b");
    expect((yOf(one).get(0) as Y.XmlElement).getAttributes()).toEqual({});
  });
});

describe("undo", () => {
  it("takes back own changes only", () => {
    const one = writer(seeded(() => block("start")));
    one.at(0).type(" mine");
    const other = new Y.Doc();
    Y.applyUpdate(other, Y.encodeStateAsUpdate(one.doc));
    const text = (other.getXmlFragment("body").get(0) as Y.XmlElement).get(0) as Y.XmlText;
    text.insert(0, "theirs ");
    Y.applyUpdate(one.doc, Y.encodeStateAsUpdate(other), "remote");
    expect(one.lines).toEqual(["paragraph: theirs start mine"]);
    one.press("z", { ctrlKey: true });
    expect(one.lines).toEqual(["paragraph: theirs start"]);
    one.press("z", { ctrlKey: true, shiftKey: true });
    expect(one.lines).toEqual(["paragraph: theirs start mine"]);
  });
});
