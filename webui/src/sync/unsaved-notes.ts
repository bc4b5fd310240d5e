/**
 * Notes in localStorage: which documents have edits in this browser that no daemon has acknowledged.
 *
 * One note for each window that edited a document, under the client id its edits were made with. So one window
 * that is acknowledged does not speak for another that is not. The edits themselves are in the local copy.
 */
import { type DocumentId, parseDocumentId } from "../model/identifiers";
import type { DocumentLabel } from "../model/unsaved";

export interface UnsavedNote {
  documentId: DocumentId;
  /** The Yjs client id of the edits, and the clock of the first that was not acknowledged. */
  client: number;
  from: number;
  /** Grows with every edit, and once more when the window ends. */
  revision: number;
  words: number;
  since_ms: number;
  label: DocumentLabel | null;
  /**
   * Edits that were not in the local copy yet when the window ended, as a Yjs update in base64. A local copy is
   * written in its own time, and a window that closes does not wait for it; this storage is written at once.
   */
  tail: string | null;
}

const prefix = "sheaf.unsaved.";

const keyOf = (note: Pick<UnsavedNote, "documentId" | "client">) =>
  `${prefix}${note.documentId}.${note.client}`;

const numberOf = (value: unknown): number => (typeof value === "number" && value >= 0 ? value : 0);

function labelOf(value: unknown): DocumentLabel | null {
  if (typeof value !== "object" || value === null) return null;
  const { title, type, space } = value as Record<string, unknown>;
  if (typeof title !== "string" || typeof space !== "string") return null;
  return { title, space, type: type === "text" ? "text" : "page" };
}

function parse(key: string, text: string): UnsavedNote | null {
  const [id = "", client = "0"] = key.slice(prefix.length).split(".");
  const documentId = parseDocumentId(id);
  if (!documentId) return null;
  let fields: Record<string, unknown> = {};
  try {
    // An earlier version wrote "1": the document has such edits, and that is all it says.
    const value: unknown = JSON.parse(text);
    if (typeof value === "object" && value !== null) fields = value as Record<string, unknown>;
  } catch {
    // A note that cannot be read is still a note.
  }
  return {
    documentId,
    client: Number(client) || 0,
    from: numberOf(fields.from),
    revision: numberOf(fields.revision),
    words: numberOf(fields.words),
    since_ms: numberOf(fields.since_ms),
    label: labelOf(fields.label),
    tail: typeof fields.tail === "string" ? fields.tail : null,
  };
}

/** All notes, or those of one document. A storage that refuses has none. */
export function readNotes(documentId?: DocumentId): UnsavedNote[] {
  try {
    const found: UnsavedNote[] = [];
    for (let index = 0; index < localStorage.length; index += 1) {
      const key = localStorage.key(index);
      if (!key?.startsWith(prefix)) continue;
      const note = parse(key, localStorage.getItem(key) ?? "");
      if (note && (documentId === undefined || note.documentId === documentId)) found.push(note);
    }
    return found;
  } catch {
    return [];
  }
}

/** False when the browser's storage refused it (a private window, or full). */
export function writeNote(note: UnsavedNote): boolean {
  const { documentId: _id, client: _client, ...fields } = note;
  let isWritten = true;
  try {
    localStorage.setItem(keyOf(note), JSON.stringify(fields));
  } catch {
    isWritten = false;
  }
  announce();
  return isWritten;
}

export function removeNotes(notes: readonly Pick<UnsavedNote, "documentId" | "client">[]): void {
  try {
    for (const note of notes) {
      localStorage.removeItem(keyOf(note));
      if (note.client === 0) localStorage.removeItem(prefix + note.documentId);
    }
  } catch {
    // See above.
  }
  announce();
}

const listeners = new Set<() => void>();
function announce(): void {
  for (const listener of [...listeners]) listener();
}

/** Tells when another window of this browser wrote or took away a note; the returned function ends it. */
export function watchOtherWindows(listener: () => void): () => void {
  const onStorage = (event: StorageEvent) => {
    if (event.key === null || event.key.startsWith(prefix)) listener();
  };
  globalThis.addEventListener?.("storage", onStorage);
  return () => globalThis.removeEventListener?.("storage", onStorage);
}

/** The same, and of changes in this window. */
export function watchNotes(listener: () => void): () => void {
  listeners.add(listener);
  const unwatch = watchOtherWindows(listener);
  return () => {
    listeners.delete(listener);
    unwatch();
  };
}
