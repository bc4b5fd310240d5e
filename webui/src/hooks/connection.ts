/**
 * Keeps the stores in step with the daemon: signs in, fetches everything, listens to events, fetches again what
 * changed. While the daemon is away it knocks with growing pauses; the window stays usable.
 */
import { openEvents } from "../api/events";
import type { DaemonEvent } from "../model/library";
import { ApiError } from "../model/ports";
import { launchToken } from "../model/routes";
import { retryDelayMs } from "../sync/backoff";
import type { App } from "./app";

/** The token leaves the address bar before anything else happens, whatever becomes of it. */
async function signInFromAddress(app: App): Promise<void> {
  const token = launchToken(location.hash);
  if (token === null) return;
  history.replaceState(null, "", location.pathname + location.search);
  await app.api.signIn(token).catch(() => undefined);
}

async function react(app: App, event: DaemonEvent): Promise<void> {
  switch (event.type) {
    case "documents_changed":
      await app.library.refreshDocuments(event.space_id);
      break;
    case "spaces_changed":
      await app.library.refreshSpaces();
      break;
    case "members_changed":
      await app.people.refreshMembers(event.space_id);
      break;
    case "invitations_changed":
      await app.people.refreshInvitations(event.space_id);
      break;
    case "peers_changed":
      await app.people.refreshPeers();
      break;
    case "join_changed":
      app.joining.heard(event.join);
      break;
    case "storage_changed":
      app.library.setStorage(event.storage);
      break;
    case "profile_changed":
      await app.library.refreshStatus();
      break;
  }
}

export function startConnection(app: App): void {
  let closeEvents: (() => void) | null = null;
  let timer: ReturnType<typeof setTimeout> | null = null;
  let attempt = 0;
  let busy = false;

  function lost(error: unknown): void {
    closeEvents?.();
    closeEvents = null;
    app.people.lost();
    if (error instanceof ApiError && error.failure.kind === "signed_out") {
      app.daemon.set("signed_out");
      return;
    }
    app.daemon.set("unreachable");
    if (timer) clearTimeout(timer);
    timer = setTimeout(() => void connect(), retryDelayMs(attempt, Math.random()));
    attempt += 1;
  }

  async function fetchEverything(): Promise<void> {
    await Promise.all([app.library.refresh(), app.people.refreshPeers()]);
    attempt = 0;
    app.daemon.set("online");
    app.sessions.nudge();
  }

  /** The stream opens first and everything is fetched after: nothing that changes in between is missed. */
  async function connect(): Promise<void> {
    if (busy || closeEvents || document.visibilityState === "hidden") return;
    busy = true;
    try {
      await fetchEverything();
      closeEvents = openEvents({
        onOpen: () => void fetchEverything().catch(lost),
        onEvent: (event) => void react(app, event).catch(() => undefined),
        onLost: () => {
          closeEvents = null;
          void app.api.status().then(() => lost(null), lost);
        },
      });
    } catch (error) {
      lost(error);
    } finally {
      busy = false;
    }
  }

  // A browser allows six connections to one host. Windows nobody looks at give theirs back.
  document.addEventListener("visibilitychange", () => {
    if (document.visibilityState === "hidden") {
      closeEvents?.();
      closeEvents = null;
    } else {
      attempt = 0;
      void connect();
      app.sessions.nudge();
    }
  });
  addEventListener("online", () => void connect());
  addEventListener("hashchange", () => void signInFromAddress(app).then(connect));
  void signInFromAddress(app).then(connect);
}
