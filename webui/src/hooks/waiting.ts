/** Words that wait in this browser: handed over in the background, with a word to the person when they are saved. */
import type { DocumentId } from "../model/identifiers";
import { titleOf } from "../model/library";
import { listNames } from "../model/saving";
import type { LibraryStore } from "../stores/library";
import type { Overlays } from "../stores/overlays";
import { createHandover, type Handover } from "../sync/handover";
import type { SessionRegistry } from "./sessions";

interface WaitingParts {
  library: LibraryStore;
  overlays: Overlays;
  sessions: SessionRegistry;
}

export function createWaiting({ library, overlays, sessions }: WaitingParts): Handover {
  const nameOf = (documentId: DocumentId) => {
    const document = library.find(documentId);
    return document ? `“${titleOf(document)}”` : "a page";
  };
  const putBack = (documentId: DocumentId) =>
    void library.setTrashed(documentId, false).catch(() => undefined);
  const onSaved = (documentIds: readonly DocumentId[]) => {
    const isTrashed = (documentId: DocumentId) => library.find(documentId)?.trashed === true;
    const inPlace = documentIds.filter((documentId) => !isTrashed(documentId));
    if (inPlace.length > 0) {
      overlays.notify(`What waited in this browser is saved now in ${listNames(inPlace.map(nameOf))}.`);
    }
    for (const documentId of documentIds.filter(isTrashed)) {
      const action = { label: "Put it back", run: () => putBack(documentId) };
      overlays.notify(
        `What waited in this browser is saved now in ${nameOf(documentId)}, which is in the trash.`,
        {
          action,
        },
      );
    }
  };
  return createHandover({ onSaved, isShown: (documentId) => sessions.peek(documentId) !== null });
}
