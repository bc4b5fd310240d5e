/**
 * Titles typed in this browser that the daemon has not taken yet. Each has a key of its own in the browser's
 * storage, written with the letter: two windows never overwrite each other's, and closing one loses nothing.
 */
import { type DocumentId, parseDocumentId } from "../model/identifiers";
import type { Cache } from "./storage";

export interface UnsentTitle {
  title: string;
  /** What the page was called before, so that somebody else's later title is not undone. */
  base: string | null;
  /** What was sent last, should nobody have heard the answer. */
  sent: string | null;
  /** Why it will not be sent any more; it is kept until the person has seen it. */
  refused: string | null;
}

export type UnsentTitles = Partial<Record<DocumentId, UnsentTitle>>;

const prefix = "title.";

const textOf = (value: unknown): string | null => (typeof value === "string" ? value : null);

function parse(value: unknown): UnsentTitle | null {
  if (typeof value !== "object" || value === null) return null;
  const { title, base, sent, refused } = value as Record<string, unknown>;
  if (typeof title !== "string") return null;
  return { title, base: textOf(base), sent: textOf(sent), refused: textOf(refused) };
}

export function readTitles(cache: Cache): UnsentTitles {
  const titles: UnsentTitles = {};
  for (const key of cache.keys(prefix)) {
    const documentId = parseDocumentId(key.slice(prefix.length));
    const title = documentId && parse(cache.read(key));
    if (documentId && title) titles[documentId] = title;
  }
  return titles;
}

export const writeTitle = (cache: Cache, documentId: DocumentId, title: UnsentTitle | null): void =>
  title === null ? cache.remove(prefix + documentId) : cache.write(prefix + documentId, title);

/** The title to show for a document, whose own is `title`. */
export const shownTitle = (titles: UnsentTitles, documentId: DocumentId, title: string): string => {
  const unsent = titles[documentId];
  return unsent && unsent.refused === null ? unsent.title : title;
};

/** Whether a document that is called `current` at the daemon was renamed by somebody else meanwhile. */
export const isOvertaken = ({ base, sent }: UnsentTitle, current: string): boolean =>
  base !== null && current !== base && current !== sent;
