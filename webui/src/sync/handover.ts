/**
 * Hands to the daemon what windows that are closed have left in this browser, without anybody opening the page.
 *
 * Invariants:
 *  1. One document at a time, each with a limit to its patience; a document that some window shows is that
 *     window's to save.
 *  2. Only the daemon's acknowledgement ends a document's notes. Every other outcome keeps the words and says why.
 */
import type { DocumentId } from "../model/identifiers";
import { createStore, type ReadableStore } from "../model/store";
import { isStuck, type WaitingDocument, type WaitState } from "../model/unsaved";
import type { Socket } from "./provider";
import { openSession, openSocket, type SessionState } from "./session";
import { readNotes, type UnsavedNote, watchNotes } from "./unsaved-notes";
import { whenUnshared } from "./window-lock";

const patience_ms = 20_000;
const again_ms = 15_000;
const soon_ms = 1_000;

/** How one document's handing over ended. */
export type HandoverOutcome = "saved" | Exclude<WaitState, "waiting" | "sending">;

export interface Handover extends ReadableStore<readonly WaitingDocument[]> {
  /** The daemon is there, or something changed that may help: try everything that waits. */
  start(): void;
  /** The daemon is away. */
  pause(): void;
}

export interface HandoverOptions {
  open?: (id: DocumentId) => Socket;
  patience_ms?: number;
  again_ms?: number;
  /** Documents that this window shows are not listed: their page says how they are. */
  isShown?: (id: DocumentId) => boolean;
  /** The words of these documents have arrived, in one round. */
  onSaved(documentIds: readonly DocumentId[]): void;
}

function outcomeOf({ link, pending, readOnly, synced }: SessionState): HandoverOutcome | null {
  if (!pending) return "saved";
  if (readOnly && synced) return "reader";
  if (link.kind !== "stopped") return null;
  switch (link.reason) {
    case "gone":
    case "unknown":
      return "unknown";
    case "signed_out":
      return "later";
    default:
      return "refused";
  }
}

/** Opens the document unseen until the daemon has acknowledged what it lacks, or it is clear that it will not. */
async function handOver(
  documentId: DocumentId,
  options: Pick<HandoverOptions, "open" | "patience_ms">,
): Promise<HandoverOutcome> {
  const session = openSession(documentId, { open: options.open ?? openSocket, isUnattended: true });
  let timer: ReturnType<typeof setTimeout> | undefined;
  try {
    return await new Promise<HandoverOutcome>((resolve) => {
      const look = () => {
        const outcome = outcomeOf(session.state.get());
        if (outcome) resolve(outcome);
      };
      const giveUp = () => resolve(session.state.get().isStorageRefused ? "storage" : "later");
      timer = setTimeout(giveUp, options.patience_ms ?? patience_ms);
      session.state.subscribe(look);
      look();
    });
  } finally {
    clearTimeout(timer);
    session.close();
  }
}

/** One entry per document, the oldest first. */
function gather(
  notes: readonly UnsavedNote[],
  states: ReadonlyMap<DocumentId, WaitState>,
): WaitingDocument[] {
  const found = new Map<DocumentId, WaitingDocument>();
  for (const { documentId, label, words, since_ms } of notes) {
    const before = found.get(documentId);
    found.set(documentId, {
      documentId,
      label: label ?? before?.label ?? null,
      words: words + (before?.words ?? 0),
      since_ms: before ? Math.min(before.since_ms, since_ms) : since_ms,
      state: states.get(documentId) ?? "waiting",
    });
  }
  return [...found.values()].sort((a, b) => a.since_ms - b.since_ms);
}

export function createHandover(options: HandoverOptions): Handover {
  const states = new Map<DocumentId, WaitState>();
  const { isShown = () => false } = options;
  const waiting = () => gather(readNotes(), states).filter(({ documentId }) => !isShown(documentId));
  const store = createStore<readonly WaitingDocument[]>(waiting());
  let isOn = false;
  let isRunning = false;
  let isAskedAgain = false;
  let timer: ReturnType<typeof setTimeout> | null = null;

  /** Plans the next round if there is something that time may help. */
  function plan(delay_ms: number): void {
    if (timer || !isOn || isRunning || store.get().every(({ state }) => isStuck(state))) return;
    timer = setTimeout(() => void run(), delay_ms);
  }

  function cancel(): void {
    if (timer) clearTimeout(timer);
    timer = null;
  }

  async function isSavedNow(documentId: DocumentId): Promise<boolean> {
    const outcome = await whenUnshared(documentId, 0, () => {
      states.set(documentId, "sending");
      store.set(waiting());
      return handOver(documentId, options);
    }).catch((): HandoverOutcome => "later");
    if (outcome === "saved") states.delete(documentId);
    else states.set(documentId, outcome ?? "elsewhere");
    store.set(waiting());
    return outcome === "saved";
  }

  async function round(): Promise<void> {
    const saved: DocumentId[] = [];
    for (const { documentId } of waiting()) {
      if (isOn && (await isSavedNow(documentId))) saved.push(documentId);
    }
    if (saved.length > 0) options.onSaved(saved);
  }

  async function run(): Promise<void> {
    cancel();
    isAskedAgain = isRunning;
    if (isRunning) return;
    isRunning = true;
    do {
      isAskedAgain = false;
      await round();
    } while (isAskedAgain && isOn);
    isRunning = false;
    plan(options.again_ms ?? again_ms);
  }

  watchNotes(() => {
    store.set(waiting());
    plan(soon_ms);
  });
  return {
    get: store.get,
    subscribe: store.subscribe,
    start() {
      isOn = true;
      void run();
    },
    pause() {
      isOn = false;
      cancel();
      for (const [documentId, state] of states) if (!isStuck(state)) states.delete(documentId);
      store.set(waiting());
    },
  };
}
