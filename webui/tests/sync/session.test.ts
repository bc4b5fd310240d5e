import "fake-indexeddb/auto";
import { afterEach, describe, expect, it, vi } from "vitest";
import { type DocumentSession, openSession } from "../../src/sync/session";
import { PretendDaemon } from "../support/pretend-daemon";

const storage = new Map<string, string>();
vi.stubGlobal("localStorage", {
  getItem: (key: string) => storage.get(key) ?? null,
  setItem: (key: string, value: string) => storage.set(key, value),
  removeItem: (key: string) => storage.delete(key),
});

const open: DocumentSession[] = [];
function visit(daemon: PretendDaemon, id: `d_${string}`) {
  const session = openSession(id, daemon.open);
  open.push(session);
  return session;
}
afterEach(() => {
  for (const session of open.splice(0)) session.close();
});

const until = (ready: () => boolean) => vi.waitFor(() => expect(ready()).toBe(true), { timeout: 5_000 });
const text = (session: DocumentSession) => session.doc.getText("text");

/** Updates in the browser's copy: the state at opening, then one for each edit. */
async function storedUpdates(id: string): Promise<number> {
  const done = <T>(request: IDBRequest<T>) =>
    new Promise<T>((resolve, reject) => {
      request.onsuccess = () => resolve(request.result);
      request.onerror = () => reject(request.error);
    });
  const database = await done(indexedDB.open(`sheaf.document.${id}`));
  const count = await done(database.transaction("updates").objectStore("updates").count());
  database.close();
  return count;
}

describe("an open document", () => {
  it("may not be bound while neither the daemon nor a known copy has spoken", async () => {
    const daemon = new PretendDaemon();
    daemon.down = true;
    const session = visit(daemon, "d_unseen");
    await until(() => session.state.get().localLoaded && session.state.get().link.kind === "offline");
    expect(session.state.get().bindable).toBe(false);
    daemon.down = false;
    await until(() => session.state.get().synced);
    expect(session.state.get().bindable).toBe(true);
  });

  it("writes nothing by being opened", async () => {
    const daemon = new PretendDaemon();
    const session = visit(daemon, "d_opened");
    await until(() => session.state.get().synced);
    expect(daemon.doc.store.clients.size).toBe(0);
  });

  it("opens from the browser's copy while the daemon is down, with unsaved words still counted", async () => {
    const daemon = new PretendDaemon();
    const first = visit(daemon, "d_kept");
    await until(() => first.state.get().synced);
    text(first).insert(0, "saved. ");
    await until(() => !first.state.get().pending);
    daemon.down = true;
    daemon.stop();
    text(first).insert(7, "not saved.");
    await until(() => first.state.get().pending);
    await vi.waitFor(async () => expect(await storedUpdates("d_kept")).toBe(3));
    first.close();

    const second = visit(daemon, "d_kept");
    await until(() => second.state.get().localLoaded);
    expect(second.state.get()).toMatchObject({ bindable: true, pending: true });
    expect(text(second).toString()).toBe("saved. not saved.");
    daemon.down = false;
    await until(() => second.state.get().synced && !second.state.get().pending);
    expect(daemon.doc.getText("text").toString()).toBe("saved. not saved.");
    expect(storage.size).toBe(0);
  });

  it("forgets a document that was erased", async () => {
    const daemon = new PretendDaemon();
    const first = visit(daemon, "d_erased");
    await until(() => first.state.get().synced);
    text(first).insert(0, "secret");
    await until(() => !first.state.get().pending);
    await first.erase();
    first.close();
    daemon.down = true;
    const second = visit(daemon, "d_erased");
    await until(() => second.state.get().localLoaded);
    expect(text(second).toString()).toBe("");
    expect(second.state.get().bindable).toBe(false);
  });
});
