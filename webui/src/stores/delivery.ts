/**
 * Who has the documents that are open in this window.
 *
 * Invariants:
 *  1. An answer is shown only if it was asked for after the last change in this window: "Delivered to Ann" never
 *     stands beside a word that Ann does not have.
 *  2. A question that failed makes the answer unknown; so does a daemon that is away.
 *  3. Nothing is asked by the clock: only when a document is opened, saved, or said to have changed. Many such
 *     occasions in a row are one question.
 */
import type { DeliveryKnowledge } from "../model/delivery";
import type { DocumentId } from "../model/identifiers";
import type { SheafApi } from "../model/ports";
import { createStore, type ReadableStore } from "../model/store";

export type Deliveries = Partial<Record<DocumentId, DeliveryKnowledge>>;

export interface DeliveryStore extends ReadableStore<Deliveries> {
  /** Starts knowing about a document; the returned function ends it. */
  watch(documentId: DocumentId): () => void;
  /** Something was written here that nobody can have yet: what was known is history until `saved`. */
  written(documentId: DocumentId): void;
  /** What was written is on the disk: ask who has it. */
  saved(documentId: DocumentId): void;
  /** The daemon said that something moved, in one document or all of a space. */
  changed(documentId: DocumentId | null): void;
  refreshAll(): void;
  /** Changes are not heard of for a while (nobody looks at the window): what was known is history by then. */
  unheard(): void;
  /** The daemon is away. */
  lost(): void;
}

const pause_ms = 300;

interface Entry {
  watchers: number;
  /** Counts what makes an answer that is still on its way worthless. */
  version: number;
  isWriting: boolean;
  timer: ReturnType<typeof setTimeout> | null;
}

export function createDelivery(api: Pick<SheafApi, "delivery">): DeliveryStore {
  const store = createStore<Deliveries>({});
  const entries = new Map<DocumentId, Entry>();
  const show = (documentId: DocumentId, knowledge: DeliveryKnowledge) =>
    store.update((current) => ({ ...current, [documentId]: knowledge }));

  async function ask(documentId: DocumentId, entry: Entry): Promise<void> {
    entry.version += 1;
    const { version } = entry;
    const answer = await api.delivery(documentId).then(
      (delivery): DeliveryKnowledge => ({ kind: "known", delivery }),
      (): DeliveryKnowledge => ({ kind: "unknown" }),
    );
    if (entries.get(documentId) === entry && entry.version === version) show(documentId, answer);
  }

  function askSoon(documentId: DocumentId, entry: Entry, delay_ms = pause_ms): void {
    if (entry.timer || entry.isWriting) return;
    entry.timer = setTimeout(() => {
      entry.timer = null;
      void ask(documentId, entry);
    }, delay_ms);
  }

  function halt(entry: Entry): void {
    if (entry.timer) clearTimeout(entry.timer);
    entry.timer = null;
    entry.version += 1;
  }

  function forEach(change: (documentId: DocumentId, entry: Entry) => void): void {
    for (const [documentId, entry] of entries) change(documentId, entry);
  }

  return {
    get: store.get,
    subscribe: store.subscribe,
    watch(documentId) {
      const entry = entries.get(documentId) ?? { watchers: 0, version: 0, isWriting: false, timer: null };
      entry.watchers += 1;
      if (entry.watchers === 1) {
        entries.set(documentId, entry);
        show(documentId, { kind: "asking" });
        askSoon(documentId, entry, 0);
      }
      return () => {
        entry.watchers -= 1;
        if (entry.watchers > 0) return;
        halt(entry);
        entries.delete(documentId);
        store.update(({ [documentId]: _closed, ...rest }) => rest);
      };
    },
    written(documentId) {
      const entry = entries.get(documentId);
      if (!entry) return;
      halt(entry);
      entry.isWriting = true;
      if (store.get()[documentId]?.kind !== "asking") show(documentId, { kind: "asking" });
    },
    saved(documentId) {
      const entry = entries.get(documentId);
      if (!entry?.isWriting) return;
      entry.isWriting = false;
      askSoon(documentId, entry);
    },
    changed(changedId) {
      if (changedId === null) forEach((documentId, entry) => askSoon(documentId, entry));
      else {
        const entry = entries.get(changedId);
        if (entry) askSoon(changedId, entry);
      }
    },
    unheard: () =>
      forEach((documentId, entry) => {
        halt(entry);
        show(documentId, { kind: "asking" });
      }),
    refreshAll: () => forEach((documentId, entry) => askSoon(documentId, entry)),
    lost: () =>
      forEach((documentId, entry) => {
        halt(entry);
        show(documentId, { kind: "unknown" });
      }),
  };
}
