/**
 * Which documents are open. A session outlives the component that asked for it by a moment, so that going to
 * another page and back, or React mounting twice, does not drop the line to the daemon.
 */
import { useEffect, useState } from "react";
import type { DocumentId } from "../model/identifiers";
import { type DocumentSession, openSession } from "../sync/session";

const linger_ms = 1_500;

export interface SessionRegistry {
  acquire(documentId: DocumentId): DocumentSession;
  release(documentId: DocumentId): void;
  /** Forgets a document that has ended (gone, refused), so that the next visit starts anew. */
  discard(documentId: DocumentId): void;
  nudge(): void;
}

interface Entry {
  session: DocumentSession;
  holders: number;
  timer: ReturnType<typeof setTimeout> | null;
}

export function createSessions(): SessionRegistry {
  const entries = new Map<DocumentId, Entry>();
  const close = (documentId: DocumentId) => {
    entries.get(documentId)?.session.close();
    entries.delete(documentId);
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
    discard: close,
    nudge() {
      for (const { session } of entries.values()) session.nudge();
    },
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
