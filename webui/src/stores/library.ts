/**
 * Spaces, their documents, and the daemon's status. Shows what it last knew (also across a reload), asks the
 * daemon again when told that something changed, and shows moves and titles before they are confirmed.
 */
import { notDelivered } from "../model/delivery";
import type { DocumentId, SpaceId } from "../model/identifiers";
import type { Document, DocumentType, Space, Status, StorageState } from "../model/library";
import { ApiError, type DocumentPatch, type SheafApi } from "../model/ports";
import { createStore, type ReadableStore } from "../model/store";
import { type Place, withPlace } from "../model/tree";
import type { Cache } from "./storage";

export interface Library {
  status: Status | null;
  spaces: Space[] | null;
  documents: Partial<Record<SpaceId, Document[]>>;
  /** Titles typed while the daemon was away. They are shown, kept across a reload, and sent when it is back. */
  unsentTitles: Partial<Record<DocumentId, string>>;
}

export interface LibraryStore extends ReadableStore<Library> {
  refresh(): Promise<void>;
  refreshSpaces(): Promise<void>;
  refreshDocuments(spaceId: SpaceId): Promise<void>;
  refreshStatus(): Promise<void>;
  setStorage(storage: Pick<StorageState, "state" | "detail">): void;
  find(documentId: DocumentId): Document | null;
  /** Learns of one document that no known list holds (a link opened first). */
  lookUp(documentId: DocumentId): Promise<Document>;
  createSpace(name: string): Promise<Space>;
  renameSpace(spaceId: SpaceId, name: string): Promise<void>;
  setRelays(spaceId: SpaceId, urls: readonly string[]): Promise<void>;
  leaveSpace(spaceId: SpaceId): Promise<void>;
  createDocument(
    spaceId: SpaceId,
    type: DocumentType,
    parent: DocumentId | null,
    title?: string,
  ): Promise<Document>;
  setTitle(documentId: DocumentId, title: string): Promise<void>;
  move(documentId: DocumentId, place: Place): Promise<void>;
  setTrashed(documentId: DocumentId, trashed: boolean): Promise<void>;
}

const cache_key = "library";
const cache_pause_ms = 250;

function fromCache(cache: Cache): Library {
  const saved = cache.read(cache_key);
  const empty: Library = { status: null, spaces: null, documents: {}, unsentTitles: {} };
  if (typeof saved !== "object" || saved === null) return empty;
  const known = { ...empty, ...saved };
  // Written by an earlier version, or an hour ago: what is only true for a moment is not shown from a cache.
  return {
    ...known,
    status: known.status && {
      ...known.status,
      relays: [],
      clones: [],
      share_seen: known.status.share_seen ?? true,
    },
    spaces:
      known.spaces?.map((space) => ({
        ...space,
        relay_urls: space.relay_urls ?? [],
        delivery: notDelivered,
      })) ?? null,
  };
}

export function createLibrary(api: SheafApi, cache: Cache): LibraryStore {
  const store = createStore<Library>(fromCache(cache));
  let isWritePlanned = false;
  const commit = (change: (current: Library) => Library) => {
    store.update(change);
    // A large library is not written at every letter of a title.
    if (isWritePlanned) return;
    isWritePlanned = true;
    setTimeout(() => {
      isWritePlanned = false;
      cache.write(cache_key, store.get());
    }, cache_pause_ms);
  };
  const putDocuments = (spaceId: SpaceId, change: (documents: Document[]) => Document[]) =>
    commit((current) => ({
      ...current,
      documents: { ...current.documents, [spaceId]: change(current.documents[spaceId] ?? []) },
    }));
  const putDocument = (document: Document) =>
    putDocuments(document.space_id, (documents) => [
      ...documents.filter((other) => other.document_id !== document.document_id),
      document,
    ]);
  const find = (documentId: DocumentId): Document | null => {
    for (const documents of Object.values(store.get().documents)) {
      const found = documents?.find((document) => document.document_id === documentId);
      if (found) return found;
    }
    return null;
  };

  const edit = (documentId: DocumentId, fields: Partial<Document>) => (documents: Document[]) =>
    documents.map((document) =>
      document.document_id === documentId ? { ...document, ...fields } : document,
    );

  async function refreshDocuments(spaceId: SpaceId): Promise<void> {
    const documents = await api.documents(spaceId);
    const { unsentTitles } = store.get();
    putDocuments(spaceId, () =>
      documents.map((document) => {
        const title = unsentTitles[document.document_id];
        return title === undefined ? document : { ...document, title };
      }),
    );
  }

  function forgetTitle(documentId: DocumentId, title: string): void {
    if (store.get().unsentTitles[documentId] !== title) return;
    commit((current) => {
      const { [documentId]: _sent, ...unsentTitles } = current.unsentTitles;
      return { ...current, unsentTitles };
    });
  }

  async function sendTitle(documentId: DocumentId, title: string): Promise<void> {
    try {
      await api.updateDocument(documentId, { title });
      forgetTitle(documentId, title);
    } catch (error) {
      if (error instanceof ApiError && error.failure.kind !== "problem") return;
      forgetTitle(documentId, title);
      throw error;
    }
  }

  async function setTitle(documentId: DocumentId, title: string): Promise<void> {
    const before = find(documentId);
    if (!before) return;
    putDocuments(before.space_id, edit(documentId, { title }));
    commit((current) => ({ ...current, unsentTitles: { ...current.unsentTitles, [documentId]: title } }));
    await sendTitle(documentId, title);
  }

  function setSpaces(spaces: Space[]): void {
    const ids = new Set<string>(spaces.map((space) => space.space_id));
    commit((current) => ({
      ...current,
      spaces,
      documents: Object.fromEntries(Object.entries(current.documents).filter(([id]) => ids.has(id))),
    }));
  }

  const putSpace = (space: Space) =>
    commit((current) => ({
      ...current,
      spaces: (current.spaces ?? []).map((other) => (other.space_id === space.space_id ? space : other)),
    }));

  async function refreshSpaces(): Promise<void> {
    setSpaces(await api.spaces());
  }

  async function refreshStatus(): Promise<void> {
    const status = await api.status();
    commit((current) => ({ ...current, status }));
  }

  /** Shows `optimistic` at once; the daemon's answer, or its refusal, has the last word. */
  async function change(
    documentId: DocumentId,
    patch: DocumentPatch,
    optimistic: (documents: Document[]) => Document[],
  ): Promise<void> {
    const before = find(documentId);
    if (!before) return;
    putDocuments(before.space_id, optimistic);
    try {
      putDocument(await api.updateDocument(documentId, patch));
    } catch (error) {
      putDocument(before);
      throw error;
    }
  }

  return {
    get: store.get,
    subscribe: store.subscribe,
    refreshSpaces,
    refreshDocuments,
    refreshStatus,
    async refresh() {
      const [status, spaces] = await Promise.all([api.status(), api.spaces()]);
      const unsent = Object.entries(store.get().unsentTitles) as [DocumentId, string][];
      await Promise.allSettled(unsent.map(([id, title]) => sendTitle(id, title)));
      commit((current) => ({ ...current, status }));
      setSpaces(spaces);
      await Promise.all(spaces.map((space) => refreshDocuments(space.space_id)));
    },
    setStorage(storage) {
      commit((current) =>
        current.status
          ? { ...current, status: { ...current.status, storage: { ...current.status.storage, ...storage } } }
          : current,
      );
    },
    find,
    async lookUp(documentId) {
      const document = await api.document(documentId);
      putDocument(document);
      return document;
    },
    async createSpace(name) {
      const space = await api.createSpace(name);
      commit((current) => ({
        ...current,
        spaces: [...(current.spaces ?? []).filter((other) => other.space_id !== space.space_id), space],
        documents: { ...current.documents, [space.space_id]: [] },
      }));
      return space;
    },
    renameSpace: async (spaceId, name) => putSpace(await api.renameSpace(spaceId, name)),
    setRelays: async (spaceId, urls) => putSpace(await api.setRelays(spaceId, urls)),
    async leaveSpace(spaceId) {
      await api.leaveSpace(spaceId);
      setSpaces((store.get().spaces ?? []).filter((space) => space.space_id !== spaceId));
    },
    async createDocument(spaceId, type, parent, title = "") {
      const document = await api.createDocument(spaceId, { title, type, parent_id: parent });
      putDocument(document);
      return document;
    },
    setTitle,
    move: (documentId, place) => change(documentId, { ...place }, (all) => withPlace(all, documentId, place)),
    setTrashed: (documentId, trashed) => change(documentId, { trashed }, edit(documentId, { trashed })),
  };
}
