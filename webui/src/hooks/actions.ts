/** What a person can do from several places, with the one way of telling when it did not work. */
import { useMemo } from "react";
import type { DocumentId, SpaceId } from "../model/identifiers";
import { type DocumentType, titleOf } from "../model/library";
import { ApiError, describeFailure } from "../model/ports";
import type { Place } from "../model/tree";
import { type App, useApp } from "./app";

export function explain(error: unknown): string {
  return error instanceof ApiError ? describeFailure(error.failure) : "That did not work.";
}

export interface Actions {
  openDocument(documentId: DocumentId): void;
  openSpace(spaceId: SpaceId): void;
  createDocument(spaceId: SpaceId, type: DocumentType, parent?: DocumentId | null): Promise<void>;
  move(documentId: DocumentId, place: Place): Promise<void>;
  trash(documentId: DocumentId): Promise<void>;
  restore(documentId: DocumentId): Promise<void>;
  rename(documentId: DocumentId, title: string): Promise<void>;
  /** Sends the title that was typed last. */
  sendTitle(documentId: DocumentId): Promise<void>;
}

function actionsOf(app: App): Actions {
  const { library, navigation, overlays, preferences } = app;
  const attempt = async (work: () => Promise<void>) => {
    try {
      await work();
    } catch (error) {
      overlays.notify(explain(error), { tone: "problem" });
    }
  };
  const go = (route: Parameters<typeof navigation.go>[0]) => {
    overlays.drawer.set(false);
    navigation.go(route);
  };
  const restore = (documentId: DocumentId) => attempt(() => library.setTrashed(documentId, false));
  return {
    openDocument: (documentId) => go({ page: "document", documentId }),
    openSpace: (spaceId) => go({ page: "space", spaceId }),
    createDocument: (spaceId, type, parent = null) =>
      attempt(async () => {
        const document = await library.createDocument(spaceId, type, parent);
        if (parent) preferences.unfold(parent);
        overlays.freshDocument.set(document.document_id);
        go({ page: "document", documentId: document.document_id });
      }),
    move: (documentId, place) =>
      attempt(async () => {
        if (place.parent_id) preferences.unfold(place.parent_id);
        await library.move(documentId, place);
      }),
    trash: (documentId) =>
      attempt(async () => {
        const document = library.find(documentId);
        if (!document) return;
        await library.setTrashed(documentId, true);
        const route = navigation.route.get();
        if (route.page === "document" && route.documentId === documentId) {
          navigation.go({ page: "space", spaceId: document.space_id });
        }
        overlays.notify(`“${titleOf(document)}” is in the trash.`, {
          action: { label: "Undo", run: () => void restore(documentId) },
        });
      }),
    restore,
    rename: (documentId, title) => attempt(() => library.setTitle(documentId, title)),
    sendTitle: (documentId) => attempt(() => library.sendTitle(documentId)),
  };
}

export function useActions(): Actions {
  const app = useApp();
  return useMemo(() => actionsOf(app), [app]);
}
