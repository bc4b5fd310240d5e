/** Markdown by the line, for text that is pasted: enough to keep its shape, no more. Pure. */
import { type BlockKind, indent_max } from "./kinds";

export type Line =
  | { type: "block"; kind: BlockKind; indent: number; checked: boolean; text: string }
  | { type: "code"; language: string; text: string }
  | { type: "divider" };

const marker = /^(?:(#{1,6})|([-*+])(?:\s+\[([ xX])\])?|(\d{1,9})[.)]|(>))\s+(.*)$/;

function lineOf(raw: string): Line {
  const spaces = /^[ \t]*/.exec(raw)?.[0].replaceAll("\t", "  ").length ?? 0;
  const text = raw.trim();
  if (/^(?:-{3,}|\*{3,}|_{3,})$/.test(text)) return { type: "divider" };
  const [, hashes, bullet, box, number, quote, rest] = marker.exec(text) ?? [];
  const block = (kind: BlockKind, indent = 0, checked = false): Line => ({
    type: "block",
    kind,
    indent: Math.min(indent_max, indent),
    checked,
    text: rest ?? text,
  });
  const depth = Math.floor(spaces / 2);
  if (hashes) return block(hashes.length === 1 ? "h1" : hashes.length === 2 ? "h2" : "h3");
  if (bullet && box !== undefined) return block("todo", depth, box !== " ");
  if (bullet) return block("bullet", depth);
  if (number) return block("ordered", depth);
  if (quote) return block("quote");
  return block("paragraph");
}

export function readMarkdownLines(source: string): Line[] {
  const lines: Line[] = [];
  let fence: { language: string; text: string[] } | null = null;
  for (const raw of source.replaceAll("\r\n", "\n").split("\n")) {
    const edge = /^\s*```\s*([\w+#.-]*)\s*$/.exec(raw);
    if (fence) {
      if (edge) {
        lines.push({ type: "code", language: fence.language, text: fence.text.join("\n") });
        fence = null;
      } else fence.text.push(raw);
    } else if (edge) fence = { language: edge[1] ?? "", text: [] };
    else if (raw.trim() !== "") lines.push(lineOf(raw));
  }
  if (fence) lines.push({ type: "code", language: fence.language, text: fence.text.join("\n") });
  return lines;
}
