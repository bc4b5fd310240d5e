/** Joining a space, from ticket or spoken code to first catch-up. */
import type { Join } from "../model/library";
import { ApiError, describeFailure, type SheafApi } from "../model/ports";
import { createStore, type ReadableStore } from "../model/store";

export type Joining =
  | { kind: "idle" }
  | { kind: "asking" }
  | { kind: "running"; join: Join }
  | { kind: "refused"; message: string };

export interface JoiningStore extends ReadableStore<Joining> {
  start(ticket: string, relay?: string): Promise<void>;
  /** A join went on; ours or another window's. */
  heard(joinId: string): Promise<void>;
  cancel(): void;
  reset(): void;
}

const poll_ms = 1_000;

export function createJoining(api: SheafApi): JoiningStore {
  const store = createStore<Joining>({ kind: "idle" });
  let timer: ReturnType<typeof setTimeout> | null = null;

  function show(join: Join): void {
    store.set({ kind: "running", join });
    if (timer) clearTimeout(timer);
    timer = null;
    // Events say that it went on; the question once a second covers a stream that is just reconnecting.
    if (join.state !== "done" && join.state !== "failed")
      timer = setTimeout(() => void poll(join.join_id), poll_ms);
  }

  async function poll(joinId: string): Promise<void> {
    const current = store.get();
    if (current.kind !== "running" || current.join.join_id !== joinId) return;
    const join = await api.joinProgress(joinId).catch(() => current.join);
    const now = store.get();
    if (now.kind === "running" && now.join.join_id === joinId) show(join);
  }

  return {
    get: store.get,
    subscribe: store.subscribe,
    async start(ticket, relay) {
      store.set({ kind: "asking" });
      try {
        show(await api.join(ticket, relay));
      } catch (error) {
        store.set({
          kind: "refused",
          message: error instanceof ApiError ? describeFailure(error.failure) : "That did not work.",
        });
      }
    },
    heard: poll,
    cancel() {
      const current = store.get();
      if (timer) clearTimeout(timer);
      if (current.kind === "running" && current.join.state !== "done") {
        void api.cancelJoin(current.join.join_id).catch(() => undefined);
      }
      store.set({ kind: "idle" });
    },
    reset() {
      if (timer) clearTimeout(timer);
      store.set({ kind: "idle" });
    },
  };
}
