/**
 * Keeps the stores in step with the daemon: signs in, fetches everything, listens to events, fetches again what
 * changed. While the daemon is away it knocks with growing pauses; the window stays usable.
 */
import { openEvents } from "../api/events";
import type { DeviceId } from "../model/identifiers";
import type { DaemonEvent } from "../model/library";
import { ApiError } from "../model/ports";
import { relayTrouble } from "../model/relays";
import { launchToken } from "../model/routes";
import { retryDelayMs } from "../sync/backoff";
import type { App } from "./app";

const stream_patience_ms = 1_000;

/** These are not questions to ask again but answers: none of them may stand for another. */
const carriesItsNews: ReadonlySet<DaemonEvent["type"]> = new Set([
  "join_changed",
  "storage_changed",
  "relay_warning",
]);

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
      await app.joining.heard(event.join_id);
      break;
    case "storage_changed":
      app.library.setStorage(event.storage);
      break;
    case "profile_changed":
    case "relays_changed":
    case "clones_changed":
      await app.library.refreshStatus();
      break;
    case "delivery_changed":
      await app.library.refreshSpaces();
      break;
    case "relay_warning":
      app.overlays.notify(relayTrouble(event), { tone: "problem" });
      app.delivery.refreshAll();
      await app.library.refreshSpaces();
      break;
    case "resync":
      break;
  }
}

export function startConnection(app: App): void {
  let closeEvents: (() => void) | null = null;
  let timer: ReturnType<typeof setTimeout> | null = null;
  let attempt = 0;

  function lost(error: unknown): void {
    closeEvents?.();
    closeEvents = null;
    app.people.lost();
    app.delivery.lost();
    if (error instanceof ApiError && error.failure.kind === "signed_out") {
      app.daemon.set("signed_out");
      return;
    }
    app.daemon.set("unreachable");
    if (timer) clearTimeout(timer);
    timer = setTimeout(connect, retryDelayMs(attempt, Math.random()));
    attempt += 1;
  }

  /** Each device once in this window; the panel of laptops goes on saying it. */
  const warnedOf = new Set<DeviceId>();
  function warnOfClones(): void {
    for (const clone of app.library.get().status?.clones ?? []) {
      if (warnedOf.has(clone.device_id)) continue;
      warnedOf.add(clone.device_id);
      app.overlays.notify(`${clone.what} ${clone.do}`, { tone: "problem" });
    }
  }

  /** One fetch of a kind at a time; what changes meanwhile asks for one more, not for one each. */
  const running = new Map<string, boolean>();
  async function coalesced(event: DaemonEvent): Promise<void> {
    if (event.type === "delivery_changed") app.delivery.changed(event.document_id);
    if (carriesItsNews.has(event.type)) return react(app, event);
    if (event.type === "resync") return fetchEverything();
    const key = "space_id" in event ? event.type + event.space_id : event.type;
    if (running.has(key)) {
      running.set(key, true);
      return;
    }
    do {
      running.set(key, false);
      await react(app, event).catch(() => undefined);
      if (event.type === "clones_changed") warnOfClones();
    } while (running.get(key));
    running.delete(key);
  }

  async function fetchEverything(): Promise<void> {
    await Promise.all([app.library.refresh(), app.people.refreshPeers()]);
    warnOfClones();
    attempt = 0;
    app.daemon.set("online");
    app.sessions.nudge();
    app.delivery.refreshAll();
  }

  /** The stream opens first and everything is fetched after: nothing that changes in between is missed. */
  function connect(): void {
    if (closeEvents || document.visibilityState === "hidden") return;
    // Should the stream take long to open, the window shows what there is and fetches again then.
    const impatience = setTimeout(() => void fetchEverything().catch(() => undefined), stream_patience_ms);
    const close = openEvents({
      onOpen: () => {
        clearTimeout(impatience);
        void fetchEverything().catch(lost);
      },
      onEvent: (event) => void coalesced(event).catch(() => undefined),
      onLost: () => {
        clearTimeout(impatience);
        closeEvents = null;
        void app.api.status().then(() => lost(null), lost);
      },
    });
    closeEvents = () => {
      clearTimeout(impatience);
      close();
    };
  }

  // A browser allows six connections to one host. Windows nobody looks at give theirs back.
  document.addEventListener("visibilitychange", () => {
    if (document.visibilityState === "hidden") {
      closeEvents?.();
      closeEvents = null;
      app.delivery.unheard();
    } else {
      attempt = 0;
      connect();
      app.sessions.nudge();
    }
  });
  addEventListener("online", connect);
  addEventListener("hashchange", () => void signInFromAddress(app).then(connect));
  void signInFromAddress(app).then(connect);
}
