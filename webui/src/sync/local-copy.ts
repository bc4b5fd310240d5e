/**
 * The browser's own copy of a document (IndexedDB), and the note whether it holds edits the daemon has not
 * acknowledged. The daemon stays the keeper; the copy only outlives its restarts.
 */
import { IndexeddbPersistence } from "y-indexeddb";
import type * as Y from "yjs";

const known_key = "known";

export interface LocalCopy {
  /** Resolves when the copy is loaded; true when it is a complete earlier state and may be edited. */
  loaded: Promise<boolean>;
  isOrigin(origin: unknown): boolean;
  /** The document has been complete here once: from now on the copy alone is enough to open it. */
  markKnown(): void;
  close(): Promise<void>;
  erase(): Promise<void>;
}

const databaseName = (documentId: string) => `sheaf.document.${documentId}`;

export function openLocalCopy(documentId: string, doc: Y.Doc): LocalCopy {
  // Private windows of some browsers have no IndexedDB: everything works, only a reload while the daemon is down does not.
  if (!("indexedDB" in globalThis)) {
    return {
      loaded: Promise.resolve(false),
      isOrigin: () => false,
      markKnown: () => undefined,
      close: async () => undefined,
      erase: async () => undefined,
    };
  }
  const persistence = new IndexeddbPersistence(databaseName(documentId), doc);
  const loaded = persistence.whenSynced
    .then(async () => (await persistence.get(known_key)) !== undefined)
    .catch(() => false);
  let marked = false;
  return {
    loaded,
    isOrigin: (origin) => origin === persistence,
    markKnown() {
      if (marked) return;
      marked = true;
      persistence.whenSynced.then(() => persistence.set(known_key, 1)).catch(() => undefined);
    },
    close: async () => {
      await persistence.destroy();
    },
    erase: async () => {
      await persistence.clearData();
    },
  };
}

const unsaved_prefix = "sheaf.unsaved.";

export function readUnsaved(documentId: string): boolean {
  try {
    return localStorage.getItem(unsaved_prefix + documentId) !== null;
  } catch {
    return false;
  }
}

export function writeUnsaved(documentId: string, unsaved: boolean): void {
  try {
    if (unsaved) localStorage.setItem(unsaved_prefix + documentId, "1");
    else localStorage.removeItem(unsaved_prefix + documentId);
  } catch {
    // Storage refused (private window, full): only the words after a reload are less precise.
  }
}
