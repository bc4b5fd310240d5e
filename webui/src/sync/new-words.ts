/** The words that a client added to a document from some clock on, and that are still in it. Reads the Y.Doc only. */
import * as Y from "yjs";
import { countWords } from "../model/words";

export interface ClientEdits {
  client: number;
  from: number;
}

/** Letters typed one after the other are one text; a jump to another place begins a new one. */
export function newWords(doc: Y.Doc, edits: readonly ClientEdits[]): number {
  let words = 0;
  for (const { client, from } of edits) {
    let text = "";
    let last: Y.ID | null = null;
    for (const struct of doc.store.clients.get(client) ?? []) {
      if (!(struct instanceof Y.Item) || struct.id.clock + struct.length <= from) continue;
      if (struct.deleted || !(struct.content instanceof Y.ContentString)) continue;
      const goesOn = last !== null && Y.compareIDs(struct.origin, last);
      const skipped = Math.max(0, from - struct.id.clock);
      text += (goesOn ? "" : "\n") + struct.content.str.slice(skipped);
      last = struct.lastId;
    }
    words += countWords(text);
  }
  return words;
}
