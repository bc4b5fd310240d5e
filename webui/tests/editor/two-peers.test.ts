// @vitest-environment jsdom
/** Two people, apart for a while. Whatever they did, they end equal and no word is lost. */
import { afterEach, describe, expect, it } from "vitest";
import { setKind } from "../../src/editor/blocks";
import { block, Pair, seeded } from "../support/peers";

const open: Pair[] = [];
function pair(...texts: string[]): Pair {
  const made = new Pair(seeded(...texts.map((text) => () => block(text))));
  open.push(made);
  return made;
}
afterEach(() => {
  for (const one of open.splice(0)) one.close();
});

/** Both see the same, and it is what the shared document says. */
function agreed(two: Pair): string[] {
  two.meet();
  expect(two.a.lines).toEqual(two.b.lines);
  expect(two.a.doc.getXmlFragment("body").toString()).toBe(two.b.doc.getXmlFragment("body").toString());
  return two.a.lines;
}

const indent = { key: "Tab" } as const;

describe("two peers offline from each other", () => {
  it("both indent the same block", () => {
    const two = pair("one", "two");
    two.a.at(1).press(indent.key);
    two.b.at(1).press(indent.key);
    expect(agreed(two)).toEqual(["paragraph: one", "paragraph+1: two"]);
  });

  it("both turn it into a heading", () => {
    const two = pair("one");
    two.a.at(0).editor.run(setKind("h1"));
    two.b.at(0).editor.run(setKind("h1"));
    expect(agreed(two)).toEqual(["h1: one"]);
  });

  it("turn it into different things: one wins, the words stay", () => {
    const two = pair("one");
    two.a.at(0).editor.run(setKind("h2"));
    two.b.at(0).editor.run(setKind("todo"));
    expect(agreed(two)[0]).toMatch(/^(h2|todo): one$/);
  });

  it("one types while the other makes it a heading", () => {
    const two = pair("one");
    two.a.at(0).type(" and more");
    two.b.at(0).editor.run(setKind("h1"));
    expect(agreed(two)).toEqual(["h1: one and more"]);
  });

  it("one types while the other indents", () => {
    const two = pair("one", "two");
    two.a.at(1).type("!");
    two.b.at(1).press(indent.key);
    expect(agreed(two)).toEqual(["paragraph: one", "paragraph+1: two!"]);
  });

  it("one types while the other takes the heading back to a paragraph", () => {
    const two = new Pair(seeded(() => block("one", { kind: "h1" })));
    open.push(two);
    two.a.at(0).type("!");
    two.b.at(0).editor.run(setKind("paragraph"));
    expect(agreed(two)).toEqual(["paragraph: one!"]);
  });

  it("both write first in an empty page", () => {
    const two = pair();
    two.a.type("from a");
    two.b.type("from b");
    expect(agreed(two).sort()).toEqual(["paragraph: from a", "paragraph: from b"]);
  });

  it("both write at the same place", () => {
    const two = pair("one");
    two.a.at(0).type(" aaa");
    two.b.at(0).type(" bbb");
    expect(agreed(two)[0]).toMatch(/^paragraph: one( aaa bbb| bbb aaa)$/);
  });

  it("one presses Enter at the start while the other types in the block", () => {
    const two = pair("one");
    two.a.at(0, 0).press("Enter");
    two.b.at(0).type(" more");
    expect(agreed(two)).toEqual(["paragraph: ", "paragraph: one more"]);
  });

  it("one presses Enter at the end while the other types in the block", () => {
    const two = pair("one");
    two.a.at(0).press("Enter").type("next");
    two.b.at(0, 1).type("-");
    expect(agreed(two)).toEqual(["paragraph: o-ne", "paragraph: next"]);
  });

  it("one ticks a to-do while the other words it anew", () => {
    const two = new Pair(seeded(() => block("buy", { kind: "todo" })));
    open.push(two);
    two.a.at(0).press("Enter", { ctrlKey: true });
    two.b.at(0).type(" milk");
    expect(agreed(two)).toEqual(["todo[x]: buy milk"]);
  });

  it("one moves a block past its neighbour while the other types in the moved one", () => {
    const two = pair("one", "two");
    two.a.at(0).press("ArrowDown", { altKey: true });
    two.b.at(0).type(" more");
    expect(agreed(two).join()).toContain("one more");
  });

  it("one bolds while the other types inside", () => {
    const two = pair("one two");
    two.a.selectAll().press("b", { ctrlKey: true });
    two.b.at(0, 3).type(" and a half");
    expect(agreed(two)).toEqual(["paragraph: one and a half two"]);
  });

  it("one deletes a block while the other writes a new one", () => {
    const two = pair("one", "two");
    two.a.selectAll();
    two.a.at(0).press("Enter").type("new");
    two.b.at(1).type("!");
    expect(agreed(two)).toEqual(["paragraph: one", "paragraph: new", "paragraph: two!"]);
  });

  it("write live, letter by letter", () => {
    const two = pair("").meet();
    two.a.at(0);
    two.b.at(0);
    for (const letter of "abc") {
      two.a.type(letter);
      two.b.at(0).type(letter.toUpperCase());
    }
    const [line] = agreed(two);
    expect([...(line ?? "")].filter((one) => /[abc]/i.test(one)).length).toBeGreaterThanOrEqual(6);
  });

  it("survive 40 rounds of anything", () => {
    let seed = 42;
    const random = (below: number) => {
      seed = (Math.imul(seed, 1103515245) + 12345) & 0x7fffffff;
      return (seed >> 8) % below;
    };
    const two = pair("one", "two", "three");
    const kinds = ["paragraph", "h1", "bullet", "todo", "quote"] as const;
    for (let round = 0; round < 40; round += 1) {
      two.part();
      for (const one of [two.a, two.b]) {
        for (let step = 0; step < 3; step += 1) {
          const count = one.view.state.doc.childCount;
          one.at(random(count));
          const act = random(6);
          if (act < 2) one.type(`w${round}${one === two.a ? "a" : "b"}${step} `);
          else if (act === 2) one.press("Tab", { shiftKey: random(2) === 0 });
          else if (act === 3) one.press("Enter");
          else if (act === 4) one.editor.run(setKind(kinds[random(kinds.length)] ?? "h1"));
          else one.press("ArrowUp", { altKey: true });
        }
      }
      agreed(two);
    }
    expect(two.a.lines.join("\n")).toContain("three");
  });
});
