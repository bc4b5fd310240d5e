/**
 * Spaces, their documents, and the daemon's status. Shows what it last knew (also across a reload), asks the
 * daemon again when told that something changed, and shows moves and titles before they are confirmed.
 *
 * Invariants:
 *  1. A space leaves the list when the daemon says that it is not there, or was left here. A list that lacks it,
 *     an error and a daemon that is away say nothing of the kind.
 *  2. A title that was typed is kept until the daemon has it, or the person has seen that it will not take it.
 */
import { notDelivered } from "../model/delivery";
import type { DocumentId, SpaceId } from "../model/identifiers";
import {
  type Document,
  type DocumentType,
  isSaving,
  type Space,
  type Status,
  type StorageState,
} from "../model/library";
import {
  ApiError,
  type DocumentPatch,
  describeFailure,
  isAnswered,
  isFinal,
  isNotFound,
  type SheafApi,
} from "../model/ports";
import { createStore, type ReadableStore } from "../model/store";
import { type Place, withPlace } from "../model/tree";
import type { Cache } from "./storage";
import {
  isOvertaken,
  readTitles,
  shownTitle,
  type UnsentTitle,
  type UnsentTitles,
  writeTitle,
} from "./titles";

export interface Library {
  status: Status | null;
  spaces: Space[] | null;
  documents: Partial<Record<SpaceId, Document[]>>;
  /** Titles the daemon does not have yet. They are shown, kept across a reload, and sent when it is back. */
  unsentTitles: UnsentTitles;
}

export interface LibraryStore extends ReadableStore<Library> {
  /** False when the daemon answered, but could not tell everything. */
  refresh(): Promise<boolean>;
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
  /** Shows and keeps a title while it is being typed; `sendTitle` sends it. */
  draftTitle(documentId: DocumentId, title: string): void;
  sendTitle(documentId: DocumentId): Promise<void>;
  /** The person has seen that a title was not taken. */
  dismissTitle(documentId: DocumentId): void;
  /** The window may end now: what waits for a pause is written and sent at once. */
  flush(): void;
  move(documentId: DocumentId, place: Place): Promise<void>;
  setTrashed(documentId: DocumentId, trashed: boolean): Promise<void>;
}

const cache_key = "library";
const cache_pause_ms = 250;
const no_page = "Sheaf does not have its page on this laptop.";

/** An earlier version kept the titles themselves in the library. */
function olderTitles(saved: object): UnsentTitles {
  const older = "unsentTitles" in saved ? saved.unsentTitles : null;
  if (typeof older !== "object" || older === null) return {};
  const titles = Object.entries(older).filter(([, title]) => typeof title === "string");
  return Object.fromEntries(
    titles.map(([id, title]) => [id, { title, base: null, sent: null, refused: null }]),
  );
}

function fromCache(cache: Cache): Library {
  const saved = cache.read(cache_key);
  const unsentTitles = readTitles(cache);
  const empty: Library = { status: null, spaces: null, documents: {}, unsentTitles };
  if (typeof saved !== "object" || saved === null) return empty;
  const known = { ...empty, ...saved, unsentTitles: { ...olderTitles(saved), ...unsentTitles } };
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
  const writeCache = () => {
    if (!isWritePlanned) return;
    isWritePlanned = false;
    const { unsentTitles: _ownKeys, ...known } = store.get();
    cache.write(cache_key, known);
  };
  const commit = (change: (current: Library) => Library) => {
    store.update(change);
    // A large library is not written at every letter of a title.
    if (isWritePlanned) return;
    isWritePlanned = true;
    setTimeout(writeCache, cache_pause_ms);
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

  /** Returns the documents as the daemon has them. */
  async function refreshDocuments(spaceId: SpaceId): Promise<Document[]> {
    const documents = await api.documents(spaceId);
    const { unsentTitles } = store.get();
    const shown = documents.map((document) => ({
      ...document,
      title: shownTitle(unsentTitles, document.document_id, document.title),
    }));
    putDocuments(spaceId, () => shown);
    return documents;
  }

  function putTitle(documentId: DocumentId, unsent: UnsentTitle | null): void {
    writeTitle(cache, documentId, unsent);
    commit((current) => {
      const { [documentId]: _before, ...unsentTitles } = current.unsentTitles;
      return { ...current, unsentTitles: unsent ? { ...unsentTitles, [documentId]: unsent } : unsentTitles };
    });
  }

  function showTitle(documentId: DocumentId, title: string): void {
    const document = find(documentId);
    if (document) putDocuments(document.space_id, edit(documentId, { title }));
  }

  function draftTitle(documentId: DocumentId, title: string): void {
    const document = find(documentId);
    if (!document) return;
    const before = store.get().unsentTitles[documentId];
    const isGoingOn = before !== undefined && before.refused === null;
    const { base, sent } = isGoingOn ? before : { base: document.title, sent: null };
    putTitle(documentId, { title, base, sent, refused: null });
    showTitle(documentId, title);
  }

  function refuseTitle(documentId: DocumentId, title: string, reason: string, current: string | null): void {
    const unsent = store.get().unsentTitles[documentId];
    if (unsent?.title !== title) return;
    putTitle(documentId, { ...unsent, refused: reason });
    if (current !== null) showTitle(documentId, current);
  }

  function titleArrived(documentId: DocumentId, title: string): void {
    const unsent = store.get().unsentTitles[documentId];
    if (!unsent) return;
    putTitle(documentId, unsent.title === title ? null : { ...unsent, base: title });
  }

  const onTheirWay = new Map<DocumentId, string>();
  async function sendTitle(documentId: DocumentId): Promise<void> {
    const unsent = store.get().unsentTitles[documentId];
    if (!unsent || unsent.refused !== null) return;
    const { title } = unsent;
    putTitle(documentId, { ...unsent, sent: title });
    onTheirWay.set(documentId, title);
    try {
      await api.updateDocument(documentId, { title }, { outlives: true });
      titleArrived(documentId, title);
    } catch (error) {
      if (!isFinal(error)) return;
      const reason = error instanceof ApiError ? describeFailure(error.failure) : "";
      refuseTitle(documentId, title, isNotFound(error) ? no_page : reason, unsent.base);
      throw error;
    } finally {
      if (onTheirWay.get(documentId) === title) onTheirWay.delete(documentId);
    }
  }

  async function setTitle(documentId: DocumentId, title: string): Promise<void> {
    draftTitle(documentId, title);
    await sendTitle(documentId);
  }

  /** Sends what an earlier visit, or the time without a daemon, left. `documents` are as the daemon has them. */
  async function handOverTitles(documents: readonly Document[]): Promise<void> {
    const current = new Map(documents.map((document) => [document.document_id, document.title]));
    const unsent = Object.entries(store.get().unsentTitles) as [DocumentId, UnsentTitle][];
    const sending = unsent.map(async ([documentId, one]) => {
      const now = current.get(documentId);
      if (one.refused !== null) return;
      if (now === one.title) titleArrived(documentId, now);
      else if (now !== undefined && isOvertaken(one, now))
        refuseTitle(documentId, one.title, `Somebody has called the page “${now}” meanwhile.`, now);
      else await sendTitle(documentId);
    });
    await Promise.allSettled(sending);
  }

  function setSpaces(spaces: Space[]): void {
    const ids = new Set<string>(spaces.map((space) => space.space_id));
    commit((current) => ({
      ...current,
      spaces,
      documents: Object.fromEntries(Object.entries(current.documents).filter(([id]) => ids.has(id))),
    }));
  }

  const isGone = (spaceId: SpaceId): Promise<boolean> =>
    api.space(spaceId).then(
      () => false,
      (error: unknown) => isNotFound(error) && isSaving(store.get().status?.storage),
    );

  /** Invariant 1: what a list lacks is asked for by name. */
  async function takeSpaces(spaces: Space[]): Promise<void> {
    const listed = new Set<string>(spaces.map((space) => space.space_id));
    const missing = (store.get().spaces ?? []).filter((space) => !listed.has(space.space_id));
    const gone = await Promise.all(missing.map((space) => isGone(space.space_id)));
    setSpaces([...spaces, ...missing.filter((_space, index) => !gone[index])]);
  }

  const putSpace = (space: Space) =>
    commit((current) => ({
      ...current,
      spaces: (current.spaces ?? []).map((other) => (other.space_id === space.space_id ? space : other)),
    }));

  async function refreshSpaces(): Promise<void> {
    await takeSpaces(await api.spaces());
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
    refreshDocuments: async (spaceId) => void (await refreshDocuments(spaceId)),
    refreshStatus,
    async refresh() {
      await refreshStatus();
      let isWhole = true;
      const attempt = async (work: () => Promise<unknown>) => {
        try {
          return await work();
        } catch (error) {
          if (!isAnswered(error)) throw error;
          isWhole = false;
          return null;
        }
      };
      await attempt(refreshSpaces);
      const documents: Document[] = [];
      const list = async ({ space_id }: Space) => documents.push(...(await refreshDocuments(space_id)));
      await Promise.all((store.get().spaces ?? []).map((space) => attempt(() => list(space))));
      await handOverTitles(documents);
      return isWhole;
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
    draftTitle,
    sendTitle,
    dismissTitle: (documentId) => putTitle(documentId, null),
    flush() {
      writeCache();
      const unsent = Object.entries(store.get().unsentTitles) as [DocumentId, UnsentTitle][];
      for (const [documentId, { title }] of unsent) {
        if (onTheirWay.get(documentId) !== title) void sendTitle(documentId).catch(() => undefined);
      }
    },
    move: (documentId, place) => change(documentId, { ...place }, (all) => withPlace(all, documentId, place)),
    setTrashed: (documentId, trashed) => change(documentId, { trashed }, edit(documentId, { trashed })),
  };
}
