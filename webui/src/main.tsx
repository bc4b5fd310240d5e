/** Builds the application's parts, introduces them to each other, and draws the window. */
import { StrictMode } from "react";
import { createRoot } from "react-dom/client";
import { createApi } from "./api/client";
import { type App, AppContext } from "./hooks/app";
import { startConnection } from "./hooks/connection";
import { createSessions } from "./hooks/sessions";
import { createWaiting } from "./hooks/waiting";
import { Workspace } from "./pages/Workspace";
import { createDaemonLink } from "./stores/daemon-link";
import { createDelivery } from "./stores/delivery";
import { createJoining } from "./stores/joining";
import { createLibrary } from "./stores/library";
import { createNavigation } from "./stores/navigation";
import { createOverlays } from "./stores/overlays";
import { createPeople } from "./stores/people";
import { applyTheme, createPreferences } from "./stores/preferences";
import { browserCache } from "./stores/storage";
import "./styles/tokens.css";
import "./styles/base.css";
import "./styles/layout.css";
import "./styles/components.css";
import "./styles/delivery.css";
import "./styles/page.css";
import "./styles/unsaved.css";

const api = createApi();
const preferences = createPreferences(browserCache);
const library = createLibrary(api, browserCache);
const overlays = createOverlays();
const sessions = createSessions();
const app: App = {
  api,
  preferences,
  library,
  people: createPeople(api),
  delivery: createDelivery(api),
  joining: createJoining(api),
  navigation: createNavigation(),
  overlays,
  daemon: createDaemonLink(),
  sessions,
  handover: createWaiting({ library, overlays, sessions }),
};

applyTheme(preferences.get().theme);
preferences.subscribe(() => applyTheme(preferences.get().theme));
startConnection(app);

if ("serviceWorker" in navigator && import.meta.env.PROD) {
  void navigator.serviceWorker.register("/sw.js").catch(() => undefined);
}

const root = document.getElementById("root");
if (root) {
  createRoot(root).render(
    <StrictMode>
      <AppContext.Provider value={app}>
        <Workspace />
      </AppContext.Provider>
    </StrictMode>,
  );
}
