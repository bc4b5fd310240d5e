import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { notDelivered } from "../../src/model/delivery";
import type { Document, Space } from "../../src/model/library";
import type { SheafApi } from "../../src/model/ports";
import { createLibrary } from "../../src/stores/library";
import { memoryCache, pretendApi, refused, unreachable } from "../support/pretend-api";

const space: Space = {
  space_id: "s_1",
  name: "Trip",
  role: "owner",
  member_count: 1,
  document_count: 2,
  state: "ready",
  relay_urls: [],
  delivery: notDelivered,
};

function document(id: string, fields: Partial<Document> = {}): Document {
  return {
    document_id: `d_${id}`,
    space_id: "s_1",
    title: id,
    type: "page",
    parent_id: null,
    order: id,
    trashed: false,
    created_at: "2026-01-01T00:00:00Z",
    updated_at: "2026-01-01T00:00:00Z",
    ...fields,
  };
}

async function library(answers: Partial<SheafApi>, cache = memoryCache()) {
  const api = pretendApi({ documents: async () => [document("a"), document("b")], ...answers });
  const store = createLibrary(api, cache);
  await store.refreshDocuments("s_1");
  return { store, cache, api };
}

beforeEach(() => {
  vi.useFakeTimers();
});
afterEach(() => {
  vi.useRealTimers();
});

describe("the library", () => {
  it("shows a move at once, and takes it back when it is refused", async () => {
    const { store } = await library({ updateDocument: () => refused("no") });
    const moving = store.move("d_b", { parent_id: "d_a", after_id: null });
    expect(store.find("d_b")?.parent_id).toBe("d_a");
    await expect(moving).rejects.toThrow("no");
    expect(store.find("d_b")?.parent_id).toBeNull();
  });

  it("keeps a title typed while the daemon is away, across a reload, and sends it when it is back", async () => {
    const { store, cache } = await library({ updateDocument: unreachable });
    await store.setTitle("d_a", "New title");
    expect(store.find("d_a")?.title).toBe("New title");
    await vi.advanceTimersByTimeAsync(1_000);

    const updateDocument = vi.fn(async () => document("a", { title: "New title" }));
    const later = createLibrary(
      pretendApi({
        updateDocument,
        documents: async () => [document("a")],
        spaces: async () => [space],
        status: () => Promise.resolve({} as Awaited<ReturnType<SheafApi["status"]>>),
      }),
      cache,
    );
    expect(later.find("d_a")?.title).toBe("New title");
    await later.refresh();
    expect(updateDocument).toHaveBeenCalledWith("d_a", { title: "New title" });
    expect(later.get().unsentTitles).toEqual({});
  });

  it("does not let an older list undo a title that is on its way", async () => {
    const { store } = await library({ updateDocument: unreachable });
    await store.setTitle("d_a", "New title");
    await store.refreshDocuments("s_1");
    expect(store.find("d_a")?.title).toBe("New title");
  });

  it("says so when a title is refused", async () => {
    const { store } = await library({ updateDocument: () => refused("too long") });
    await expect(store.setTitle("d_a", "x".repeat(9_999))).rejects.toThrow("too long");
    expect(store.get().unsentTitles).toEqual({});
  });

  it("forgets the documents of a space that was left", async () => {
    const { store } = await library({ spaces: async () => [], leaveSpace: async () => undefined });
    await store.leaveSpace("s_1");
    expect(store.find("d_a")).toBeNull();
  });

  it("opens with what it knew last", async () => {
    const { cache } = await library({});
    await vi.advanceTimersByTimeAsync(1_000);
    expect(createLibrary(pretendApi({}), cache).find("d_b")?.title).toBe("b");
  });

  it("shows no warning from yesterday, and reads what an earlier version wrote", () => {
    const cache = memoryCache();
    const { relay_urls: _newer, ...older } = space;
    const delivery = { state: "delivered", waiting_people: 0, incomplete_missing: 3, relay_warning: null };
    cache.write("library", { spaces: [{ ...older, delivery }] });
    expect(createLibrary(pretendApi({}), cache).get().spaces).toEqual([space]);
  });

  it("survives a cache that holds nonsense", () => {
    const cache = memoryCache();
    cache.write("library", "nonsense");
    expect(createLibrary(pretendApi({}), cache).get().spaces).toBeNull();
  });
});
