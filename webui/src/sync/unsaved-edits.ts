/**
 * Keeps the notes about one open document true: what this window typed, and what earlier windows left, until the
 * daemon has acknowledged it.
 *
 * Invariants:
 *  1. A note exists while an edit is not acknowledged, whatever else is known: a reader's, a refused one's too.
 *  2. An acknowledgement ends the notes of this window and those that were there when it opened the document,
 *     for its first answer carried their edits. A note that another window wrote since is that window's, also
 *     when that has ended.
 *  3. What the local copy has not stored when the window ends goes into the note itself.
 */
import { fromBase64, toBase64 } from "lib0/buffer";
import * as Y from "yjs";
import type { DocumentId } from "../model/identifiers";
import type { DocumentLabel } from "../model/unsaved";
import { newWords } from "./new-words";
import { readNotes, removeNotes, type UnsavedNote, writeNote } from "./unsaved-notes";

const count_pause_ms = 1_000;

/** The origin of edits that come back from a note: nobody's typing, but new to the local copy. */
export const from_note = Symbol("from a note");

/** Puts into a document what earlier windows could not store in its copy. */
export function applyTails(doc: Y.Doc, notes: readonly UnsavedNote[]): void {
  for (const { tail } of notes) {
    if (tail === null) continue;
    try {
      Y.applyUpdate(doc, fromBase64(tail), from_note);
    } catch {
      // Somebody else's hand was in the storage. The local copy is whole without it.
    }
  }
}

export class UnsavedEdits {
  readonly #doc: Y.Doc;
  readonly #documentId: DocumentId;
  #inherited: UnsavedNote[];
  #own: { from: number; since_ms: number } | null = null;
  #revision = 0;
  /** Own updates that are not known to be in the local copy. */
  #recent: Uint8Array[] = [];
  #label: DocumentLabel | null = null;
  #timer: ReturnType<typeof setTimeout> | null = null;

  constructor(documentId: DocumentId, doc: Y.Doc) {
    this.#documentId = documentId;
    this.#doc = doc;
    this.#inherited = readNotes(documentId);
  }

  get isEmpty(): boolean {
    return this.#own === null && this.#inherited.length === 0;
  }

  /** Words that only this browser has; 0 also when all there is are deletions and formats. */
  get words(): number {
    const own = this.#own ? [{ client: this.#doc.clientID, from: this.#own.from }] : [];
    return newWords(this.#doc, [...this.#inherited, ...own]);
  }

  describe(label: DocumentLabel): void {
    this.#label = label;
    if (this.#own) this.#write();
  }

  /** Edits that the local copy had no time to store; applied once it is loaded. */
  restore(): void {
    applyTails(this.#doc, this.#inherited);
  }

  /** Waits for `stored`, and then knows that what was typed until now is in the local copy. */
  async untilStored(stored: Promise<boolean>): Promise<boolean> {
    const until = this.#recent.length;
    const before = this.#recent;
    const isStored = await stored;
    if (isStored && this.#recent === before) this.#recent = before.slice(until);
    return isStored;
  }

  /** This window changed the document. `from` is its own clock before that. */
  edited(from: number, update: Uint8Array): void {
    this.#recent.push(update);
    this.#revision += 1;
    if (this.#own) {
      this.#timer ??= setTimeout(() => this.#write(), count_pause_ms);
      return;
    }
    this.#own = { from, since_ms: Date.now() };
    this.#write();
  }

  /** The daemon has committed all of it, or the person gave it up. */
  settled(): void {
    this.#stop();
    const own = { documentId: this.#documentId, client: this.#doc.clientID };
    const gone = [...this.#carried(), ...(this.#own ? [own] : [])];
    this.#own = null;
    this.#inherited = [];
    this.#recent = [];
    if (gone.length > 0) removeNotes(gone);
  }

  /**
   * The notes of earlier windows that are as they were when this document was opened. One that was written since,
   * by a window that was still there, may speak of edits that came too late for this document.
   */
  #carried(): UnsavedNote[] {
    if (this.#inherited.length === 0) return [];
    const now = new Map(readNotes(this.#documentId).map(({ client, revision }) => [client, revision]));
    return this.#inherited.filter(({ client, revision }) => now.get(client) === revision);
  }

  /** Writes the note anew if another window took it away. */
  reassert(): void {
    if (!this.#own) return;
    const isThere = readNotes(this.#documentId).some((note) => note.client === this.#doc.clientID);
    if (!isThere) this.#write();
  }

  /** The window may end now. */
  flush(): void {
    this.#revision += 1;
    const tail = this.#recent.length > 0 ? toBase64(Y.mergeUpdates(this.#recent)) : null;
    if (!this.#write(tail) && tail !== null) this.#write();
  }

  #write(tail: string | null = null): boolean {
    this.#stop();
    if (!this.#own) return true;
    const { from, since_ms } = this.#own;
    const { clientID: client } = this.#doc;
    const revision = this.#revision;
    const words = newWords(this.#doc, [{ client, from }]);
    const label = this.#label;
    return writeNote({ documentId: this.#documentId, client, from, revision, since_ms, words, label, tail });
  }

  #stop(): void {
    if (this.#timer) clearTimeout(this.#timer);
    this.#timer = null;
  }
}
