/** The one place where this browser's copy of a document is removed, with the notes about it. */
import type { DocumentId } from "../model/identifiers";
import { eraseLocalCopy } from "./local-copy";
import { readNotes, removeNotes } from "./unsaved-notes";
import { whenUnshared } from "./window-lock";

const patience_ms = 2_000;

/**
 * Removes the copy once no window has the document open. False: one still has, and nothing was removed. With
 * `onlySaved` a copy with edits that no daemon acknowledged stays as well.
 */
export async function forgetDocument(documentId: DocumentId, { onlySaved = false } = {}): Promise<boolean> {
  const done = await whenUnshared(documentId, patience_ms, async () => {
    const notes = readNotes(documentId);
    if (onlySaved && notes.length > 0) return false;
    await eraseLocalCopy(documentId);
    removeNotes(notes);
    return true;
  });
  return done ?? false;
}
