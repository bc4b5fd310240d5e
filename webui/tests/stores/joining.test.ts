import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import type { Join } from "../../src/model/library";
import { createJoining } from "../../src/stores/joining";
import { pretendApi, refused } from "../support/pretend-api";

function join(fields: Partial<Join>): Join {
  return {
    join_id: "j",
    space_id: "s_1",
    space_name: null,
    state: "searching",
    done_bytes: 0,
    total_bytes: 0,
    error: null,
    safety_words: null,
    inviter_name: null,
    ...fields,
  };
}

beforeEach(() => {
  vi.useFakeTimers();
});
afterEach(() => {
  vi.useRealTimers();
});

describe("joining", () => {
  it("asks for progress until it is done, then stops", async () => {
    const states = [join({ state: "joining" }), join({ state: "done", space_id: "s_1" })];
    const joinProgress = vi.fn(async () => states.shift() ?? join({ state: "failed" }));
    const store = createJoining(pretendApi({ join: async () => join({}), joinProgress }));
    await store.start("sheaf1x");
    await vi.advanceTimersByTimeAsync(10_000);
    expect(store.get()).toEqual({ kind: "running", join: join({ state: "done", space_id: "s_1" }) });
    expect(joinProgress).toHaveBeenCalledTimes(2);
  });

  it("asks at once when it went on, and not about another window's join", async () => {
    const joinProgress = vi.fn(async () => join({ state: "catching_up" }));
    const store = createJoining(pretendApi({ join: async () => join({}), joinProgress }));
    await store.start("sheaf1x");
    await store.heard("another");
    expect(joinProgress).not.toHaveBeenCalled();
    await store.heard("j");
    expect(store.get()).toMatchObject({ join: { state: "catching_up", space_id: "s_1" } });
    store.reset();
  });

  it("keeps knocking when an answer is missed", async () => {
    const store = createJoining(pretendApi({ join: async () => join({}) }));
    await store.start("sheaf1x");
    await vi.advanceTimersByTimeAsync(5_000);
    expect(store.get()).toMatchObject({ kind: "running", join: { state: "searching" } });
    store.reset();
  });

  it("says why a ticket was refused", async () => {
    const store = createJoining(pretendApi({ join: () => refused("That is not an invitation") }));
    await store.start("x");
    expect(store.get()).toEqual({ kind: "refused", message: "That is not an invitation" });
  });

  it("passes the relay on that a person named for a code, and none otherwise", async () => {
    const ask = vi.fn(async () => join({ state: "done" }));
    const store = createJoining(pretendApi({ join: ask }));
    await store.start("7-orbit-velvet", "wss://relay.example.org");
    await store.start("sheaf1x");
    expect(ask.mock.calls).toEqual([
      ["7-orbit-velvet", "wss://relay.example.org"],
      ["sheaf1x", undefined],
    ]);
  });

  it("tells the daemon when it is cancelled", async () => {
    const cancelJoin = vi.fn(async () => undefined);
    const store = createJoining(pretendApi({ join: async () => join({}), cancelJoin }));
    await store.start("sheaf1x");
    store.cancel();
    expect(cancelJoin).toHaveBeenCalledWith("j");
    expect(store.get()).toEqual({ kind: "idle" });
  });
});
