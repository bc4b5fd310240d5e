/**
 * One open document: the Y.Doc, the browser's copy, the line to the daemon and who else is here.
 *
 * Invariants:
 *  1. `bindable` turns true only after the document's state has arrived, from the daemon or from a copy that was
 *     complete once. No editor is bound before: an editor on an empty stand-in would write its own beginning.
 *  2. Opening never writes to the document.
 *  3. The copy is erased only by `erase()`, which the screen calls after the person saw what there is to keep.
 */
import { Awareness } from "y-protocols/awareness";
import * as Y from "yjs";
import type { DocumentId } from "../model/identifiers";
import { createStore, type ReadableStore, type Store } from "../model/store";
import { openLocalCopy, readUnsaved, writeUnsaved } from "./local-copy";
import { type ProviderState, type Socket, SyncProvider } from "./provider";

export interface SessionState extends ProviderState {
  bindable: boolean;
  /** The local copy was read (it may have been empty). */
  localLoaded: boolean;
}

export interface DocumentSession {
  readonly documentId: DocumentId;
  readonly doc: Y.Doc;
  readonly awareness: Awareness;
  readonly state: ReadableStore<SessionState>;
  nudge(): void;
  erase(): Promise<void>;
  close(): void;
}

function openSocket(documentId: DocumentId): Socket {
  const address = new URL(`/sync/${documentId}`, location.href);
  // Counts of durable frames come only to those who ask: stock providers log an error for each.
  address.searchParams.set("ack", "1");
  address.protocol = address.protocol === "https:" ? "wss:" : "ws:";
  // WebSocket's handlers take richer events than Socket's: assignable in fact, not in the DOM's types.
  return new WebSocket(address) as unknown as Socket;
}

export function openSession(
  documentId: DocumentId,
  open: (id: DocumentId) => Socket = openSocket,
): DocumentSession {
  const doc = new Y.Doc();
  const awareness = new Awareness(doc);
  const copy = openLocalCopy(documentId, doc);
  const store: Store<SessionState> = createStore<SessionState>({
    link: { kind: "connecting" },
    synced: false,
    readOnly: false,
    pending: readUnsaved(documentId),
    bindable: false,
    localLoaded: false,
  });
  const provider = new SyncProvider({
    doc,
    awareness,
    open: () => open(documentId),
    hasUnsaved: readUnsaved(documentId),
    isForeign: (origin) => copy.isOrigin(origin),
    onChange(state) {
      if (state.pending !== store.get().pending) writeUnsaved(documentId, state.pending);
      if (state.synced) copy.markKnown();
      store.update((current) => ({ ...current, ...state, bindable: current.bindable || state.synced }));
    },
  });
  let closed = false;
  // The line opens after the copy is in, so that its first answer already carries what was kept from the last visit.
  void copy.loaded.then((known) => {
    if (closed) return;
    store.update((current) => ({ ...current, localLoaded: true, bindable: current.bindable || known }));
    provider.start();
  });
  return {
    documentId,
    doc,
    awareness,
    state: store,
    nudge: () => provider.nudge(),
    async erase() {
      writeUnsaved(documentId, false);
      await copy.erase();
    },
    close() {
      if (closed) return;
      closed = true;
      provider.destroy();
      awareness.destroy();
      void copy.close();
      doc.destroy();
    },
  };
}
