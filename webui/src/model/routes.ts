/** The addresses of the application, both ways. */
import { type DocumentId, parseDocumentId, parseSpaceId, type SpaceId } from "./identifiers";

export type Route =
  | { page: "home" }
  | { page: "space"; spaceId: SpaceId }
  | { page: "document"; documentId: DocumentId }
  | { page: "unknown" };

export function parseRoute(pathname: string): Route {
  const [, head, tail, extra] = pathname.split("/");
  if (!head) return { page: "home" };
  if (extra) return { page: "unknown" };
  if (head === "s") {
    const spaceId = parseSpaceId(tail ?? "");
    if (spaceId) return { page: "space", spaceId };
  }
  if (head === "d") {
    const documentId = parseDocumentId(tail ?? "");
    if (documentId) return { page: "document", documentId };
  }
  return { page: "unknown" };
}

export function addressOf(route: Route): string {
  switch (route.page) {
    case "home":
    case "unknown":
      return "/";
    case "space":
      return `/s/${route.spaceId}`;
    case "document":
      return `/d/${route.documentId}`;
  }
}

/** The one-time token of a launch link, `#token=…`. */
export function launchToken(fragment: string): string | null {
  const token = new URLSearchParams(fragment.replace(/^#/, "")).get("token");
  return token ? token : null;
}
