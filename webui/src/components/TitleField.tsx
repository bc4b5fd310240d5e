/** The title: a line of the page that lives in the space's index, so it is sent on its own. Kept with each letter. */
import { type KeyboardEvent, useEffect, useRef, useState } from "react";
import { useActions } from "../hooks/actions";
import { useApp } from "../hooks/app";
import { useStore } from "../hooks/store";
import { type Document, untitled } from "../model/library";

const pause_ms = 400;

interface TitleFieldProps {
  document: Document;
  readOnly: boolean;
  onLeave: () => void;
}

export function TitleField({ document, readOnly, onLeave }: TitleFieldProps) {
  const { overlays, library } = useApp();
  const actions = useActions();
  const fresh = useStore(overlays.freshDocument);
  const [draft, setDraft] = useState<string | null>(null);
  const timer = useRef<ReturnType<typeof setTimeout> | null>(null);
  const field = useRef<HTMLTextAreaElement | null>(null);
  const id = document.document_id;

  const send = useRef(() => {});
  send.current = () => {
    if (timer.current) clearTimeout(timer.current);
    timer.current = null;
    void actions.sendTitle(id);
  };
  // Whatever was typed is sent when the page is left before the pause is over.
  useEffect(() => () => send.current(), []);

  useEffect(() => {
    if (fresh !== id) return;
    overlays.freshDocument.set(null);
    field.current?.focus();
  }, [fresh, id, overlays]);

  const onKeyDown = (event: KeyboardEvent) => {
    if (event.key !== "Enter" && !(event.key === "ArrowDown" && !event.shiftKey)) return;
    if (event.nativeEvent.isComposing) return;
    event.preventDefault();
    send.current();
    onLeave();
  };

  return (
    <h1 className="title-line">
      <textarea
        ref={field}
        className="doc-title"
        dir="auto"
        data-testid="doc-title"
        aria-label="Title"
        placeholder={untitled}
        rows={1}
        spellCheck
        maxLength={500}
        readOnly={readOnly}
        value={draft ?? document.title}
        onChange={(event) => {
          const title = event.target.value.replace(/\n/g, " ");
          setDraft(title);
          library.draftTitle(id, title);
          if (timer.current) clearTimeout(timer.current);
          timer.current = setTimeout(() => send.current(), pause_ms);
        }}
        onBlur={() => {
          send.current();
          setDraft(null);
        }}
        onKeyDown={onKeyDown}
      />
    </h1>
  );
}
