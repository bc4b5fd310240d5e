/** One field to go anywhere or do anything. */
import {
  CircleHelp,
  FileText,
  Hash,
  Layers,
  Moon,
  PanelLeft,
  Plus,
  Server,
  Ticket,
  Trash2,
  User,
  UserPlus,
  Users,
} from "lucide-react";
import { type KeyboardEvent, type ReactNode, useEffect, useMemo, useRef, useState } from "react";
import { useActions } from "../hooks/actions";
import { type App, useApp } from "../hooks/app";
import { useCurrentSpaceId } from "../hooks/library";
import { useStore } from "../hooks/store";
import type { SpaceId } from "../model/identifiers";
import { type Document, titleOf } from "../model/library";
import { rank } from "../model/matching";

interface Entry {
  id: string;
  label: string;
  detail: string;
  icon: ReactNode;
  run: () => void;
}

const shown_max = 40;

function commandsOf(app: App, actions: ReturnType<typeof useActions>, spaceId: SpaceId | null): Entry[] {
  const { overlays, preferences } = app;
  const { theme, sidebarOpen } = preferences.get();
  const command = (id: string, label: string, icon: ReactNode, run: () => void): Entry => ({
    id,
    label,
    detail: "",
    icon,
    run,
  });
  const inSpace = spaceId
    ? [
        command(
          "new-page",
          "New page",
          <Plus size={16} />,
          () => void actions.createDocument(spaceId, "page"),
        ),
        command(
          "new-text",
          "New text document",
          <Hash size={16} />,
          () => void actions.createDocument(spaceId, "text"),
        ),
        command("share", "Share this space", <UserPlus size={16} />, () =>
          overlays.open({ kind: "share", spaceId }),
        ),
        command("members", "Members", <Users size={16} />, () => overlays.open({ kind: "members", spaceId })),
        command("relays", "Relays of this space", <Server size={16} />, () =>
          overlays.open({ kind: "relays", spaceId }),
        ),
        command("trash", "Trash", <Trash2 size={16} />, () => overlays.open({ kind: "trash", spaceId })),
      ]
    : [];
  return [
    ...inSpace,
    command("join", "Join a space", <Ticket size={16} />, () => overlays.open({ kind: "join" })),
    command("new-space", "New space", <Layers size={16} />, () => overlays.open({ kind: "new_space" })),
    command("theme", theme === "dark" ? "Light theme" : "Dark theme", <Moon size={16} />, () =>
      preferences.setTheme(theme === "dark" ? "light" : "dark"),
    ),
    command("sidebar", sidebarOpen ? "Hide the sidebar" : "Show the sidebar", <PanelLeft size={16} />, () =>
      preferences.setSidebar(!sidebarOpen),
    ),
    command("profile", "Your name and laptop", <User size={16} />, () => overlays.open({ kind: "profile" })),
    command("keys", "Keyboard shortcuts", <CircleHelp size={16} />, () =>
      overlays.open({ kind: "shortcuts" }),
    ),
  ];
}

function useEntries(): Entry[] {
  const app = useApp();
  const actions = useActions();
  const { spaces, documents } = useStore(app.library);
  const { recent } = useStore(app.preferences);
  const spaceId = useCurrentSpaceId();
  return useMemo(() => {
    const nameOf = new Map((spaces ?? []).map((space) => [space.space_id, space.name]));
    const live = Object.values(documents)
      .flatMap((list) => list ?? [])
      .filter((document) => !document.trashed && nameOf.has(document.space_id));
    const freshness = (document: Document) => {
      const at = recent.indexOf(document.document_id);
      return at < 0 ? recent.length : at;
    };
    const pages = live
      .sort((a, b) => freshness(a) - freshness(b) || (a.updated_at < b.updated_at ? 1 : -1))
      .map((document) => ({
        id: document.document_id,
        label: titleOf(document),
        detail: nameOf.get(document.space_id) ?? "",
        icon: document.type === "page" ? <FileText size={16} /> : <Hash size={16} />,
        run: () => actions.openDocument(document.document_id),
      }));
    const places = (spaces ?? []).map((space) => ({
      id: space.space_id,
      label: space.name,
      detail: "Space",
      icon: <Layers size={16} />,
      run: () => actions.openSpace(space.space_id),
    }));
    return [...pages, ...commandsOf(app, actions, spaceId), ...places];
  }, [app, actions, spaces, documents, recent, spaceId]);
}

export function CommandPalette({ onClose }: { onClose: () => void }) {
  const entries = useEntries();
  const [query, setQuery] = useState("");
  const [index, setIndex] = useState(0);
  const dialog = useRef<HTMLDialogElement | null>(null);
  const list = useRef<HTMLDivElement | null>(null);
  const shown = useMemo(
    () => rank(query, entries, (entry) => entry.label).slice(0, shown_max),
    [query, entries],
  );
  const closeRef = useRef(onClose);
  closeRef.current = onClose;

  useEffect(() => {
    const element = dialog.current;
    if (!element) return;
    if (!element.open) element.showModal();
    const onPress = (event: PointerEvent) => event.target === element && closeRef.current();
    const onCancel = (event: Event) => {
      event.preventDefault();
      closeRef.current();
    };
    element.addEventListener("pointerdown", onPress);
    element.addEventListener("cancel", onCancel);
    return () => {
      element.removeEventListener("pointerdown", onPress);
      element.removeEventListener("cancel", onCancel);
      element.close();
    };
  }, []);

  const choose = (entry: Entry | undefined) => {
    if (!entry) return;
    onClose();
    entry.run();
  };
  const select = (next: number) => {
    setIndex(next);
    list.current?.children[next]?.scrollIntoView({ block: "nearest" });
  };
  const onKeyDown = (event: KeyboardEvent) => {
    if (event.key === "ArrowDown") select((index + 1) % Math.max(1, shown.length));
    else if (event.key === "ArrowUp") select((index - 1 + shown.length) % Math.max(1, shown.length));
    else if (event.key === "Enter") choose(shown[index]);
    else return;
    event.preventDefault();
  };

  return (
    <dialog ref={dialog} className="dialog palette" aria-label="Find or do">
      <div className="dialog-body">
        <input
          role="combobox"
          aria-expanded="true"
          aria-controls="palette-list"
          aria-activedescendant={shown[index] ? `palette-${shown[index].id}` : undefined}
          aria-label="Find a page or an action"
          data-testid="palette-input"
          placeholder="Find a page, or type what you want to do"
          value={query}
          autoFocus
          onChange={(event) => {
            setQuery(event.target.value);
            setIndex(0);
          }}
          onKeyDown={onKeyDown}
        />
        <div
          className="palette-list"
          role="listbox"
          id="palette-list"
          aria-label="Results"
          ref={list}
          tabIndex={-1}
        >
          {shown.map((entry, position) => (
            <div
              key={entry.id}
              id={`palette-${entry.id}`}
              role="option"
              tabIndex={-1}
              aria-selected={position === index}
              className="palette-entry"
              onPointerMove={() => position !== index && setIndex(position)}
              onClick={() => choose(entry)}
              onKeyDown={onKeyDown}
            >
              <span className="menu-icon" aria-hidden="true">
                {entry.icon}
              </span>
              <span className="palette-label" dir="auto">
                {entry.label}
              </span>
              <span className="muted">{entry.detail}</span>
            </div>
          ))}
        </div>
        {shown.length === 0 ? <p className="palette-none">Nothing is called that.</p> : null}
      </div>
    </dialog>
  );
}
