/** A button that opens a list of actions: arrow keys, Home, End, Escape, and back to the button. */
import { type KeyboardEvent, type ReactNode, useEffect, useLayoutEffect, useRef, useState } from "react";
import { useDismiss } from "../hooks/dismiss";

export interface MenuItem {
  label: string;
  icon?: ReactNode;
  hint?: string;
  danger?: boolean;
  disabled?: boolean;
  run: () => void;
}

interface MenuProps {
  label: string;
  icon: ReactNode;
  items: readonly (MenuItem | "separator")[];
  className?: string;
  testId?: string;
}

const margin_px = 8;

/** Below its button, inside the window. Fixed, so that no scrolling parent cuts it off. */
export function placeBelow(list: HTMLElement, button: HTMLElement): void {
  const from = button.getBoundingClientRect();
  const { offsetWidth: width, offsetHeight: height } = list;
  const left = Math.max(margin_px, Math.min(from.left, innerWidth - width - margin_px));
  const below = from.bottom + 4;
  const top = below + height + margin_px > innerHeight ? Math.max(margin_px, from.top - height - 4) : below;
  list.style.left = `${left}px`;
  list.style.top = `${top}px`;
}

export function Menu({ label, icon, items, className = "", testId }: MenuProps) {
  const [open, setOpen] = useState(false);
  const area = useRef<HTMLDivElement | null>(null);
  const button = useRef<HTMLButtonElement | null>(null);
  useDismiss(area, open, () => {
    setOpen(false);
    button.current?.focus();
  });
  return (
    <div className={`menu ${className}`} ref={area}>
      <button
        ref={button}
        type="button"
        className="icon-button"
        aria-label={label}
        title={label}
        aria-haspopup="menu"
        aria-expanded={open}
        data-testid={testId}
        onClick={(event) => {
          event.stopPropagation();
          setOpen(!open);
        }}
      >
        {icon}
      </button>
      {open ? (
        <MenuList
          label={label}
          items={items}
          button={button.current}
          onDone={(refocus) => {
            setOpen(false);
            if (refocus) button.current?.focus();
          }}
        />
      ) : null}
    </div>
  );
}

interface MenuListProps {
  label: string;
  items: MenuProps["items"];
  button: HTMLElement | null;
  onDone: (refocus: boolean) => void;
}

export function MenuList({ label, items, button, onDone }: MenuListProps) {
  const list = useRef<HTMLDivElement | null>(null);
  useLayoutEffect(() => {
    if (list.current && button) placeBelow(list.current, button);
  }, [button]);
  useEffect(() => {
    list.current?.querySelector<HTMLElement>("[role=menuitem]:not([disabled])")?.focus();
  }, []);
  const onKeyDown = (event: KeyboardEvent) => {
    const entries = [
      ...(list.current?.querySelectorAll<HTMLElement>("[role=menuitem]:not([disabled])") ?? []),
    ];
    const at = entries.indexOf(document.activeElement as HTMLElement);
    const to = { ArrowDown: at + 1, ArrowUp: at - 1, Home: 0, End: entries.length - 1 }[event.key];
    if (event.key === "Tab") onDone(false);
    if (to === undefined) return;
    event.preventDefault();
    entries[(to + entries.length) % entries.length]?.focus();
  };
  return (
    <div
      ref={list}
      role="menu"
      aria-label={label}
      className="menu-list"
      tabIndex={-1}
      onKeyDown={onKeyDown}
      data-floating
    >
      {items.map((item, index) =>
        item === "separator" ? (
          // biome-ignore lint/suspicious/noArrayIndexKey: separators have nothing else to be known by, and never move
          <hr key={`separator-${index}`} className="menu-separator" />
        ) : (
          <button
            key={item.label}
            type="button"
            role="menuitem"
            tabIndex={-1}
            disabled={item.disabled}
            className={item.danger ? "danger" : ""}
            onClick={(event) => {
              event.stopPropagation();
              onDone(true);
              item.run();
            }}
          >
            <span className="menu-icon" aria-hidden="true">
              {item.icon}
            </span>
            <span>{item.label}</span>
            {item.hint ? <kbd>{item.hint}</kbd> : null}
          </button>
        ),
      )}
    </div>
  );
}
