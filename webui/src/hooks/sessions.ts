/**
 * Which documents are open. A session outlives the component that asked for it by a moment, so that going to
 * another page and back, or React mounting twice, does not drop the line to the daemon.
 */
import { useEffect, useState } from "react";
import type { DocumentId } from "../model/identifiers";
import { forgetDocument } from "../sync/forgetting";
import { type DocumentSession, openSession } from "../sync/session";

const linger_ms = 1_500;

export interface SessionRegistry {
  acquire(documentId: DocumentId): DocumentSession;
  release(documentId: DocumentId): void;
  /**
   * Closes a document here and removes this browser's copy of it; with `onlySaved`, unless there are edits in it
   * that no daemon acknowledged. False when it was not removed.
   */
  forget(documentId: DocumentId, options?: { onlySaved: boolean }): Promise<boolean>;
  nudge(): void;
  /** The window may end now. */
  flush(): void;
  /** The session of a document this window shows. */
  peek(documentId: DocumentId): DocumentSession | null;
}

interface Entry {
  session: DocumentSession;
  holders: number;
  timer: ReturnType<typeof setTimeout> | null;
}

export function createSessions(): SessionRegistry {
  const entries = new Map<DocumentId, Entry>();
  const close = (documentId: DocumentId) => {
    const entry = entries.get(documentId);
    entries.delete(documentId);
    entry?.session.close();
  };
  return {
    acquire(documentId) {
      const entry = entries.get(documentId) ?? { session: openSession(documentId), holders: 0, timer: null };
      entries.set(documentId, entry);
      if (entry.timer) clearTimeout(entry.timer);
      entry.timer = null;
      entry.holders += 1;
      return entry.session;
    },
    release(documentId) {
      const entry = entries.get(documentId);
      if (!entry) return;
      entry.holders -= 1;
      if (entry.holders === 0) entry.timer = setTimeout(() => close(documentId), linger_ms);
    },
    forget(documentId, options) {
      close(documentId);
      return forgetDocument(documentId, options);
    },
    nudge() {
      for (const { session } of entries.values()) session.nudge();
    },
    flush() {
      for (const { session } of entries.values()) session.flush();
    },
    peek: (documentId) => entries.get(documentId)?.session ?? null,
  };
}

/** The session of a document; null without a document, and for the first frame after it changed. */
export function useOptionalSession(
  sessions: SessionRegistry,
  documentId: DocumentId | null,
): DocumentSession | null {
  const [session, setSession] = useState<DocumentSession | null>(null);
  useEffect(() => {
    if (documentId === null) return;
    setSession(sessions.acquire(documentId));
    return () => {
      setSession(null);
      sessions.release(documentId);
    };
  }, [sessions, documentId]);
  return session?.documentId === documentId ? session : null;
}
