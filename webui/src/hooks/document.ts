/** Hooks around one open document: who is here, and the editors. */
import { type RefObject, useEffect, useMemo, useRef, useState, useSyncExternalStore } from "react";
import type { PageEditor } from "../editor/page-editor";
import type { TextEditor } from "../editor/text-editor";
import type { UserId } from "../model/identifiers";
import { ApiError } from "../model/ports";
import { type PresenceUser, presenceUser, readPresenceUser } from "../model/presence";
import type { DocumentSession } from "../sync/session";
import { useApp } from "./app";

export interface Visitor extends PresenceUser {
  clientId: number;
}

/** Announces this window's person to the others in the document. */
export function useAnnounce(
  session: DocumentSession | null,
  userId: UserId | null,
  name: string | null,
): void {
  useEffect(() => {
    if (!session || !userId || !name) return;
    session.awareness.setLocalStateField("user", presenceUser(userId, name));
  }, [session, userId, name]);
}

/** A line that was closed for want of a session: ask the daemon, whose answer decides what the window shows. */
export function useSignedOutCheck(session: DocumentSession | null): void {
  const { library, daemon } = useApp();
  useEffect(() => {
    if (!session) return;
    const check = () => {
      const { link } = session.state.get();
      if (link.kind !== "stopped" || link.reason !== "signed_out") return;
      library.refreshStatus().catch((error: unknown) => {
        if (error instanceof ApiError && error.failure.kind === "signed_out") daemon.set("signed_out");
      });
    };
    check();
    return session.state.subscribe(check);
  }, [session, library, daemon]);
}

/** The others in the document, one entry per person. */
export function useVisitors(session: DocumentSession | null): readonly Visitor[] {
  const store = useMemo(() => {
    let value: readonly Visitor[] = [];
    const read = () => {
      if (!session) return;
      const found = new Map<string, Visitor>();
      for (const [clientId, state] of session.awareness.getStates()) {
        const user = clientId === session.doc.clientID ? null : readPresenceUser(state);
        const key = user?.user_id ?? user?.name;
        if (user && key !== undefined && !found.has(key)) found.set(key, { ...user, clientId });
      }
      const next = [...found.values()];
      const print = (list: readonly Visitor[]) =>
        list.map((one) => `${one.clientId}${one.name}${one.color}`).join();
      if (print(next) !== print(value)) value = next;
    };
    return {
      get: () => value,
      subscribe(listener: () => void) {
        const changed = () => {
          const before = value;
          read();
          if (value !== before) listener();
        };
        changed();
        session?.awareness.on("change", changed);
        return () => session?.awareness.off("change", changed);
      },
    };
  }, [session]);
  return useSyncExternalStore(store.subscribe, store.get);
}

export interface PageEditorCallbacks {
  onLinkKey: () => void;
  onBarKey: () => void;
}

type PageEditorModule = typeof import("../editor/page-editor");

/** The page's editor, from the moment its document may be bound. The editor's code is loaded by then. */
export function usePageEditor(
  session: DocumentSession,
  bindable: boolean,
  label: string,
  callbacks: RefObject<PageEditorCallbacks>,
): PageEditor | null {
  const [module, setModule] = useState<PageEditorModule | null>(null);
  useEffect(() => {
    let wanted = true;
    void import("../editor/page-editor").then((loaded) => wanted && setModule(loaded));
    return () => {
      wanted = false;
    };
  }, []);
  const labelRef = useRef(label);
  labelRef.current = label;
  return useMemo(() => {
    if (!module || !bindable) return null;
    return new module.PageEditor({
      doc: session.doc,
      awareness: session.awareness,
      label: labelRef.current,
      onLinkKey: () => callbacks.current.onLinkKey(),
      onBarKey: () => callbacks.current.onBarKey(),
    });
  }, [module, bindable, session, callbacks]);
}

/** Mounts CodeMirror (loaded on demand) in the returned ref once the document may be bound. */
export function useTextEditor(
  session: DocumentSession,
  bindable: boolean,
  editable: boolean,
  label: string,
): { host: RefObject<HTMLDivElement | null>; editor: TextEditor | null } {
  const host = useRef<HTMLDivElement | null>(null);
  const [editor, setEditor] = useState<TextEditor | null>(null);
  const initial = useRef({ editable, label });
  initial.current = { editable, label };
  useEffect(() => {
    const element = host.current;
    if (!bindable || !element) return;
    let made: TextEditor | null = null;
    let wanted = true;
    void import("../editor/text-editor").then(({ createTextEditor }) => {
      if (!wanted) return;
      made = createTextEditor(element, {
        doc: session.doc,
        awareness: session.awareness,
        ...initial.current,
      });
      setEditor(made);
    });
    return () => {
      wanted = false;
      setEditor(null);
      made?.destroy();
    };
  }, [session, bindable]);
  useEffect(() => {
    editor?.setEditable(editable);
  }, [editor, editable]);
  return { host, editor };
}
