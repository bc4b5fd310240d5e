import "fake-indexeddb/auto";
import { afterEach, describe, expect, it, vi } from "vitest";
import { forgetDocument } from "../../src/sync/forgetting";
import { type DocumentSession, openSession } from "../../src/sync/session";
import { readNotes } from "../../src/sync/unsaved-notes";
import { PretendDaemon } from "../support/pretend-daemon";
import { pretendStorage } from "../support/pretend-storage";

vi.stubGlobal("localStorage", pretendStorage());

const open: DocumentSession[] = [];
function visit(daemon: PretendDaemon, id: `d_${string}`) {
  const session = openSession(id, { open: daemon.open });
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
    expect(localStorage.length).toBe(0);
  });

  it("forgets a document that was erased", async () => {
    const daemon = new PretendDaemon();
    const first = visit(daemon, "d_erased");
    await until(() => first.state.get().synced);
    text(first).insert(0, "secret");
    await until(() => !first.state.get().pending);
    first.close();
    expect(await forgetDocument("d_erased")).toBe(true);
    daemon.down = true;
    const second = visit(daemon, "d_erased");
    await until(() => second.state.get().localLoaded);
    expect(text(second).toString()).toBe("");
    expect(second.state.get().bindable).toBe(false);
  });

  it("counts the words that no daemon has, letter by letter, and not those of others", async () => {
    const daemon = new PretendDaemon();
    const session = visit(daemon, "d_counted");
    await until(() => session.state.get().synced);
    text(session).insert(0, "saved words ");
    await until(() => !session.state.get().pending);
    daemon.doc.getText("text").insert(0, "theirs ");
    daemon.holdCommits = true;
    for (const letter of "new and mine") text(session).insert(text(session).length, letter);
    text(session).insert(0, "first ");
    text(session).delete(0, 6);
    daemon.doc.getText("text").insert(0, "more of theirs ");
    expect(session.unsavedWords()).toBe(3);
    expect(readNotes("d_counted")).toHaveLength(1);
    daemon.commit();
    await until(() => !session.state.get().pending);
    expect(session.unsavedWords()).toBe(0);
    expect(readNotes("d_counted")).toEqual([]);
  });

  it("whose edits were acknowledged does not speak for another window that was not", async () => {
    const daemon = new PretendDaemon();
    const [one, two] = [visit(daemon, "d_windows"), visit(daemon, "d_windows")];
    await until(() => one.state.get().synced && two.state.get().synced);
    daemon.holdCommits = true;
    text(one).insert(0, "from the first ");
    text(two).insert(0, "from the second ");
    expect(readNotes("d_windows")).toHaveLength(2);
    for (const socket of [...daemon.sockets].slice(0, 1)) daemon.commitFor(socket);
    await until(() => !one.state.get().pending);
    expect(readNotes("d_windows")).toMatchObject([{ client: two.doc.clientID }]);
  });

  it("whose edits were acknowledged does not speak for what another wrote after it had looked", async () => {
    const daemon = new PretendDaemon();
    const one = visit(daemon, "d_later");
    await until(() => one.state.get().synced);
    daemon.down = true;
    daemon.stop();
    text(one).insert(0, "early ");
    await vi.waitFor(async () => expect(await storedUpdates("d_later")).toBe(2));
    const two = visit(daemon, "d_later");
    await until(() => two.state.get().localLoaded);
    text(one).insert(6, "late");
    one.close();
    daemon.down = false;
    await until(() => two.state.get().synced && !two.state.get().pending);
    expect(daemon.doc.getText("text").toString()).toBe("early ");
    expect(readNotes("d_later")).toHaveLength(1);
    two.close();
    const three = visit(daemon, "d_later");
    await until(() => three.state.get().synced && !three.state.get().pending);
    expect(daemon.doc.getText("text").toString()).toBe("early late");
    expect(readNotes("d_later")).toHaveLength(0);
  });

  it("keeps saying that a reader's earlier words are not saved", async () => {
    const daemon = new PretendDaemon();
    const first = visit(daemon, "d_demoted");
    await until(() => first.state.get().synced);
    daemon.down = true;
    daemon.stop();
    text(first).insert(0, "typed without the daemon");
    await until(() => first.state.get().pending);
    Object.assign(daemon, { down: false, readOnly: true });
    first.nudge();
    await until(() => first.state.get().synced && first.state.get().readOnly);
    expect(first.state.get().pending).toBe(true);
    expect(first.unsavedWords()).toBe(4);
    expect(readNotes("d_demoted")).toHaveLength(1);
  });

  it("has the last letters after the window ended, also those the browser's copy had no time to store", async () => {
    const daemon = new PretendDaemon();
    const first = visit(daemon, "d_tail");
    await until(() => first.state.get().synced);
    await vi.waitFor(async () => expect(await storedUpdates("d_tail")).toBe(1));
    daemon.down = true;
    daemon.stop();
    // The window ends in this very turn: nothing of it reaches the copy.
    const writing = vi.spyOn(IDBObjectStore.prototype, "add").mockImplementation(() => {
      throw new DOMException("the window is gone");
    });
    for (const letter of "last letters") text(first).insert(text(first).length, letter);
    first.flush();
    writing.mockRestore();
    expect(await storedUpdates("d_tail")).toBe(1);
    daemon.down = false;
    const second = visit(daemon, "d_tail");
    await until(() => second.state.get().synced && !second.state.get().pending);
    expect(daemon.doc.getText("text").toString()).toBe("last letters");
    first.close();
  });

  it("is seconds behind no typist: many letters are few writes", async () => {
    const daemon = new PretendDaemon();
    const session = visit(daemon, "d_fast");
    await until(() => session.state.get().synced);
    const typed = "all of these letters come before the first is written";
    for (const letter of typed) text(session).insert(text(session).length, letter);
    session.close();
    daemon.down = true;
    const again = visit(daemon, "d_fast");
    await until(() => again.state.get().localLoaded);
    expect(text(again).toString()).toBe(typed);
    expect(await storedUpdates("d_fast")).toBeLessThan(10);
  });

  it("saves what is typed although the browser's storage throws at every letter", async () => {
    const daemon = new PretendDaemon();
    const session = visit(daemon, "d_throws");
    await until(() => session.state.get().synced);
    const failing = vi.spyOn(IDBObjectStore.prototype, "add").mockImplementation(() => {
      throw new DOMException("closing");
    });
    text(session).insert(0, "to the daemon all the same");
    failing.mockRestore();
    expect(daemon.doc.getText("text").toString()).toBe("to the daemon all the same");
  });

  it("is not forgotten with words in it when only what is saved may go", async () => {
    const daemon = new PretendDaemon();
    const first = visit(daemon, "d_left");
    await until(() => first.state.get().synced);
    daemon.down = true;
    daemon.stop();
    text(first).insert(0, "not saved");
    await until(() => first.state.get().pending);
    first.close();
    expect(await forgetDocument("d_left", { onlySaved: true })).toBe(false);
    const second = visit(daemon, "d_left");
    await until(() => second.state.get().localLoaded);
    expect(text(second).toString()).toBe("not saved");
  });
});
