/** Views of the library that several components share. */
import { useMemo } from "react";
import type { DocumentId, SpaceId } from "../model/identifiers";
import type { Document, Space } from "../model/library";
import { buildTree, type TreeNode } from "../model/tree";
import { useApp } from "./app";
import { useStore } from "./store";

export function useSpace(spaceId: SpaceId | null): Space | null {
  const { library } = useApp();
  return useStore(library).spaces?.find((space) => space.space_id === spaceId) ?? null;
}

export function useDocument(documentId: DocumentId | null): Document | null {
  const { library } = useApp();
  const { documents } = useStore(library);
  if (documentId === null) return null;
  for (const list of Object.values(documents)) {
    const found = list?.find((document) => document.document_id === documentId);
    if (found) return found;
  }
  return null;
}

/** Null while the space's documents are not known yet. */
export function useTree(spaceId: SpaceId | null): TreeNode[] | null {
  const { library } = useApp();
  const documents = useStore(library).documents[spaceId ?? "s_"];
  return useMemo(() => (documents ? buildTree(documents) : null), [documents]);
}

/** The space the window shows: by its address, by its document, or the last one. */
export function useCurrentSpaceId(): SpaceId | null {
  const { navigation, preferences, library } = useApp();
  const route = useStore(navigation.route);
  const { lastSpace } = useStore(preferences);
  const { spaces } = useStore(library);
  const document = useDocument(route.page === "document" ? route.documentId : null);
  if (route.page === "space") return route.spaceId;
  if (document) return document.space_id;
  if (lastSpace && spaces?.some((space) => space.space_id === lastSpace)) return lastSpace;
  return spaces?.[0]?.space_id ?? null;
}
