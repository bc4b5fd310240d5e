/**
 * The grammar as TipTap nodes. Attributes default to null, which writes nothing: typing in a paragraph must not
 * set `kind`, or it would undo a "turn into heading" that somebody made at the same moment.
 * Content and mark rules are as loose as ProseMirror allows: no merge may be invalid.
 */
import { type Attributes, type Editor, Node } from "@tiptap/core";
import type { DOMOutputSpec } from "@tiptap/pm/model";
import { type Extras, grammar } from "./grammar";
import { type BlockKind, readIndent, readKind } from "./kinds";

function attributesOf(name: string, extras: Extras): Attributes {
  const names = [...(grammar[name]?.attributes ?? []), ...(extras.attributes.get(name) ?? [])];
  return Object.fromEntries(
    names.map((key) => [key, { default: null, rendered: false, parseHTML: () => undefined }]),
  );
}

const tags: Readonly<Record<BlockKind, string>> = {
  paragraph: "p",
  h1: "h1",
  h2: "h2",
  h3: "h3",
  bullet: "p",
  ordered: "p",
  todo: "p",
  quote: "blockquote",
  callout: "div",
};

function blockToDom(kind: BlockKind, indent: number, checked: boolean): DOMOutputSpec {
  const attributes = { class: "block", dir: "auto", "data-kind": kind, "data-indent": String(indent) };
  if (kind === "callout") return ["div", { ...attributes, role: "note" }, 0];
  if (kind !== "todo") return [tags[kind], attributes, 0];
  const box = {
    class: "check",
    role: "checkbox",
    contenteditable: "false",
    tabindex: "-1",
    "aria-checked": String(checked),
    "aria-label": checked ? "Done" : "To do",
  };
  return ["div", { ...attributes, "data-checked": String(checked) }, ["span", box], ["p", 0]];
}

const headings: Readonly<Record<string, BlockKind>> = {
  H1: "h1",
  H2: "h2",
  H3: "h3",
  H4: "h3",
  H5: "h3",
  H6: "h3",
};

/** What foreign HTML means in the flat schema: nesting becomes indentation. */
export function attributesFromHtml(element: HTMLElement): {
  kind: BlockKind | null;
  indent: number | null;
  checked: boolean | null;
} {
  const item = element.closest("li");
  const heading = headings[element.tagName];
  if (item) {
    let depth = -1;
    for (let up: Element | null = item; up; up = up.parentElement)
      if (/^(UL|OL)$/.test(up.tagName)) depth += 1;
    const box = item.querySelector(
      ":scope > input[type=checkbox], :scope > label > input[type=checkbox], :scope > p > input[type=checkbox]",
    );
    const kind = box ? "todo" : item.parentElement?.tagName === "OL" ? "ordered" : "bullet";
    const checked = box instanceof HTMLInputElement && (box.checked || box.hasAttribute("checked"));
    return { kind: heading ?? kind, indent: depth > 0 ? Math.min(8, depth) : null, checked: checked || null };
  }
  if (heading) return { kind: heading, indent: null, checked: null };
  return { kind: element.closest("blockquote") ? "quote" : null, indent: null, checked: null };
}

function ownAttributes(element: HTMLElement) {
  const kind = readKind(element.dataset.kind);
  return {
    kind: kind === "paragraph" ? null : kind,
    indent: readIndent(Number(element.dataset.indent)) || null,
    checked: element.dataset.checked === "true" || null,
  };
}

const block = (extras: Extras) =>
  Node.create({
    name: "block",
    priority: 1000,
    group: "top",
    content: "inline*",
    marks: "_",
    addAttributes: () => attributesOf("block", extras),
    parseHTML() {
      return [
        {
          tag: "div[data-kind=todo]",
          getAttrs: ownAttributes,
          contentElement: "p",
          preserveWhitespace: "full",
          priority: 70,
        },
        { tag: "[data-kind]", getAttrs: ownAttributes, preserveWhitespace: "full", priority: 70 },
        ...["h1", "h2", "h3", "h4", "h5", "h6", "p"].map((tag) => ({ tag, getAttrs: attributesFromHtml })),
        {
          tag: "li",
          getAttrs: (element: HTMLElement) =>
            /^(P|H[1-6])$/.test(element.firstElementChild?.tagName ?? "")
              ? false
              : attributesFromHtml(element),
        },
      ];
    },
    renderHTML({ node }) {
      return blockToDom(
        readKind(node.attrs.kind),
        readIndent(node.attrs.indent),
        node.attrs.checked === true,
      );
    },
  });

/**
 * On the wire both an element and a mark are called `code`; a ProseMirror schema refuses that. The node type is
 * compiled under this name and takes its own one back (`nameCode`) before the first document is made.
 */
const compiled_code_name = "code_block";

export function nameCode(editor: Editor): void {
  const { nodes } = editor.schema;
  const type = nodes[compiled_code_name];
  if (!type) return;
  Reflect.set(type, "name", "code");
  Reflect.deleteProperty(nodes, compiled_code_name);
  Reflect.set(nodes, "code", type);
}

const code = (extras: Extras) =>
  Node.create({
    name: compiled_code_name,
    group: "top",
    content: "inline*",
    marks: "_",
    code: true,
    defining: true,
    whitespace: "pre",
    addAttributes: () => attributesOf("code", extras),
    parseHTML: () => [
      {
        tag: "pre",
        preserveWhitespace: "full",
        getAttrs: (element) => ({
          language:
            element.dataset.language ??
            /language-([\w+#.-]+)/.exec(element.querySelector("code")?.className ?? "")?.[1] ??
            null,
        }),
      },
    ],
    renderHTML({ node }) {
      const language = typeof node.attrs.language === "string" ? node.attrs.language : "";
      return ["pre", { class: "code-block", "data-language": language, spellcheck: "false" }, ["code", 0]];
    },
  });

const divider = (extras: Extras) =>
  Node.create({
    name: "divider",
    group: "top",
    addAttributes: () => attributesOf("divider", extras),
    parseHTML: () => [{ tag: "hr" }],
    renderHTML: () => ["div", { class: "divider" }, ["hr"]],
  });

const table = (extras: Extras) =>
  Node.create({
    name: "table",
    group: "top",
    content: "row*",
    isolating: true,
    addAttributes: () => attributesOf("table", extras),
    parseHTML: () => [{ tag: "table" }],
    renderHTML: () => ["div", { class: "table-block" }, ["table", ["tbody", 0]]],
  });

const row = (extras: Extras) =>
  Node.create({
    name: "row",
    content: "cell*",
    addAttributes: () => attributesOf("row", extras),
    parseHTML: () => [{ tag: "tr" }],
    renderHTML: () => ["tr", 0],
  });

const cell = (extras: Extras) =>
  Node.create({
    name: "cell",
    content: "inline*",
    marks: "_",
    isolating: true,
    addAttributes: () => attributesOf("cell", extras),
    parseHTML: () => [{ tag: "td" }, { tag: "th" }],
    renderHTML: () => ["td", 0],
  });

const text = (value: unknown): string => (typeof value === "string" ? value : "");

export const cardNames: Readonly<Record<string, string>> = {
  image: "Picture",
  embed: "Embedded content",
  inline_embed: "Embedded content",
};

const card = (label: string, detail: string): DOMOutputSpec => [
  "div",
  { class: "card-block", contenteditable: "false" },
  ["strong", label],
  ["span", detail],
];

const inlineCard = (label: string): DOMOutputSpec => [
  "span",
  { class: "card-inline", contenteditable: "false" },
  label,
];

const image = (extras: Extras) =>
  Node.create({
    name: "image",
    group: "top",
    atom: true,
    draggable: true,
    addAttributes: () => attributesOf("image", extras),
    renderHTML: ({ node }) =>
      card("Picture", text(node.attrs.alt) || "Kept as it is; shown by a later Sheaf"),
  });

const embed = (extras: Extras) =>
  Node.create({
    name: "embed",
    group: "top",
    atom: true,
    draggable: true,
    addAttributes: () => attributesOf("embed", extras),
    renderHTML: ({ node }) => card(`Embedded ${text(node.attrs.kind) || "content"}`, "Kept as it is"),
  });

const inlineEmbed = (extras: Extras) =>
  Node.create({
    name: "inline_embed",
    group: "inline",
    inline: true,
    atom: true,
    addAttributes: () => attributesOf("inline_embed", extras),
    renderHTML: ({ node }) => inlineCard(text(node.attrs.kind) || "embedded"),
  });

const hardBreak = (extras: Extras) =>
  Node.create({
    name: "hard_break",
    group: "inline",
    inline: true,
    selectable: false,
    linebreakReplacement: true,
    addAttributes: () => attributesOf("hard_break", extras),
    parseHTML: () => [{ tag: "br" }],
    renderHTML: () => ["br"],
    renderText: () => "\n",
  });

/** An element of a newer Sheaf: carried with everything in it, drawn as a card that cannot be edited. */
function unknownNodes(extras: Extras): Node[] {
  return [...extras.nodes].map(([name, { inline, inside }]) =>
    Node.create({
      name,
      group: inline ? "inline" : "top",
      inline,
      atom: true,
      draggable: !inline,
      content: inside === "inline" ? "inline*" : inside === "blocks" ? "top*" : "",
      marks: "_",
      addAttributes: () => attributesOf(name, extras),
      renderHTML: () =>
        inline
          ? inlineCard(name)
          : card("Something newer", `“${name}” needs a newer Sheaf. It is kept as it is.`),
    }),
  );
}

export function pageNodes(extras: Extras): Node[] {
  return [
    Node.create({ name: "doc", topNode: true, content: "top*" }),
    block(extras),
    Node.create({ name: "text", group: "inline" }),
    code(extras),
    divider(extras),
    table(extras),
    row(extras),
    cell(extras),
    image(extras),
    embed(extras),
    inlineEmbed(extras),
    hardBreak(extras),
    ...unknownNodes(extras),
  ];
}
