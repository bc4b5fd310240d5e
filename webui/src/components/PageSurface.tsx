/** The page's editor and what floats above it. */
import {
  ArrowDown,
  ArrowUp,
  Bold,
  Code,
  Copy,
  CornerDownLeft,
  GripVertical,
  Heading1,
  Heading2,
  Heading3,
  Highlighter,
  Italic,
  Link,
  Link2Off,
  List,
  ListOrdered,
  ListTodo,
  Megaphone,
  Minus,
  Plus,
  Quote,
  SquareCode,
  Strikethrough,
  Trash2,
  Type,
  Underline,
} from "lucide-react";
import {
  type FormEvent,
  type KeyboardEvent,
  type ReactNode,
  type RefObject,
  useEffect,
  useLayoutEffect,
  useRef,
  useState,
} from "react";
import { deleteBlocks, duplicateBlocks, setCode, setKind } from "../editor/blocks";
import { mark } from "../editor/keymap";
import { moveBlocks } from "../editor/moving";
import type { PageEditor } from "../editor/page-editor";
import { attachReading } from "../editor/reading-view";
import { chooseSlashItem } from "../editor/slash-items";
import {
  type BlockHandle,
  type Box,
  type FormatBar,
  type SlashMenu,
  slash_list_id,
  slashOptionId,
} from "../editor/surface";
import { useDismiss } from "../hooks/dismiss";
import type { PageEditorCallbacks } from "../hooks/document";
import { useStore } from "../hooks/store";
import { showKeys } from "./keys";
import { type MenuItem, MenuList } from "./Menu";

const icons: Readonly<Record<string, ReactNode>> = {
  paragraph: <Type size={16} />,
  h1: <Heading1 size={16} />,
  h2: <Heading2 size={16} />,
  h3: <Heading3 size={16} />,
  bullet: <List size={16} />,
  ordered: <ListOrdered size={16} />,
  todo: <ListTodo size={16} />,
  quote: <Quote size={16} />,
  callout: <Megaphone size={16} />,
  code: <SquareCode size={16} />,
  divider: <Minus size={16} />,
};

interface PageSurfaceProps {
  editor: PageEditor;
  editable: boolean;
  callbacks: RefObject<PageEditorCallbacks>;
}

export function PageSurface({ editor, editable, callbacks }: PageSurfaceProps) {
  const host = useRef<HTMLDivElement | null>(null);
  const bar = useRef<HTMLDivElement | null>(null);
  const mode = useStore(editor.mode);
  const surface = useStore(editor.surface);
  const [linking, setLinking] = useState(false);

  useEffect(() => {
    const element = host.current;
    if (!element) return;
    if (mode.kind === "reading") return attachReading(editor.body, element);
    return editor.attach(element);
  }, [editor, mode.kind]);
  useEffect(() => {
    editor.setEditable(editable);
  }, [editor, editable]);
  useEffect(() => {
    callbacks.current = {
      onLinkKey: () => setLinking(true),
      onBarKey: () => bar.current?.querySelector("button")?.focus(),
    };
  }, [callbacks]);
  useEffect(() => {
    if (surface.bar === null) setLinking(false);
  }, [surface.bar]);

  if (mode.kind === "reading") {
    return (
      <>
        <p className="page-note" role="note">
          {mode.reason === "newer"
            ? "This page was written with a newer Sheaf. You can read it here; to write in it, update Sheaf on this laptop."
            : "Parts of this page are in a form this Sheaf does not know. It is shown for reading, so that nothing in it gets lost."}
        </p>
        <div className="page-body page-reading" data-testid="page-reading" ref={host} key="reading" />
      </>
    );
  }
  return (
    <div
      className="page-surface"
      onPointerMove={(event) =>
        event.pointerType === "mouse" && event.buttons === 0 && editor.pointAt(event.clientY)
      }
      onPointerLeave={() => editor.clearHandle()}
    >
      <div ref={host} key="editing" />
      {surface.handle && editable ? <Handle editor={editor} handle={surface.handle} /> : null}
      {surface.bar && editable ? (
        <FormatBarView
          editor={editor}
          state={surface.bar}
          element={bar}
          linking={linking}
          setLinking={setLinking}
        />
      ) : null}
      {surface.slash && editable ? <SlashMenuView editor={editor} menu={surface.slash} /> : null}
    </div>
  );
}

const gap_px = 8;

/** Above the selection when there is room, else below; always inside the window. */
function useFloating(element: RefObject<HTMLElement | null>, box: Box, prefer: "above" | "below"): void {
  useLayoutEffect(() => {
    const floating = element.current;
    if (!floating) return;
    const { offsetWidth: width, offsetHeight: height } = floating;
    const above = box.top - height - gap_px;
    const below = box.bottom + gap_px;
    const fitsBelow = below + height + gap_px < innerHeight;
    const top =
      prefer === "above" ? (above > 56 ? above : below) : fitsBelow ? below : Math.max(gap_px, above);
    const centre = prefer === "above" ? (box.left + box.right - width) / 2 : box.left;
    const left = Math.max(gap_px, Math.min(centre, innerWidth - width - gap_px));
    floating.style.transform = `translate(${Math.round(left)}px, ${Math.round(top)}px)`;
  });
}

interface FormatBarProps {
  editor: PageEditor;
  state: FormatBar;
  element: RefObject<HTMLDivElement | null>;
  linking: boolean;
  setLinking: (linking: boolean) => void;
}

const marks: readonly { name: string; label: string; keys: string; icon: ReactNode }[] = [
  { name: "bold", label: "Bold", keys: "Mod-B", icon: <Bold size={16} /> },
  { name: "italic", label: "Italic", keys: "Mod-I", icon: <Italic size={16} /> },
  { name: "underline", label: "Underline", keys: "Mod-U", icon: <Underline size={16} /> },
  { name: "strike", label: "Strike through", keys: "Mod-Shift-S", icon: <Strikethrough size={16} /> },
  { name: "code", label: "Code", keys: "Mod-E", icon: <Code size={16} /> },
  { name: "highlight", label: "Highlight", keys: "Mod-Shift-H", icon: <Highlighter size={16} /> },
];

const barKinds = [
  ["h1", "Heading 1"],
  ["h2", "Heading 2"],
  ["bullet", "Bulleted list"],
  ["todo", "To-do"],
  ["quote", "Quote"],
] as const;

function FormatBarView({ editor, state, element, linking, setLinking }: FormatBarProps) {
  useFloating(element, state.box, "above");
  const onKeyDown = (event: KeyboardEvent) => {
    if (event.key === "Escape") {
      event.preventDefault();
      setLinking(false);
      editor.view?.focus();
      return;
    }
    const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
    if (step === undefined || event.target instanceof HTMLInputElement) return;
    const buttons = [...(element.current?.querySelectorAll("button") ?? [])];
    const at = buttons.indexOf(document.activeElement as HTMLButtonElement);
    buttons[(at + step + buttons.length) % buttons.length]?.focus();
    event.preventDefault();
  };
  return (
    <div
      ref={element}
      className="format-bar"
      role="toolbar"
      aria-label="Format"
      data-testid="format-bar"
      data-floating
      onKeyDown={onKeyDown}
      // The selection stays where it is while the mouse presses a button.
      onMouseDown={(event) => !(event.target instanceof HTMLInputElement) && event.preventDefault()}
    >
      {linking ? (
        <LinkForm editor={editor} href={state.href} onDone={() => setLinking(false)} />
      ) : (
        <>
          {marks.map(({ name, label, keys, icon }) => (
            <button
              key={name}
              type="button"
              aria-label={label}
              title={`${label} (${showKeys(keys)})`}
              aria-pressed={state.marks.has(name)}
              onClick={() => editor.run(mark(name))}
            >
              {icon}
            </button>
          ))}
          <button
            type="button"
            aria-label="Link"
            title={`Link (${showKeys("Mod-K")})`}
            aria-pressed={state.href !== null}
            onClick={() => setLinking(true)}
          >
            <Link size={16} />
          </button>
          <span className="bar-line" aria-hidden="true" />
          {barKinds.map(([kind, label]) => (
            <button
              key={kind}
              type="button"
              className="bar-kind"
              aria-label={label}
              title={label}
              aria-pressed={state.kind === kind}
              onClick={() => editor.run(setKind(kind))}
            >
              {icons[kind]}
            </button>
          ))}
        </>
      )}
    </div>
  );
}

function LinkForm({ editor, href, onDone }: { editor: PageEditor; href: string | null; onDone: () => void }) {
  const [text, setText] = useState(href ?? "");
  const [wrong, setWrong] = useState(false);
  const submit = (event: FormEvent) => {
    event.preventDefault();
    if (editor.setLink(text.trim() === "" ? null : text)) onDone();
    else setWrong(true);
  };
  return (
    <form className="link-form" onSubmit={submit}>
      <input
        aria-label="Address"
        aria-invalid={wrong}
        placeholder="Paste or type an address"
        value={text}
        // biome-ignore lint/a11y/noAutofocus: the person has just asked to type here
        autoFocus
        onChange={(event) => {
          setText(event.target.value);
          setWrong(false);
        }}
      />
      <button type="submit" aria-label="Set the link" title="Set the link">
        <CornerDownLeft size={16} />
      </button>
      {href !== null ? (
        <button
          type="button"
          aria-label="Take the link off"
          title="Take the link off"
          onClick={() => {
            editor.setLink(null);
            onDone();
          }}
        >
          <Link2Off size={16} />
        </button>
      ) : null}
    </form>
  );
}

function SlashMenuView({ editor, menu }: { editor: PageEditor; menu: SlashMenu }) {
  const element = useRef<HTMLDivElement | null>(null);
  useFloating(element, menu.box, "below");
  const current = menu.items[menu.index]?.id;
  useEffect(() => {
    element.current?.querySelector(`#slash-${current}`)?.scrollIntoView({ block: "nearest" });
  }, [current]);
  return (
    <div
      ref={element}
      className="slash-menu"
      id={slash_list_id}
      role="listbox"
      aria-label="Blocks"
      data-testid="slash-menu"
      data-floating
    >
      {menu.items.map((item, index) => (
        // biome-ignore lint/a11y/useKeyWithClickEvents: the keys go to the text, which moves through this list (surface)
        <div
          key={item.id}
          id={slashOptionId(item)}
          role="option"
          tabIndex={-1}
          aria-selected={index === menu.index}
          className="slash-item"
          onMouseDown={(event) => event.preventDefault()}
          onClick={() => {
            editor.surface.update((surface) => ({ ...surface, slash: null }));
            editor.run(chooseSlashItem(item, menu.from, menu.to));
          }}
        >
          <span className="slash-icon" aria-hidden="true">
            {icons[item.id]}
          </span>
          <span>{item.label}</span>
          <span className="muted">{item.hint}</span>
        </div>
      ))}
    </div>
  );
}

const handleKinds = [
  ["paragraph", "Text"],
  ["h1", "Heading 1"],
  ["h2", "Heading 2"],
  ["h3", "Heading 3"],
  ["bullet", "Bulleted list"],
  ["ordered", "Numbered list"],
  ["todo", "To-do"],
  ["quote", "Quote"],
  ["callout", "Callout"],
] as const;

function Handle({ editor, handle }: { editor: PageEditor; handle: BlockHandle }) {
  const [menuAt, setMenuAt] = useState<BlockHandle | null>(null);
  const area = useRef<HTMLDivElement | null>(null);
  const grip = useRef<HTMLButtonElement | null>(null);
  useDismiss(area, menuAt !== null, () => setMenuAt(null));
  const shown = menuAt ?? handle;
  const onBlock = (run: () => void) => () => {
    editor.selectBlock(shown.pos);
    run();
  };
  const items: (MenuItem | "separator")[] = [
    ...handleKinds.map(([kind, label]) => ({
      label,
      icon: icons[kind],
      run: onBlock(() => editor.run(setKind(kind, false))),
    })),
    { label: "Code block", icon: icons.code, run: onBlock(() => editor.run(setCode())) },
    "separator",
    {
      label: "Move up",
      icon: <ArrowUp size={15} />,
      hint: "Alt ↑",
      run: onBlock(() => editor.run(moveBlocks(-1))),
    },
    {
      label: "Move down",
      icon: <ArrowDown size={15} />,
      hint: "Alt ↓",
      run: onBlock(() => editor.run(moveBlocks(1))),
    },
    { label: "Duplicate", icon: <Copy size={15} />, run: onBlock(() => editor.run(duplicateBlocks)) },
    {
      label: "Delete",
      icon: <Trash2 size={15} />,
      danger: true,
      run: onBlock(() => editor.run(deleteBlocks)),
    },
  ];
  return (
    <div
      ref={area}
      className="block-handle"
      style={{ top: shown.top, left: shown.left, height: shown.height }}
      data-floating
    >
      <button
        type="button"
        tabIndex={-1}
        aria-label="Insert a block below"
        title="Insert a block below"
        onClick={() => editor.insertBelow(shown.pos)}
      >
        <Plus size={16} />
      </button>
      <button
        ref={grip}
        type="button"
        tabIndex={-1}
        className="grip"
        draggable
        aria-label="Drag to move, press for the block's menu"
        title="Drag to move, press for the menu"
        aria-haspopup="menu"
        aria-expanded={menuAt !== null}
        data-testid="block-handle"
        onClick={() => setMenuAt(menuAt ? null : handle)}
        onDragStart={(event) => editor.startDrag(shown.pos, event.dataTransfer)}
        onDragEnd={() => editor.endDrag()}
      >
        <GripVertical size={16} />
      </button>
      {menuAt ? (
        <MenuList label="Block" items={items} button={grip.current} onDone={() => setMenuAt(null)} />
      ) : null}
    </div>
  );
}
