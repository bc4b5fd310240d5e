/** Formatting of text. Markdown shortcuts belong to the mark they make. */
import { type Attributes, InputRule, Mark, markInputRule, markPasteRule } from "@tiptap/core";
import { type Extras, markAttributes } from "./grammar";
import { safeHref } from "./safe-href";

function attributesOf(name: string, extras: Extras): Attributes {
  const names = [...(markAttributes[name] ?? []), ...(extras.marks.get(name) ?? [])];
  return Object.fromEntries(
    names.map((key) => [key, { default: null, rendered: false, parseHTML: () => undefined }]),
  );
}

/** `excludes: ""` lets two marks of one name overlap; y-prosemirror then stores each under its own key. */
const overlap = (name: string, extras: Extras) => (extras.overlapping.has(name) ? { excludes: "" } : {});

interface Simple {
  name: string;
  tag: string;
  from: string[];
  styles?: string[];
  typed?: RegExp[];
}

const simple: readonly Simple[] = [
  {
    name: "bold",
    tag: "strong",
    from: ["strong", "b"],
    styles: ["font-weight=bold", "font-weight=700", "font-weight=600"],
    typed: [/(?:^|\s)(\*\*(?!\s)([^*]+)(?<!\s)\*\*)$/, /(?:^|\s)(__(?!\s)([^_]+)(?<!\s)__)$/],
  },
  {
    name: "italic",
    tag: "em",
    from: ["em", "i"],
    styles: ["font-style=italic"],
    typed: [/(?:^|\s)(\*(?!\s)([^*]+)(?<!\s)\*)$/, /(?:^|\s)(_(?!\s)([^_]+)(?<!\s)_)$/],
  },
  { name: "underline", tag: "u", from: ["u"], styles: ["text-decoration=underline"] },
  {
    name: "strike",
    tag: "s",
    from: ["s", "del", "strike"],
    styles: ["text-decoration=line-through"],
    typed: [/(?:^|\s)(~~(?!\s)([^~]+)(?<!\s)~~)$/],
  },
  { name: "code", tag: "code", from: ["code"], typed: [/(?:^|[^`])(`(?!\s)([^`]+)(?<!\s)`)(?!`)$/] },
];

const simpleMarks = (extras: Extras): Mark[] =>
  simple.map(({ name, tag, from, styles = [], typed = [] }) =>
    Mark.create({
      name,
      ...overlap(name, extras),
      ...(name === "code" ? { code: true } : {}),
      addAttributes: () => attributesOf(name, extras),
      parseHTML: () => [...from.map((source) => ({ tag: source })), ...styles.map((style) => ({ style }))],
      renderHTML: () => [tag, 0],
      addInputRules() {
        // By the schema's own table: TipTap looks names up among the nodes first, and there is a node called "code".
        const type = this.editor.schema.marks[name];
        return type ? typed.map((find) => markInputRule({ find, type })) : [];
      },
    }),
  );

const highlight = (extras: Extras) =>
  Mark.create({
    name: "highlight",
    ...overlap("highlight", extras),
    addAttributes: () => attributesOf("highlight", extras),
    parseHTML: () => [{ tag: "mark" }],
    renderHTML: () => ["mark", 0],
    addInputRules() {
      return [markInputRule({ find: /(?:^|\s)(==(?!\s)([^=]+)(?<!\s)==)$/, type: this.type })];
    },
  });

const link = (extras: Extras) =>
  Mark.create({
    name: "link",
    inclusive: false,
    ...overlap("link", extras),
    addAttributes: () => attributesOf("link", extras),
    parseHTML: () => [
      {
        tag: "a[href]",
        getAttrs: (element) => {
          const href = safeHref(element.getAttribute("href") ?? "");
          return href === null ? false : { href };
        },
      },
    ],
    renderHTML({ mark }) {
      const href = typeof mark.attrs.href === "string" ? safeHref(mark.attrs.href) : null;
      return ["a", { ...(href === null ? {} : { href }), rel: "noopener noreferrer", target: "_blank" }, 0];
    },
    addInputRules() {
      const type = this.type;
      return [
        new InputRule({
          find: /\[([^\]]+)\]\(([^)\s]+)\)$/,
          handler({ state, range, match }) {
            const href = safeHref(match[2] ?? "");
            const words = match[1] ?? "";
            if (href === null || words === "") return;
            state.tr
              .replaceWith(range.from, range.to, state.schema.text(words, [type.create({ href })]))
              .removeStoredMark(type);
          },
        }),
        new InputRule({
          find: /(?:^|\s)(https?:\/\/[^\s]+[^\s.,;:!?)])\s$/,
          handler({ state, range, match }) {
            const address = match[1] ?? "";
            const from = range.from + match[0].indexOf(address);
            state.tr
              .addMark(from, from + address.length, type.create({ href: address }))
              .insertText(" ", range.to);
          },
        }),
      ];
    },
    addPasteRules() {
      return [
        markPasteRule({
          find: /https?:\/\/[^\s]+[^\s.,;:!?)]/g,
          type: this.type,
          getAttributes: (match) => ({ href: match[0] }),
        }),
      ];
    },
  });

/** Drawn, not made here yet: comment threads come later and this editor must not lose their anchors. */
const comment = (extras: Extras) =>
  Mark.create({
    name: "comment",
    inclusive: false,
    ...overlap("comment", extras),
    addAttributes: () => attributesOf("comment", extras),
    renderHTML: () => ["span", { class: "comment-anchor" }, 0],
  });

const unknownMarks = (extras: Extras): Mark[] =>
  [...extras.marks.keys()]
    .filter((name) => !Object.hasOwn(markAttributes, name))
    .map((name) =>
      Mark.create({
        name,
        ...overlap(name, extras),
        addAttributes: () => attributesOf(name, extras),
        renderHTML: () => ["span", { class: "unknown-mark" }, 0],
      }),
    );

export function pageMarks(extras: Extras): Mark[] {
  return [link(extras), ...simpleMarks(extras), highlight(extras), comment(extras), ...unknownMarks(extras)];
}
