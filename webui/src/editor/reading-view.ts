/**
 * A page drawn without an editor: for a page of a newer Sheaf, or one whose structure no schema of ours can hold.
 * Only reads the Y tree. Text always shows; what is unknown shows as a card.
 */
import * as Y from "yjs";
import { readIndent, readKind } from "./kinds";
import { plainTextOf } from "./plain-text";
import { safeHref } from "./safe-href";

const tags: Readonly<Record<string, string>> = {
  bold: "strong",
  italic: "em",
  underline: "u",
  strike: "s",
  code: "code",
  highlight: "mark",
};

function element(
  tag: string,
  attributes: Record<string, string>,
  children: (Node | string)[] = [],
): HTMLElement {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  made.append(...children);
  return made;
}

function wrap(node: Node, name: string, value: unknown): Node {
  const tag = Object.hasOwn(tags, name) ? tags[name] : undefined;
  if (tag) return element(tag, {}, [node as HTMLElement]);
  if (name === "link" && typeof value === "object" && value !== null && "href" in value) {
    const href = typeof value.href === "string" ? safeHref(value.href) : null;
    if (href)
      return element("a", { href, rel: "noopener noreferrer", target: "_blank" }, [node as HTMLElement]);
  }
  return node;
}

function textNodes(text: Y.XmlText): Node[] {
  const delta = text.toDelta() as { insert: unknown; attributes?: Record<string, unknown> }[];
  return delta.map(({ insert, attributes = {} }) =>
    Object.entries(attributes).reduce<Node>(
      (node, [name, value]) => wrap(node, name.replace(/--[a-zA-Z0-9+/=]{8}$/, ""), value),
      document.createTextNode(typeof insert === "string" ? insert : "▢"),
    ),
  );
}

function inline(parent: Y.XmlElement): Node[] {
  return parent.toArray().flatMap((child) => {
    if (child instanceof Y.XmlText) return textNodes(child);
    if (child instanceof Y.XmlElement && child.nodeName === "hard_break") return [element("br", {})];
    if (child instanceof Y.XmlElement) return [element("span", { class: "card-inline" }, [child.nodeName])];
    return [];
  });
}

function blockElement(block: Y.XmlElement): HTMLElement {
  const kind = readKind(block.getAttribute("kind"));
  const attributes = {
    class: "block",
    "data-kind": kind,
    "data-indent": String(readIndent(block.getAttribute("indent") as unknown)),
  };
  if (kind === "todo") {
    const checked = String((block.getAttribute("checked") as unknown) === true);
    const box = element("span", {
      class: "check",
      role: "checkbox",
      "aria-checked": checked,
      "aria-disabled": "true",
    });
    return element("div", { ...attributes, "data-checked": checked }, [
      box,
      element("p", {}, inline(block) as HTMLElement[]),
    ]);
  }
  const tag =
    kind === "h1" || kind === "h2" || kind === "h3"
      ? kind
      : kind === "quote"
        ? "blockquote"
        : kind === "callout"
          ? "div"
          : "p";
  return element(tag, attributes, inline(block) as HTMLElement[]);
}

function tableElement(table: Y.XmlElement): HTMLElement {
  const rows = table.toArray().filter((row) => row instanceof Y.XmlElement);
  const body = rows.map((row) =>
    element(
      "tr",
      {},
      row
        .toArray()
        .filter((cell) => cell instanceof Y.XmlElement)
        .map((cell) => element("td", {}, inline(cell) as HTMLElement[])),
    ),
  );
  return element("div", { class: "table-block" }, [element("table", {}, [element("tbody", {}, body)])]);
}

function card(name: string, words: string): HTMLElement {
  return element("div", { class: "card-block" }, [
    element("strong", {}, ["Something newer"]),
    element("span", {}, [words || `“${name}” needs a newer Sheaf.`]),
  ]);
}

function topElement(child: unknown): Node {
  if (child instanceof Y.XmlText) return element("p", { class: "block" }, textNodes(child) as HTMLElement[]);
  if (!(child instanceof Y.XmlElement)) return card("content", "");
  switch (child.nodeName) {
    case "block":
      return blockElement(child);
    case "code":
      return element("pre", { class: "code-block" }, [element("code", {}, inline(child) as HTMLElement[])]);
    case "divider":
      return element("div", { class: "divider" }, [element("hr", {})]);
    case "table":
      return tableElement(child);
    default:
      return card(child.nodeName, plainTextOf(child).trim());
  }
}

export function renderReading(body: Y.XmlFragment, host: HTMLElement): void {
  host.replaceChildren(...body.toArray().map(topElement));
}

/** Draws, and draws again when the page changes. */
export function attachReading(body: Y.XmlFragment, host: HTMLElement): () => void {
  const draw = () => renderReading(body, host);
  draw();
  body.observeDeep(draw);
  return () => body.unobserveDeep(draw);
}
