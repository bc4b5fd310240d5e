/** The application's parts, handed down to every component. Built once, in `main`. */
import { createContext, useContext } from "react";
import type { SheafApi } from "../model/ports";
import type { Store } from "../model/store";
import type { DaemonLink } from "../stores/daemon-link";
import type { DeliveryStore } from "../stores/delivery";
import type { JoiningStore } from "../stores/joining";
import type { LibraryStore } from "../stores/library";
import type { Navigation } from "../stores/navigation";
import type { Overlays } from "../stores/overlays";
import type { PeopleStore } from "../stores/people";
import type { PreferencesStore } from "../stores/preferences";
import type { Handover } from "../sync/handover";
import type { SessionRegistry } from "./sessions";

export interface App {
  api: SheafApi;
  library: LibraryStore;
  people: PeopleStore;
  delivery: DeliveryStore;
  joining: JoiningStore;
  preferences: PreferencesStore;
  navigation: Navigation;
  overlays: Overlays;
  daemon: Store<DaemonLink>;
  sessions: SessionRegistry;
  handover: Handover;
}

export const AppContext = createContext<App | null>(null);

export function useApp(): App {
  const app = useContext(AppContext);
  if (!app) throw new Error("useApp outside of AppContext");
  return app;
}
