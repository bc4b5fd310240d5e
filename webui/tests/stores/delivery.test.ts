import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import type { Delivery } from "../../src/model/delivery";
import { createDelivery } from "../../src/stores/delivery";
import { unreachable } from "../support/pretend-api";

const answer = (missing = 0): Delivery => ({
  document_id: "d_1",
  space_id: "s_1",
  saved: true,
  relays: [],
  people: [],
  incomplete: missing > 0 ? { missing, from: "Ann's laptop" } : null,
});

beforeEach(() => {
  vi.useFakeTimers();
});
afterEach(() => {
  vi.useRealTimers();
});

/** A store whose questions are answered by hand. */
function asked() {
  const waiting: ((delivery: Delivery) => void)[] = [];
  const delivery = vi.fn(() => new Promise<Delivery>((resolve) => waiting.push(resolve)));
  const store = createDelivery({ delivery });
  const reply = async (value = answer(), at = 0) => {
    waiting.splice(at, 1)[0]?.(value);
    await vi.advanceTimersByTimeAsync(0);
  };
  return { store, delivery, reply };
}

describe("who has an open document", () => {
  it("is asked when it opens, shown when it is known, forgotten when it closes", async () => {
    const { store, reply } = asked();
    const close = store.watch("d_1");
    expect(store.get().d_1).toEqual({ kind: "asking" });
    await vi.advanceTimersByTimeAsync(0);
    await reply();
    expect(store.get().d_1).toEqual({ kind: "known", delivery: answer() });
    close();
    expect(store.get().d_1).toBeUndefined();
  });

  it("is never shown from before the last word written here", async () => {
    const { store, delivery, reply } = asked();
    store.watch("d_1");
    await vi.advanceTimersByTimeAsync(0);
    store.written("d_1");
    await reply();
    expect(store.get().d_1).toEqual({ kind: "asking" });
    await vi.advanceTimersByTimeAsync(60_000);
    store.changed("d_1");
    await vi.advanceTimersByTimeAsync(60_000);
    expect(delivery).toHaveBeenCalledTimes(1);
    store.saved("d_1");
    await vi.advanceTimersByTimeAsync(1_000);
    await reply();
    expect(store.get().d_1).toMatchObject({ kind: "known" });
  });

  it("is asked once for many occasions, and never by the clock", async () => {
    const { store, delivery, reply } = asked();
    store.watch("d_1");
    await vi.advanceTimersByTimeAsync(0);
    await reply();
    for (let n = 0; n < 20; n += 1) store.changed(n % 2 ? "d_1" : null);
    await vi.advanceTimersByTimeAsync(1_000);
    await reply(answer(3));
    expect(store.get().d_1).toEqual({ kind: "known", delivery: answer(3) });
    await vi.advanceTimersByTimeAsync(3_600_000);
    expect(delivery).toHaveBeenCalledTimes(2);
  });

  it("is shown from the latest question, however the answers come", async () => {
    const { store, reply } = asked();
    store.watch("d_1");
    await vi.advanceTimersByTimeAsync(0);
    store.changed("d_1");
    await vi.advanceTimersByTimeAsync(1_000);
    await reply(answer(2), 1);
    await reply(answer(9));
    expect(store.get().d_1).toEqual({ kind: "known", delivery: answer(2) });
  });

  it("is unknown when a question fails, and when the daemon is away", async () => {
    const failing = createDelivery({ delivery: unreachable });
    failing.watch("d_1");
    await vi.advanceTimersByTimeAsync(0);
    expect(failing.get().d_1).toEqual({ kind: "unknown" });

    const { store, reply } = asked();
    store.watch("d_1");
    await vi.advanceTimersByTimeAsync(0);
    store.lost();
    await reply();
    expect(store.get().d_1).toEqual({ kind: "unknown" });
    store.refreshAll();
    await vi.advanceTimersByTimeAsync(1_000);
    await reply();
    expect(store.get().d_1).toMatchObject({ kind: "known" });
  });

  it("is history while changes are not heard of", async () => {
    const { store, reply } = asked();
    store.watch("d_1");
    await vi.advanceTimersByTimeAsync(0);
    await reply();
    store.unheard();
    expect(store.get().d_1).toEqual({ kind: "asking" });
    store.refreshAll();
    await vi.advanceTimersByTimeAsync(1_000);
    await reply();
    expect(store.get().d_1).toMatchObject({ kind: "known" });
  });

  it("is of no interest for documents that are not open", async () => {
    const { store, delivery } = asked();
    store.changed("d_2");
    store.written("d_2");
    store.saved("d_2");
    await vi.advanceTimersByTimeAsync(1_000);
    expect(delivery).not.toHaveBeenCalled();
    expect(store.get()).toEqual({});
  });
});
