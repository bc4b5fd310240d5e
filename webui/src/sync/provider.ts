/**
 * The line between one Y.Doc and the daemon's `/sync/{document_id}`.
 *
 * Speaks the y-websocket protocol (a stock server would do) and keeps the ledger of acknowledged frames. Must not
 * know of IndexedDB, editors or screens. Reconnects for ever, with jitter, unless the daemon says to stop.
 */
import {
  type Awareness,
  applyAwarenessUpdate,
  encodeAwarenessUpdate,
  removeAwarenessStates,
} from "y-protocols/awareness";
import * as Y from "yjs";
import * as ledger from "./ack-ledger";
import { retryDelayMs } from "./backoff";
import { isStorageRefusal, type StopReason, verdictOf } from "./closing";
import {
  awarenessFrame,
  queryAwarenessFrame,
  readFrame,
  syncFrame,
  syncStep1,
  syncStep2,
  syncUpdate,
} from "./frames";

/** The part of WebSocket that is used; tests pass their own. */
export interface Socket {
  binaryType: string;
  readonly readyState: number;
  /** Bytes given to `send` that have not left yet. */
  readonly bufferedAmount: number;
  onopen: (() => void) | null;
  onmessage: ((event: { data: unknown }) => void) | null;
  onclose: ((event: { code: number }) => void) | null;
  onerror: (() => void) | null;
  send(data: Uint8Array<ArrayBuffer>): void;
  close(): void;
}

export type Link =
  | { kind: "connecting" }
  | { kind: "online" }
  | { kind: "offline" }
  | { kind: "stopped"; reason: StopReason };

export interface ProviderState {
  link: Link;
  /** The daemon's whole state has arrived at least once. */
  synced: boolean;
  readOnly: boolean;
  /** Edits of this browser that the daemon has not acknowledged, also those it never will (to a reader). */
  pending: boolean;
  /** The daemon could not write what it was sent last. */
  isStorageRefused: boolean;
}

export interface ProviderOptions {
  doc: Y.Doc;
  awareness: Awareness;
  open: () => Socket;
  /** Edits from an earlier visit that were never acknowledged. */
  hasUnsaved: boolean;
  /** Origins whose updates are not this tab's edits (the local copy being loaded). */
  isForeign: (origin: unknown) => boolean;
  onChange: (state: ProviderState) => void;
  entropy?: () => number;
}

const watch_ms = 5_000;
/**
 * Awareness is renewed every 15 s and echoed, so a line this silent is asked, and then given up. While bytes
 * leave it is not silent: the echo waits behind them.
 */
const silent_ms = 30_000;
const probe_ms = 10_000;
/** A line that lasted this long was a good one; the next pause begins short again. */
const steady_ms = 10_000;
/** Stops that may end without the person doing anything here. */
const endable: ReadonlySet<StopReason> = new Set(["signed_out", "gone", "unknown"]);

export class SyncProvider {
  readonly #options: ProviderOptions;
  #socket: Socket | null = null;
  #ledger: ledger.AckLedger;
  #link: Link = { kind: "connecting" };
  #synced = false;
  #readOnly = false;
  #isStorageRefused = false;
  #attempt = 0;
  #retry: ReturnType<typeof setTimeout> | null = null;
  #watch: ReturnType<typeof setInterval> | null = null;
  #heardAt = 0;
  #unsentBytes = 0;
  #onlineAt: number | null = null;
  #denied = false;
  #probedAt = 0;
  #closed = false;
  #last: ProviderState | null = null;

  constructor(options: ProviderOptions) {
    this.#options = options;
    this.#ledger = { ...ledger.emptyLedger, unsent: options.hasUnsaved };
  }

  get state(): ProviderState {
    return {
      link: this.#link,
      synced: this.#synced,
      readOnly: this.#readOnly,
      pending: ledger.hasPending(this.#ledger),
      isStorageRefused: this.#isStorageRefused,
    };
  }

  start(): void {
    const { doc, awareness } = this.#options;
    doc.on("update", this.#onUpdate);
    awareness.on("update", this.#onAwareness);
    this.#watch = setInterval(this.#checkSilence, watch_ms);
    this.#connect();
  }

  /**
   * Try at once instead of waiting for the pause to end: the browser woke up, the daemon was heard elsewhere, the
   * person has signed in again, or a document that was not there may be there now.
   */
  nudge(): void {
    const canEnd = this.#link.kind === "stopped" && endable.has(this.#link.reason);
    if (this.#closed || (this.#link.kind !== "offline" && !canEnd)) return;
    this.#attempt = 0;
    this.#connect();
  }

  destroy(): void {
    if (this.#closed) return;
    const { doc, awareness } = this.#options;
    removeAwarenessStates(awareness, [doc.clientID], "closing");
    this.#closed = true;
    doc.off("update", this.#onUpdate);
    awareness.off("update", this.#onAwareness);
    if (this.#retry) clearTimeout(this.#retry);
    if (this.#watch) clearInterval(this.#watch);
    this.#drop();
  }

  #connect(): void {
    if (this.#retry) clearTimeout(this.#retry);
    this.#retry = null;
    const socket = this.#options.open();
    this.#socket = socket;
    socket.binaryType = "arraybuffer";
    socket.onopen = () => this.#onOpen(socket);
    socket.onmessage = (event) => {
      if (event.data instanceof ArrayBuffer) this.#onFrame(new Uint8Array(event.data));
    };
    socket.onerror = () => undefined;
    socket.onclose = (event) => this.#onClose(socket, event.code);
    if (this.#link.kind === "stopped") this.#link = { kind: "connecting" };
    this.#changed();
  }

  #onOpen(socket: Socket): void {
    if (socket !== this.#socket) return;
    this.#heardAt = Date.now();
    this.#unsentBytes = 0;
    this.#denied = false;
    this.#ledger = ledger.opened(this.#ledger);
    this.#send(syncFrame(syncStep1, Y.encodeStateVector(this.#options.doc)));
    const { awareness, doc } = this.#options;
    if (awareness.getLocalState() !== null) {
      this.#send(awarenessFrame(encodeAwarenessUpdate(awareness, [doc.clientID])));
    }
    this.#send(queryAwarenessFrame());
  }

  #onFrame(bytes: Uint8Array): void {
    this.#heardAt = Date.now();
    const { doc, awareness } = this.#options;
    const frame = readFrame(bytes);
    switch (frame.kind) {
      case "step1":
        // A reader is told so before the daemon asks; a role may have changed since the last connection.
        this.#readOnly = this.#denied;
        this.#answer(frame.stateVector);
        break;
      case "step2":
        Y.applyUpdate(doc, frame.update, this);
        this.#synced = true;
        this.#onlineAt ??= Date.now();
        if (!ledger.hasPending(this.#ledger)) this.#isStorageRefused = false;
        this.#link = { kind: "online" };
        break;
      case "update":
        Y.applyUpdate(doc, frame.update, this);
        break;
      case "awareness":
        applyAwarenessUpdate(awareness, frame.update, this);
        break;
      case "query_awareness":
        this.#send(awarenessFrame(encodeAwarenessUpdate(awareness, [...awareness.getStates().keys()])));
        break;
      case "denied":
        this.#denied = true;
        this.#readOnly = true;
        break;
      case "ack":
        this.#ledger = ledger.acknowledged(this.#ledger, frame.frames);
        if (!ledger.hasPending(this.#ledger)) this.#isStorageRefused = false;
        break;
      case "unknown":
        break;
    }
    this.#changed();
  }

  /** Everything the daemon lacks, edits made while it was away included. */
  #answer(stateVector: Uint8Array): void {
    if (this.#readOnly) return;
    this.#ledger = ledger.stateSent(this.#ledger);
    this.#send(syncFrame(syncStep2, Y.encodeStateAsUpdate(this.#options.doc, stateVector)));
  }

  #onUpdate = (update: Uint8Array, origin: unknown): void => {
    if (origin === this || this.#options.isForeign(origin)) return;
    if (this.#isOpen() && !this.#readOnly) {
      this.#ledger = ledger.updateSent(this.#ledger);
      this.#send(syncFrame(syncUpdate, update));
    } else {
      this.#ledger = ledger.editKept(this.#ledger);
    }
    this.#changed();
  };

  #onAwareness = (
    { added, updated, removed }: { added: number[]; updated: number[]; removed: number[] },
    origin: unknown,
  ): void => {
    if (origin === this || !this.#isOpen()) return;
    const own = [...added, ...updated, ...removed].filter((client) => client === this.#options.doc.clientID);
    if (own.length > 0) this.#send(awarenessFrame(encodeAwarenessUpdate(this.#options.awareness, own)));
  };

  #onClose(socket: Socket, code: number): void {
    if (socket !== this.#socket || this.#closed) return;
    const wasSteady = this.#onlineAt !== null && Date.now() - this.#onlineAt >= steady_ms;
    const wasServed = this.#link.kind === "online";
    this.#drop();
    const verdict = verdictOf(code);
    if (isStorageRefusal(code)) this.#isStorageRefused = true;
    if (verdict.kind === "stop") {
      // A document the daemon had a moment ago has ended; one it does not know may be anywhere.
      const isUnknown = verdict.reason === "gone" && !wasServed;
      this.#link = { kind: "stopped", reason: isUnknown ? "unknown" : verdict.reason };
    } else {
      if (wasSteady) this.#attempt = 0;
      this.#link = { kind: "offline" };
      const delay = retryDelayMs(this.#attempt, (this.#options.entropy ?? Math.random)());
      this.#attempt += 1;
      this.#retry = setTimeout(() => this.#connect(), delay);
    }
    this.#changed();
  }

  /** Lets go of the socket: what was not acknowledged is unsent again, and nobody else is seen here any more. */
  #drop(): void {
    const socket = this.#socket;
    this.#socket = null;
    this.#onlineAt = null;
    if (socket) {
      socket.onopen = socket.onmessage = socket.onclose = null;
      if (socket.readyState <= 1) socket.close();
    }
    this.#ledger = ledger.closed(this.#ledger);
    const { awareness, doc } = this.#options;
    const others = [...awareness.getStates().keys()].filter((client) => client !== doc.clientID);
    removeAwarenessStates(awareness, others, this);
  }

  /** Timers of hidden tabs are slowed to one a minute, so silence is first asked about, then believed. */
  #checkSilence = (): void => {
    const now = Date.now();
    const unsentBytes = this.#socket?.bufferedAmount ?? 0;
    if (unsentBytes < this.#unsentBytes) this.#heardAt = now;
    this.#unsentBytes = unsentBytes;
    if (!this.#isOpen() || now - this.#heardAt < silent_ms) return;
    if (this.#probedAt < this.#heardAt) {
      this.#probedAt = now;
      this.#send(
        awarenessFrame(encodeAwarenessUpdate(this.#options.awareness, [this.#options.doc.clientID])),
      );
      this.#send(queryAwarenessFrame());
    } else if (now - this.#probedAt > probe_ms && this.#socket) {
      this.#onClose(this.#socket, 1006);
    }
  };

  #isOpen(): boolean {
    return this.#socket?.readyState === 1;
  }

  #send(bytes: Uint8Array<ArrayBuffer>): void {
    if (this.#isOpen()) this.#socket?.send(bytes);
  }

  #changed(): void {
    const next = this.state;
    const last = this.#last;
    if (
      last &&
      last.link === next.link &&
      last.synced === next.synced &&
      last.readOnly === next.readOnly &&
      last.pending === next.pending &&
      last.isStorageRefused === next.isStorageRefused
    ) {
      return;
    }
    this.#last = next;
    this.#options.onChange(next);
  }
}
