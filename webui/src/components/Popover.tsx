/** A button with a small panel below it. */
import { type ReactNode, useEffect, useRef, useState } from "react";
import { useApp } from "../hooks/app";
import { useDismiss } from "../hooks/dismiss";

interface PopoverProps {
  label: string;
  /** The panel's own name, where the button's is a sentence about the state. */
  panelLabel?: string;
  button: ReactNode;
  buttonClass?: string;
  testId?: string;
  data?: Record<`data-${string}`, string>;
  children: ReactNode;
}

export function Popover({
  label,
  panelLabel = label,
  button,
  buttonClass = "",
  testId,
  data,
  children,
}: PopoverProps) {
  const { overlays } = useApp();
  const [open, setOpen] = useState(false);
  const area = useRef<HTMLDivElement | null>(null);
  const trigger = useRef<HTMLButtonElement | null>(null);
  const panel = useRef<HTMLDivElement | null>(null);
  // The panel is read out, and its arrow keys scroll it; Escape gives the focus back.
  useEffect(() => {
    if (open) panel.current?.focus({ preventScroll: true });
  }, [open]);
  useDismiss(area, open, () => {
    setOpen(false);
    trigger.current?.focus();
  });
  // A dialog that was asked for in here takes the panel's place, and gives the focus back to the button.
  const giveWay = () => {
    if (overlays.overlay.get().kind === "none") return;
    trigger.current?.focus();
    setOpen(false);
  };
  return (
    <div className="popover" ref={area}>
      <button
        ref={trigger}
        type="button"
        className={buttonClass}
        aria-label={label}
        aria-expanded={open}
        aria-haspopup="dialog"
        data-testid={testId}
        {...data}
        onClick={() => setOpen(!open)}
      >
        {button}
      </button>
      {open ? (
        // biome-ignore lint/a11y/useKeyWithClickEvents: nothing to press itself; it hears the buttons inside, from any key
        <div
          ref={panel}
          className="popover-panel"
          role="dialog"
          aria-label={panelLabel}
          tabIndex={-1}
          onClick={giveWay}
        >
          {children}
        </div>
      ) : null}
    </div>
  );
}
