/** What a person can do with words that only this browser has: read them, copy them, save them to a file. */
import { useEffect, useState } from "react";
import { wholeText } from "../editor/markdown-copy";
import type { DocumentId } from "../model/identifiers";
import { newWords } from "../sync/new-words";
import { readKept } from "../sync/session";
import { useApp } from "./app";

export interface KeptCopy {
  text: string;
  /** Words that no daemon has acknowledged. */
  unsavedWords: number;
  /** There are edits that no daemon has acknowledged, be they words or not. */
  isUnsaved: boolean;
}

/** The browser's copy of a document, from the window's session or, without one, from the browser's storage. */
export function useKeptCopy(documentId: DocumentId): KeptCopy | null {
  const { sessions } = useApp();
  const [copy, setCopy] = useState<KeptCopy | null>(null);
  useEffect(() => {
    let wanted = true;
    const session = sessions.peek(documentId);
    const read = async (): Promise<KeptCopy> => {
      if (session) {
        const isUnsaved = session.state.get().pending;
        return { text: wholeText(session.doc), unsavedWords: session.unsavedWords(), isUnsaved };
      }
      const { doc, notes } = await readKept(documentId);
      const unsavedWords = newWords(doc, notes);
      const text = wholeText(doc);
      doc.destroy();
      return { text, unsavedWords, isUnsaved: notes.length > 0 };
    };
    void read().then((found) => wanted && setCopy(found));
    return () => {
      wanted = false;
    };
  }, [sessions, documentId]);
  return copy;
}

/** Saves text to a file of the person's, through the browser's own download. */
export function downloadMarkdown(title: string, text: string): void {
  const address = URL.createObjectURL(new Blob([text], { type: "text/markdown;charset=utf-8" }));
  const link = document.createElement("a");
  link.href = address;
  link.download = `${fileName(title)}.md`;
  document.body.append(link);
  link.click();
  link.remove();
  // The browser reads the address after this turn; a minute is plenty for any file.
  setTimeout(() => URL.revokeObjectURL(address), 60_000);
}

/** What every file system takes. */
export function fileName(title: string): string {
  const plain = title
    .replace(/[\p{C}<>:"/\\|?*]/gu, " ")
    .replace(/\s+/g, " ")
    .replace(/^[. ]+|[. ]+$/g, "")
    .slice(0, 80);
  return plain === "" ? "Untitled" : plain;
}
