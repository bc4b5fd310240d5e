/** Which dialog is open, and the short notices at the bottom of the window. */
import type { DocumentId, SpaceId } from "../model/identifiers";
import { createStore, type Store } from "../model/store";

export type Overlay =
  | { kind: "none" }
  | { kind: "palette" }
  | { kind: "share"; spaceId: SpaceId }
  | { kind: "join"; ticket?: string }
  | { kind: "new_space" }
  | { kind: "rename_space"; spaceId: SpaceId }
  | { kind: "leave_space"; spaceId: SpaceId }
  | { kind: "members"; spaceId: SpaceId }
  | { kind: "relays"; spaceId: SpaceId }
  | { kind: "trash"; spaceId: SpaceId }
  /** Removing the browser's copy of a document; `next` says what its page does afterwards. */
  | { kind: "remove_copy"; documentId: DocumentId; title: string; next: "leave" | "reload" }
  | { kind: "profile" }
  | { kind: "shortcuts" };

export interface Notice {
  id: number;
  tone: "plain" | "problem";
  text: string;
  action?: { label: string; run: () => void };
}

const notice_ms = 6_000;
const notices_max = 3;

export interface Overlays {
  overlay: Store<Overlay>;
  drawer: Store<boolean>;
  notices: Store<readonly Notice[]>;
  open(overlay: Overlay): void;
  close(): void;
  notify(text: string, options?: { tone?: Notice["tone"]; action?: Notice["action"] }): void;
  dismiss(id: number): void;
  /** Set when the title of a just created document should take the focus. */
  freshDocument: Store<DocumentId | null>;
}

export function createOverlays(): Overlays {
  const overlay = createStore<Overlay>({ kind: "none" });
  const notices = createStore<readonly Notice[]>([]);
  let next = 1;
  const dismiss = (id: number) => notices.update((all) => all.filter((notice) => notice.id !== id));
  return {
    overlay,
    notices,
    drawer: createStore(false),
    freshDocument: createStore<DocumentId | null>(null),
    open: (value) => overlay.set(value),
    close: () => overlay.set({ kind: "none" }),
    dismiss,
    notify(text, { tone = "plain", action } = {}) {
      const id = next++;
      notices.update((all) =>
        [...all, { id, tone, text, ...(action ? { action } : {}) }].slice(-notices_max),
      );
      setTimeout(() => dismiss(id), notice_ms);
    },
  };
}
