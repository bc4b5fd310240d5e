/** What this browser remembers about how the person likes it. */
import type { DocumentId, SpaceId } from "../model/identifiers";
import { createStore, type ReadableStore } from "../model/store";
import type { Cache } from "./storage";

export type Theme = "system" | "light" | "dark";

export interface Preferences {
  theme: Theme;
  sidebarOpen: boolean;
  /** Tree nodes the person folded. Unfolded is the rule. */
  folded: DocumentId[];
  lastSpace: SpaceId | null;
  recent: DocumentId[];
}

const initial: Preferences = { theme: "system", sidebarOpen: true, folded: [], lastSpace: null, recent: [] };
const recent_max = 12;

export interface PreferencesStore extends ReadableStore<Preferences> {
  setTheme(theme: Theme): void;
  setSidebar(open: boolean): void;
  toggleFold(id: DocumentId): void;
  unfold(id: DocumentId): void;
  visited(spaceId: SpaceId, documentId: DocumentId | null): void;
}

export function createPreferences(cache: Cache): PreferencesStore {
  const saved = cache.read("preferences");
  const store = createStore<Preferences>(
    typeof saved === "object" && saved !== null ? { ...initial, ...saved } : initial,
  );
  const change = (patch: (current: Preferences) => Partial<Preferences>) => {
    store.update((current) => ({ ...current, ...patch(current) }));
    cache.write("preferences", store.get());
  };
  return {
    get: store.get,
    subscribe: store.subscribe,
    setTheme: (theme) => change(() => ({ theme })),
    setSidebar: (sidebarOpen) => change(() => ({ sidebarOpen })),
    toggleFold: (id) =>
      change(({ folded }) => ({
        folded: folded.includes(id) ? folded.filter((other) => other !== id) : [...folded, id],
      })),
    unfold: (id) => change(({ folded }) => ({ folded: folded.filter((other) => other !== id) })),
    visited: (spaceId, documentId) =>
      change(({ recent }) => ({
        lastSpace: spaceId,
        recent:
          documentId === null
            ? recent
            : [documentId, ...recent.filter((other) => other !== documentId)].slice(0, recent_max),
      })),
  };
}

/** Puts the theme on the root element; "system" leaves it to the media query. */
export function applyTheme(theme: Theme): void {
  if (theme === "system") document.documentElement.removeAttribute("data-theme");
  else document.documentElement.setAttribute("data-theme", theme);
}
