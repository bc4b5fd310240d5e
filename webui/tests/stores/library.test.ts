import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { notDelivered } from "../../src/model/delivery";
import type { Document, Space, Status } from "../../src/model/library";
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

const well = { storage: { state: "ok", detail: null, unsent_edits: 0 } } as Status;

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
    expect(updateDocument).toHaveBeenCalledWith("d_a", { title: "New title" }, { outlives: true });
    expect(later.get().unsentTitles).toEqual({});
  });

  it("does not let an older list undo a title that is on its way", async () => {
    const { store } = await library({ updateDocument: unreachable });
    await store.setTitle("d_a", "New title");
    await store.refreshDocuments("s_1");
    expect(store.find("d_a")?.title).toBe("New title");
  });

  it("says so when a title is refused, and keeps it until the person lets it go", async () => {
    const { store, cache } = await library({ updateDocument: () => refused("too long") });
    await expect(store.setTitle("d_a", "x".repeat(9_999))).rejects.toThrow("too long");
    expect(store.find("d_a")?.title).toBe("a");
    expect(createLibrary(pretendApi({}), cache).get().unsentTitles.d_a).toMatchObject({
      refused: "too long",
    });
    store.dismissTitle("d_a");
    expect(createLibrary(pretendApi({}), cache).get().unsentTitles).toEqual({});
  });

  it("keeps a title that the daemon could not store, whatever it answered", async () => {
    const { store } = await library({ updateDocument: () => refused("the disk is full", 507) });
    await store.setTitle("d_a", "New title");
    expect(store.find("d_a")?.title).toBe("New title");
    expect(store.get().unsentTitles.d_a).toMatchObject({ title: "New title", refused: null });
  });

  it("has a title in the browser's storage with the letter, also beside another window", async () => {
    const { store, cache } = await library({ updateDocument: unreachable });
    const other = createLibrary(pretendApi({ documents: async () => [document("a"), document("b")] }), cache);
    store.draftTitle("d_a", "Typed just no");
    other.draftTitle("d_b", "Other");
    store.draftTitle("d_a", "Typed just now");
    await vi.advanceTimersByTimeAsync(1_000);
    const { unsentTitles } = createLibrary(pretendApi({}), cache).get();
    expect(unsentTitles.d_a?.title).toBe("Typed just now");
  });

  it("sends a typed title at once, to its end, when the window may end", async () => {
    const updateDocument = vi.fn(async () => document("a"));
    const { store } = await library({ updateDocument });
    store.draftTitle("d_a", "Typed just now");
    expect(updateDocument).not.toHaveBeenCalled();
    store.flush();
    store.flush();
    expect(updateDocument).toHaveBeenCalledExactlyOnceWith(
      "d_a",
      { title: "Typed just now" },
      { outlives: true },
    );
  });

  it("does not undo what somebody else called the page meanwhile, and keeps the title that was typed", async () => {
    const { cache } = await library({ updateDocument: unreachable }).then(async (made) => {
      await made.store.setTitle("d_a", "Mine");
      await vi.advanceTimersByTimeAsync(1_000);
      return made;
    });
    const updateDocument = vi.fn(async () => document("a"));
    const documents = async () => [document("a", { title: "Theirs" })];
    const api = pretendApi({
      updateDocument,
      documents,
      spaces: async () => [space],
      status: async () => well,
    });
    const later = createLibrary(api, cache);
    await later.refresh();
    expect(updateDocument).not.toHaveBeenCalled();
    expect(later.find("d_a")?.title).toBe("Theirs");
    expect(later.get().unsentTitles.d_a).toMatchObject({ title: "Mine" });
    expect(later.get().unsentTitles.d_a?.refused).toMatch(/Theirs/);
  });

  it("goes on with its own title when it arrived and only the answer was lost", async () => {
    const { store, cache } = await library({ updateDocument: unreachable });
    await store.setTitle("d_a", "First");
    store.draftTitle("d_a", "First and second");
    const updateDocument = vi.fn(async () => document("a"));
    const documents = async () => [document("a", { title: "First" })];
    const api = pretendApi({
      updateDocument,
      documents,
      spaces: async () => [space],
      status: async () => well,
    });
    cache.write("library", { spaces: [space], documents: { s_1: [document("a")] } });
    await createLibrary(api, cache).refresh();
    expect(updateDocument).toHaveBeenCalledWith("d_a", { title: "First and second" }, { outlives: true });
  });

  it.each([
    ["an error", () => refused("the disk is full", 503)],
    ["a daemon that is away", unreachable],
  ])("keeps a space that an empty list lacks when asking for it by name gives %s", async (_name, answer) => {
    const cache = memoryCache();
    cache.write("library", { spaces: [space], documents: { s_1: [document("a")] } });
    const troubled = createLibrary(pretendApi({ spaces: async () => [], space: answer }), cache);
    await troubled.refreshSpaces();
    expect(troubled.get().spaces).toEqual([space]);
    expect(troubled.find("d_a")).not.toBeNull();
  });

  it("believes no “not here” of a daemon whose storage has failed, and believes it afterwards", async () => {
    const cache = memoryCache();
    cache.write("library", { spaces: [space], documents: { s_1: [document("a")] } });
    const api = pretendApi({
      spaces: async () => [],
      space: () => refused("not here", 404),
      status: async () => well,
    });
    const store = createLibrary(api, cache);
    await store.refreshStatus();
    store.setStorage({ state: "failed", detail: "The disk is full." });
    await store.refreshSpaces();
    expect(store.get().spaces).toEqual([space]);
    store.setStorage({ state: "ok", detail: null });
    await store.refreshSpaces();
    expect(store.get().spaces).toEqual([]);
  });

  it("takes what a troubled daemon can tell, and says that it was not everything", async () => {
    const documents = vi.fn(() => refused("the disk is full", 503));
    const api = pretendApi({ status: async () => well, spaces: async () => [space], documents });
    const troubled = createLibrary(api, memoryCache());
    expect(await troubled.refresh()).toBe(false);
    expect(troubled.get().spaces).toEqual([space]);
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
