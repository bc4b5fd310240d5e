/** The pages of a space: a tree for the mouse, the keyboard and the ear. */
import {
  ArrowDown,
  ArrowUp,
  ChevronRight,
  CornerDownRight,
  CornerUpLeft,
  FileText,
  Hash,
  MoreHorizontal,
  Pencil,
  Plus,
  Trash2,
} from "lucide-react";
import { type DragEvent, type KeyboardEvent, useMemo, useRef, useState } from "react";
import { useActions } from "../hooks/actions";
import { useApp } from "../hooks/app";
import { useStore } from "../hooks/store";
import type { DocumentId } from "../model/identifiers";
import { titleOf } from "../model/library";
import {
  type DropPlace,
  flatten,
  type KeyboardMove,
  placeForDrop,
  placeForKey,
  type TreeNode,
} from "../model/tree";
import { IconButton } from "./controls";
import { Menu, type MenuItem } from "./Menu";

const drag_type = "application/x-sheaf-document";

interface DropMark {
  id: DocumentId;
  place: DropPlace;
}

function dropPlace(event: DragEvent<HTMLElement>): DropPlace {
  const box = event.currentTarget.getBoundingClientRect();
  const share = (event.clientY - box.top) / box.height;
  return share < 0.28 ? "before" : share > 0.72 ? "after" : "inside";
}

interface DocTreeProps {
  nodes: readonly TreeNode[];
  current: DocumentId | null;
  canEdit: boolean;
  label: string;
}

export function DocTree({ nodes, current, canEdit, label }: DocTreeProps) {
  const { preferences } = useApp();
  const actions = useActions();
  const { folded } = useStore(preferences);
  const [mark, setMark] = useState<DropMark | null>(null);
  const [dragged, setDragged] = useState<DocumentId | null>(null);
  const [renaming, setRenaming] = useState<DocumentId | null>(null);
  const [focused, setFocused] = useState<DocumentId | null>(null);
  const list = useRef<HTMLDivElement | null>(null);
  const rows = useMemo(() => flatten(nodes, (id) => !folded.includes(id)), [nodes, folded]);
  const stop = rows.some((row) => row.document.document_id === focused)
    ? focused
    : rows.some((row) => row.document.document_id === current)
      ? current
      : (rows[0]?.document.document_id ?? null);

  const focusRow = (id: DocumentId | undefined) => {
    if (!id) return;
    setFocused(id);
    list.current?.querySelector<HTMLElement>(`[data-document-id="${id}"]`)?.focus();
  };
  const moveBy = (id: DocumentId, move: KeyboardMove) => {
    const place = canEdit ? placeForKey(nodes, id, move) : null;
    if (place) void actions.move(id, place).then(() => focusRow(id));
  };

  const onKeyDown = (event: KeyboardEvent, row: TreeNode) => {
    if (event.target !== event.currentTarget) return;
    const id = row.document.document_id;
    const index = rows.indexOf(row);
    const isOpen = row.children.length > 0 && !folded.includes(id);
    const moves: Partial<Record<string, KeyboardMove>> = {
      ArrowUp: "up",
      ArrowDown: "down",
      ArrowRight: "in",
      ArrowLeft: "out",
    };
    const move = moves[event.key];
    if (event.altKey && move) moveBy(id, move);
    else if (event.key === "ArrowDown") focusRow(rows[index + 1]?.document.document_id);
    else if (event.key === "ArrowUp") focusRow(rows[index - 1]?.document.document_id);
    else if (event.key === "Home") focusRow(rows[0]?.document.document_id);
    else if (event.key === "End") focusRow(rows.at(-1)?.document.document_id);
    else if (event.key === "ArrowRight" && row.children.length > 0) {
      if (isOpen) focusRow(row.children[0]?.document.document_id);
      else preferences.toggleFold(id);
    } else if (event.key === "ArrowLeft") {
      if (isOpen) preferences.toggleFold(id);
      else focusRow(row.document.parent_id ?? undefined);
    } else if (event.key === "Enter" || event.key === " ") actions.openDocument(id);
    else if (event.key === "F2" && canEdit) setRenaming(id);
    else if (event.key === "Delete" && canEdit) void actions.trash(id);
    else return;
    event.preventDefault();
  };

  const onDragOver = (event: DragEvent<HTMLElement>, id: DocumentId) => {
    if (!dragged || !event.dataTransfer.types.includes(drag_type)) return;
    const place = dropPlace(event);
    if (!placeForDrop(nodes, dragged, id, place)) return setMark(null);
    event.preventDefault();
    if (mark?.id !== id || mark.place !== place) setMark({ id, place });
  };
  const onDrop = (event: DragEvent<HTMLElement>, id: DocumentId) => {
    event.preventDefault();
    const place = dragged && placeForDrop(nodes, dragged, id, dropPlace(event));
    if (dragged && place) void actions.move(dragged, place);
    setMark(null);
    setDragged(null);
  };

  const menuOf = (row: TreeNode): (MenuItem | "separator")[] => {
    const id = row.document.document_id;
    const can = (move: KeyboardMove) => placeForKey(nodes, id, move) !== null;
    return [
      { label: "Rename", icon: <Pencil size={15} />, hint: "F2", run: () => setRenaming(id) },
      {
        label: "New page inside",
        icon: <Plus size={15} />,
        run: () => void actions.createDocument(row.document.space_id, "page", id),
      },
      "separator",
      {
        label: "Move up",
        icon: <ArrowUp size={15} />,
        hint: "Alt ↑",
        disabled: !can("up"),
        run: () => moveBy(id, "up"),
      },
      {
        label: "Move down",
        icon: <ArrowDown size={15} />,
        hint: "Alt ↓",
        disabled: !can("down"),
        run: () => moveBy(id, "down"),
      },
      {
        label: "Move inside the one above",
        icon: <CornerDownRight size={15} />,
        hint: "Alt →",
        disabled: !can("in"),
        run: () => moveBy(id, "in"),
      },
      {
        label: "Move out",
        icon: <CornerUpLeft size={15} />,
        hint: "Alt ←",
        disabled: !can("out"),
        run: () => moveBy(id, "out"),
      },
      "separator",
      {
        label: "Move to trash",
        icon: <Trash2 size={15} />,
        hint: "Del",
        danger: true,
        run: () => void actions.trash(id),
      },
    ];
  };

  return (
    <div className="doc-tree" role="tree" aria-label={label} data-testid="doc-tree" ref={list}>
      {rows.map((row) => {
        const { document } = row;
        const id = document.document_id;
        const hasChildren = row.children.length > 0;
        const isOpen = hasChildren && !folded.includes(id);
        return (
          <div
            key={id}
            role="treeitem"
            aria-level={row.depth + 1}
            aria-selected={id === current}
            aria-current={id === current ? "page" : undefined}
            aria-expanded={hasChildren ? isOpen : undefined}
            aria-label={titleOf(document)}
            tabIndex={id === stop ? 0 : -1}
            className={`doc-row ${mark?.id === id ? `drop-${mark.place}` : ""} ${dragged === id ? "dragging" : ""}`}
            style={{ paddingInlineStart: `${4 + row.depth * 16}px` }}
            data-testid="doc-item"
            data-document-id={id}
            draggable={canEdit && renaming !== id}
            onClick={() => renaming !== id && actions.openDocument(id)}
            onDoubleClick={() => canEdit && setRenaming(id)}
            onKeyDown={(event) => onKeyDown(event, row)}
            onFocus={() => setFocused(id)}
            onDragStart={(event) => {
              event.dataTransfer.setData(drag_type, id);
              event.dataTransfer.effectAllowed = "move";
              setDragged(id);
            }}
            onDragOver={(event) => onDragOver(event, id)}
            onDragLeave={() => mark?.id === id && setMark(null)}
            onDrop={(event) => onDrop(event, id)}
            onDragEnd={() => {
              setMark(null);
              setDragged(null);
            }}
          >
            {hasChildren ? (
              <button
                type="button"
                className={`fold ${isOpen ? "fold-open" : ""}`}
                tabIndex={-1}
                aria-label={isOpen ? `Fold ${titleOf(document)}` : `Unfold ${titleOf(document)}`}
                onClick={(event) => {
                  event.stopPropagation();
                  preferences.toggleFold(id);
                }}
              >
                <ChevronRight size={14} />
              </button>
            ) : (
              <span className="fold-space" />
            )}
            <span className="doc-icon" aria-hidden="true">
              {document.type === "page" ? <FileText size={15} /> : <Hash size={15} />}
            </span>
            {renaming === id ? (
              <RenameInput
                title={document.title}
                onDone={(title) => {
                  setRenaming(null);
                  if (title !== null && title !== document.title) void actions.rename(id, title);
                  requestAnimationFrame(() => focusRow(id));
                }}
              />
            ) : (
              <span dir="auto" className={`doc-name ${document.title.trim() === "" ? "doc-name-empty" : ""}`}>
                {titleOf(document)}
              </span>
            )}
            {canEdit && renaming !== id ? (
              <span className="doc-actions">
                <Menu
                  label={`Actions for ${titleOf(document)}`}
                  icon={<MoreHorizontal size={15} />}
                  items={menuOf(row)}
                />
                <IconButton
                  label={`New page inside ${titleOf(document)}`}
                  icon={<Plus size={15} />}
                  onClick={(event) => {
                    event.stopPropagation();
                    void actions.createDocument(document.space_id, "page", id);
                  }}
                />
              </span>
            ) : null}
          </div>
        );
      })}
    </div>
  );
}

function RenameInput({ title, onDone }: { title: string; onDone: (title: string | null) => void }) {
  const done = useRef(false);
  const finish = (value: string | null) => {
    if (done.current) return;
    done.current = true;
    onDone(value);
  };
  return (
    <input
      className="rename"
      aria-label="New title"
      defaultValue={title}
      // biome-ignore lint/a11y/noAutofocus: the person has just asked to type here
      autoFocus
      onFocus={(event) => event.currentTarget.select()}
      onClick={(event) => event.stopPropagation()}
      onBlur={(event) => finish(event.currentTarget.value)}
      onKeyDown={(event) => {
        event.stopPropagation();
        if (event.key === "Enter") finish(event.currentTarget.value);
        if (event.key === "Escape") finish(null);
      }}
    />
  );
}
