/**
 * One open document: the Y.Doc, the browser's copy, the line to the daemon and who else is here.
 *
 * Invariants:
 *  1. `bindable` turns true only after the document's state has arrived, from the daemon or from a copy that was
 *     complete once. No editor is bound before: an editor on an empty stand-in would write its own beginning.
 *  2. Opening never writes to the document.
 *  3. A session never erases its copy; `forgetDocument` does, after the person saw what there is to keep.
 *  4. `pending` is true while any edit of this browser is not acknowledged, also when it never will be.
 */
import { Awareness } from "y-protocols/awareness";
import * as Y from "yjs";
import type { DocumentId } from "../model/identifiers";
import { createStore, type ReadableStore, type Store } from "../model/store";
import type { DocumentLabel } from "../model/unsaved";
import { openLocalCopy } from "./local-copy";
import { type ProviderState, type Socket, SyncProvider } from "./provider";
import { applyTails, from_note, UnsavedEdits } from "./unsaved-edits";
import { readNotes, type UnsavedNote, watchOtherWindows } from "./unsaved-notes";
import { shareDocument } from "./window-lock";

export interface SessionState extends ProviderState {
  bindable: boolean;
  /** The local copy was read (it may have been empty). */
  localLoaded: boolean;
  /** What is pending is in the browser's copy too. When not, this window is the only place that has it. */
  kept: boolean;
}

export interface DocumentSession {
  readonly documentId: DocumentId;
  readonly doc: Y.Doc;
  readonly awareness: Awareness;
  readonly state: ReadableStore<SessionState>;
  /** What the document is called, for the day the daemon does not know it. */
  describe(label: DocumentLabel): void;
  unsavedWords(): number;
  nudge(): void;
  /** The window may end now: what is written a little later otherwise is written at once. */
  flush(): void;
  close(): void;
}

export interface SessionOptions {
  open?: (id: DocumentId) => Socket;
  /** Nobody is looking: others are not told that somebody is here. */
  isUnattended?: boolean;
}

const kept_pause_ms = 1_000;

export function openSocket(documentId: DocumentId): Socket {
  const address = new URL(`/sync/${documentId}`, location.href);
  // Counts of durable frames come only to those who ask: stock providers log an error for each.
  address.searchParams.set("ack", "1");
  address.protocol = address.protocol === "https:" ? "wss:" : "ws:";
  // WebSocket's handlers take richer events than Socket's: assignable in fact, not in the DOM's types.
  return new WebSocket(address) as unknown as Socket;
}

export function openSession(
  documentId: DocumentId,
  { open = openSocket, isUnattended = false }: SessionOptions = {},
): DocumentSession {
  const doc = new Y.Doc();
  const awareness = new Awareness(doc);
  if (isUnattended) awareness.setLocalState(null);
  const copy = openLocalCopy(documentId, doc);
  const unsaved = new UnsavedEdits(documentId, doc);
  const store: Store<SessionState> = createStore<SessionState>({
    link: { kind: "connecting" },
    synced: false,
    readOnly: false,
    pending: !unsaved.isEmpty,
    isStorageRefused: false,
    bindable: false,
    localLoaded: false,
    kept: true,
  });
  const provider = new SyncProvider({
    doc,
    awareness,
    open: () => open(documentId),
    hasUnsaved: !unsaved.isEmpty,
    isForeign: (origin) => copy.isOrigin(origin) || origin === from_note,
    onChange(state) {
      if (!state.pending) unsaved.settled();
      if (state.synced) copy.markKnown();
      store.update((current) => ({
        ...current,
        ...state,
        bindable: current.bindable || state.synced,
        kept: current.kept || !state.pending,
      }));
    },
  });

  let closed = false;
  let keptTimer: ReturnType<typeof setTimeout> | null = null;
  /** Asks the browser's storage only while it matters: when the daemon has not acknowledged. */
  const checkKept = async () => {
    keptTimer = null;
    if (closed || !store.get().pending) return;
    const kept = await unsaved.untilStored(copy.hasStored());
    store.update((current) => (current.kept === kept ? current : { ...current, kept }));
  };
  // Before the line hears of it, so that a note is there before anything says "pending".
  doc.on("update", (update: Uint8Array, origin: unknown, _doc: Y.Doc, transaction: Y.Transaction) => {
    if (origin === provider || origin === from_note || copy.isOrigin(origin)) return;
    unsaved.edited(transaction.beforeState.get(doc.clientID) ?? 0, update);
    keptTimer ??= setTimeout(() => void checkKept(), kept_pause_ms);
  });
  // Another window that was acknowledged takes away the notes it found, ours among them.
  const unwatchNotes = watchOtherWindows(() => unsaved.reassert());
  const letGo = isUnattended ? () => undefined : shareDocument(documentId);

  // The line opens after the copy is in, so that its first answer already carries what was kept from the last visit.
  void copy.loaded.then((known) => {
    if (closed) return;
    unsaved.restore();
    store.update((current) => ({ ...current, localLoaded: true, bindable: current.bindable || known }));
    provider.start();
    // Registered last: an edit that was acknowledged before anything else ran leaves no note behind.
    doc.on("update", () => {
      if (!provider.state.pending) unsaved.settled();
    });
  });
  return {
    documentId,
    doc,
    awareness,
    state: store,
    describe: (label) => unsaved.describe(label),
    unsavedWords: () => unsaved.words,
    nudge: () => provider.nudge(),
    flush: () => unsaved.flush(),
    close() {
      if (closed) return;
      closed = true;
      if (keptTimer) clearTimeout(keptTimer);
      unwatchNotes();
      letGo();
      unsaved.flush();
      provider.destroy();
      awareness.destroy();
      void copy.close();
      doc.destroy();
    },
  };
}

/**
 * What this browser has of a document, with the notes about it, read without asking the daemon. The caller destroys
 * the document.
 */
export async function readKept(documentId: DocumentId): Promise<{ doc: Y.Doc; notes: UnsavedNote[] }> {
  const doc = new Y.Doc();
  const copy = openLocalCopy(documentId, doc);
  await copy.loaded;
  await copy.close();
  const notes = readNotes(documentId);
  applyTails(doc, notes);
  return { doc, notes };
}
