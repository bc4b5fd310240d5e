// @vitest-environment jsdom
import { afterEach, describe, expect, it } from "vitest";
import { readMarkdownLines } from "../../src/editor/markdown-lines";
import { Writer } from "../support/peers";

const open: Writer[] = [];
afterEach(() => {
  for (const one of open.splice(0)) one.close();
});
function page(): Writer {
  const one = new Writer();
  open.push(one);
  return one;
}

/** What Ctrl-V does with plain text. (ProseMirror's own `pasteText` is Ctrl-Shift-V.) */
function paste(one: Writer, text: string): void {
  const event = new Event("paste", { bubbles: true, cancelable: true });
  const data = {
    getData: (type: string) => (type === "text/html" ? "" : text),
    files: [],
    items: [],
    types: [],
  };
  one.view.dom.dispatchEvent(Object.assign(event, { clipboardData: data }));
}

describe("pasting", () => {
  it("HTML lists become flat, indented blocks", () => {
    const one = page().type("x").press("Enter");
    one.view.pasteHTML(
      "<h2>Plan</h2><ul><li>a<ul><li><p>b</p></li></ul></li></ul><ol><li>c</li></ol><blockquote><p>q</p></blockquote><pre><code class='language-js'>let x;\nlet y;</code></pre><hr><p>end</p>",
    );
    expect(one.lines).toEqual([
      "paragraph: x",
      "h2: Plan",
      "bullet: a",
      "bullet+1: b",
      "ordered: c",
      "quote: q",
      "code: let x;\nlet y;",
      "divider: ",
      "paragraph: end",
    ]);
  });

  it("Markdown text becomes blocks; one line stays a line", () => {
    const one = page().type("x").press("Enter");
    paste(one, "# Plan\n\n- a\n  - b\n- [x] c\n\n```js\nlet x;\n```\n");
    expect(one.lines).toEqual([
      "paragraph: x",
      "h1: Plan",
      "bullet: a",
      "bullet+1: b",
      "todo[x]: c",
      "code: let x;",
    ]);
    const two = page().type("a ");
    paste(two, "# b");
    expect(two.lines).toEqual(["paragraph: a # b"]);
  });

  it("drops scripts and script addresses", () => {
    const one = page().type("x").press("Enter");
    one.view.pasteHTML(
      '<p><a href="javascript:alert(1)">a</a><script>alert(1)</script><img src=x onerror=alert(1)></p>',
    );
    expect(one.host.querySelector("a, script, img[onerror]")).toBeNull();
  });

  it("what was copied here comes back the same", () => {
    const one = page()
      .type("[x] a")
      .press("Enter")
      .press("Tab")
      .type("b")
      .press("Enter")
      .press("Enter")
      .press("Enter")
      .type("c");
    const before = one.lines;
    const { dom } = one.view.serializeForClipboard(
      one.view.state.doc.slice(0, one.view.state.doc.content.size),
    );
    const two = page().type("x").press("Enter");
    two.view.pasteHTML(dom.innerHTML);
    expect(two.lines.slice(1)).toEqual(before);
  });
});

describe("markdown lines", () => {
  it("never loses a word", () => {
    const source = "a\n> b\n* c\n+ d\n12. e\n####### f\n```\ng\n";
    const text = readMarkdownLines(source)
      .map((line) => ("text" in line ? line.text : ""))
      .join(" ");
    for (const letter of "abcdefg") expect(text).toContain(letter);
  });
});
