/**
 * The browser's own copy of a document (IndexedDB). The daemon stays the keeper; the copy only outlives its
 * restarts, and holds what the daemon has not acknowledged yet.
 */
import { clearDocument, IndexeddbPersistence } from "y-indexeddb";
import * as Y from "yjs";

const known_key = "known";
const probe_key = "probe";

export interface LocalCopy {
  /** Resolves when the copy is loaded; true when it is a complete earlier state and may be edited. */
  loaded: Promise<boolean>;
  isOrigin(origin: unknown): boolean;
  /** The document has been complete here once: from now on the copy alone is enough to open it. */
  markKnown(): void;
  /**
   * Resolves when all that was changed until now is in the browser's storage; with false when that is full, broken
   * or absent. It may lag behind a fast typist by seconds.
   */
  hasStored(): Promise<boolean>;
  close(): Promise<void>;
}

const databaseName = (documentId: string) => `sheaf.document.${documentId}`;

/**
 * Resolves with the outcome of a whole transaction: a full disk shows at its end, not at the request. It comes after
 * every transaction that was there before, because it claims both stores.
 */
function probe(database: IDBDatabase): Promise<boolean> {
  return new Promise((resolve) => {
    const transaction = database.transaction(["updates", "custom"], "readwrite");
    transaction.oncomplete = () => resolve(true);
    transaction.onabort = transaction.onerror = () => resolve(false);
    transaction.objectStore("custom").put(Date.now(), probe_key);
  });
}

/**
 * Writes changes in batches: what comes while a transaction runs is one update of the next. y-indexeddb opens one
 * for each keystroke, so that a fast typist is seconds ahead of the copy.
 *
 * A database that the browser has closed throws at the next change, and would keep that change from whoever listens
 * after it: the daemon. Whether changes are stored is `hasStored()`'s to say.
 */
class BatchedWrites {
  readonly #persistence: IndexeddbPersistence;
  readonly #store: IndexeddbPersistence["_storeUpdate"];
  #waiting: Uint8Array[] = [];
  #isWriting = false;

  constructor(persistence: IndexeddbPersistence, doc: Y.Doc) {
    this.#persistence = persistence;
    this.#store = persistence._storeUpdate;
    doc.off("update", this.#store);
    persistence._storeUpdate = (update, origin) => {
      // Before the database is open, the document's whole state is what will be written first.
      if (origin === persistence || persistence.db === null) return;
      this.#waiting.push(update);
      if (!this.#isWriting) void this.#run();
    };
    doc.on("update", persistence._storeUpdate);
  }

  /** Begins to write what waits; a database that is closed afterwards still finishes it. */
  flush(): void {
    if (this.#waiting.length === 0) return;
    const update = Y.mergeUpdates(this.#waiting);
    this.#waiting = [];
    try {
      this.#store(update, null);
    } catch {
      // See above.
    }
  }

  async hasStored(): Promise<boolean> {
    this.flush();
    try {
      return this.#persistence.db !== null && (await probe(this.#persistence.db));
    } catch {
      return false;
    }
  }

  async #run(): Promise<void> {
    this.#isWriting = true;
    while (this.#waiting.length > 0) await this.hasStored();
    this.#isWriting = false;
  }
}

export function openLocalCopy(documentId: string, doc: Y.Doc): LocalCopy {
  // Private windows of some browsers have no IndexedDB: everything works, only a reload while the daemon is down does not.
  if (!("indexedDB" in globalThis)) {
    return {
      loaded: Promise.resolve(false),
      isOrigin: () => false,
      markKnown: () => undefined,
      hasStored: async () => false,
      close: async () => undefined,
    };
  }
  const persistence = new IndexeddbPersistence(databaseName(documentId), doc);
  const writes = new BatchedWrites(persistence, doc);
  // Asked first, because a database that cannot be opened never gets in step: the page opens without it.
  const loaded = persistence
    .get(known_key)
    .then(async (known) => {
      await persistence.whenSynced;
      return known !== undefined;
    })
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
    hasStored: () => writes.hasStored(),
    close: async () => {
      writes.flush();
      await persistence.destroy();
    },
  };
}

/** Which of these documents have a copy here. A browser that cannot tell has none. */
export async function withLocalCopy<Id extends string>(documentIds: readonly Id[]): Promise<Id[]> {
  const databases = await globalThis.indexedDB?.databases?.().catch(() => []);
  const names = new Set(databases?.map(({ name }) => name));
  return documentIds.filter((documentId) => names.has(databaseName(documentId)));
}

/** Removes the browser's copy. The caller has seen to it that nobody has it open. */
export const eraseLocalCopy = async (documentId: string): Promise<void> => {
  if ("indexedDB" in globalThis) await clearDocument(databaseName(documentId));
};
