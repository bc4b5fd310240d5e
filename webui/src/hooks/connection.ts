/**
 * Keeps the stores in step with the daemon: signs in, fetches everything, listens to events, fetches again what
 * changed. While the daemon is away it knocks with growing pauses; the window stays usable.
 */
import { openEvents } from "../api/events";
import type { DeviceId } from "../model/identifiers";
import { type DaemonEvent, isSaving } from "../model/library";
import { ApiError, isAnswered } from "../model/ports";
import { relayTrouble } from "../model/relays";
import { launchToken } from "../model/routes";
import { retryDelayMs } from "../sync/backoff";
import type { App } from "./app";

const stream_patience_ms = 1_000;
/** After an answer that was not whole. An event says sooner that the storage works again. */
const incomplete_ms = 15_000;

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

/** A document that was not here when its words were to be handed over is here now. */
const isOneBack = ({ handover, library }: App): boolean =>
  handover.get().some(({ documentId, state }) => state === "unknown" && library.find(documentId) !== null);

/** There is room again: everything that waited for it goes on at once. */
async function storageBack(app: App): Promise<void> {
  app.sessions.nudge();
  await app.library.refresh();
  app.handover.start();
}

async function react(app: App, event: DaemonEvent): Promise<void> {
  switch (event.type) {
    case "documents_changed":
      await app.library.refreshDocuments(event.space_id);
      if (isOneBack(app)) app.handover.start();
      break;
    case "spaces_changed":
      await app.library.refreshSpaces();
      app.handover.start();
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
      if (isSaving(event.storage)) await storageBack(app);
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
    app.handover.pause();
    if (error instanceof ApiError && error.failure.kind === "signed_out") {
      app.daemon.set("signed_out");
      return;
    }
    // A daemon that answers with a problem is there; the window goes on and asks again.
    app.daemon.set(isAnswered(error) ? "online" : "unreachable");
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

  /** The daemon answers, but not everything: what it could not tell is asked for until it can. */
  function askAgain(): void {
    if (timer) clearTimeout(timer);
    timer = setTimeout(() => {
      if (closeEvents) void fetchEverything().catch(lost);
    }, incomplete_ms);
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
    const [isWhole] = await Promise.all([
      app.library.refresh(),
      app.people.refreshPeers().catch((error: unknown) => {
        if (!isAnswered(error)) throw error;
      }),
    ]);
    warnOfClones();
    attempt = 0;
    app.daemon.set("online");
    app.sessions.nudge();
    app.delivery.refreshAll();
    app.handover.start();
    if (!isWhole) askAgain();
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

  // The last moment that every browser grants: a tab that is closed, and a telephone that drops a hidden one.
  const flush = () => {
    app.library.flush();
    app.sessions.flush();
  };
  addEventListener("pagehide", flush);
  // A browser allows six connections to one host. Windows nobody looks at give theirs back.
  document.addEventListener("visibilitychange", () => {
    if (document.visibilityState === "hidden") {
      flush();
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
