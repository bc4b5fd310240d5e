import "fake-indexeddb/auto";
import { afterEach, describe, expect, it, vi } from "vitest";
import type { DocumentId } from "../../src/model/identifiers";
import { createHandover, type Handover, type HandoverOptions } from "../../src/sync/handover";
import { type DocumentSession, openSession } from "../../src/sync/session";
import { readNotes } from "../../src/sync/unsaved-notes";
import { PretendDaemon } from "../support/pretend-daemon";
import { pretendStorage } from "../support/pretend-storage";

vi.stubGlobal("localStorage", pretendStorage());

const until = (ready: () => boolean) => vi.waitFor(() => expect(ready()).toBe(true), { timeout: 5_000 });
const running: Handover[] = [];
afterEach(() => {
  for (const handover of running.splice(0)) handover.pause();
  localStorage.clear();
});

/** A browser with one daemon per document. */
class Browser {
  readonly daemons = new Map<DocumentId, PretendDaemon>();
  opened: DocumentId[] = [];
  saved: DocumentId[] = [];

  daemon(id: DocumentId): PretendDaemon {
    const daemon = this.daemons.get(id) ?? new PretendDaemon();
    this.daemons.set(id, daemon);
    return daemon;
  }

  open = (id: DocumentId) => {
    this.opened.push(id);
    return this.daemon(id).open();
  };

  visit(id: DocumentId): DocumentSession {
    return openSession(id, { open: this.open });
  }

  /** A window that typed `words` while the daemon was away, and was closed. */
  async leave(id: DocumentId, words: string): Promise<void> {
    const session = this.visit(id);
    await until(() => session.state.get().synced);
    session.describe({ title: `Page ${id}`, type: "text", space: "Trip" });
    const daemon = this.daemon(id);
    daemon.down = true;
    daemon.stop();
    session.doc.getText("text").insert(0, words);
    await until(() => session.state.get().kept && session.state.get().pending);
    session.close();
    await new Promise((resolve) => setTimeout(resolve, 20)); // IndexedDB has its own turns
  }

  handover(options: Partial<HandoverOptions> = {}): Handover {
    const handover = createHandover({
      open: this.open,
      again_ms: 60_000,
      onSaved: (ids) => this.saved.push(...ids),
      ...options,
    });
    running.push(handover);
    return handover;
  }

  text = (id: DocumentId) => this.daemon(id).doc.getText("text").toString();
}

describe("words left in the browser", () => {
  it("are listed with their page and their number, without asking the daemon", async () => {
    const browser = new Browser();
    await browser.leave("d_list", "seven words that nobody has saved yet");
    browser.opened = [];
    expect(browser.handover().get()).toMatchObject([
      {
        documentId: "d_list",
        words: 7,
        state: "waiting",
        label: { title: "Page d_list", space: "Trip", type: "text" },
      },
    ]);
    expect(browser.opened).toEqual([]);
  });

  it("of several pages are handed over one after the other, each once", async () => {
    const browser = new Browser();
    const ids: DocumentId[] = ["d_one", "d_two", "d_three"];
    for (const id of ids) await browser.leave(id, `words of ${id}`);
    for (const id of ids) browser.daemon(id).down = false;
    browser.opened = [];
    const handover = browser.handover();
    const most = vi.fn();
    handover.subscribe(() => most(handover.get().filter(({ state }) => state === "sending").length));
    handover.start();
    handover.start();
    await until(() => handover.get().length === 0);
    expect(ids.map(browser.text)).toEqual(ids.map((id) => `words of ${id}`));
    expect(browser.saved).toEqual(ids);
    expect(Math.max(...most.mock.calls.flat())).toBe(1);
    expect(readNotes()).toEqual([]);
  });

  it("stay, and say why, when the person may only read now", async () => {
    const browser = new Browser();
    await browser.leave("d_reader", "mine alone");
    Object.assign(browser.daemon("d_reader"), { down: false, readOnly: true });
    const handover = browser.handover();
    handover.start();
    await until(() => handover.get()[0]?.state === "reader");
    expect(readNotes("d_reader")).toHaveLength(1);
    browser.daemon("d_reader").readOnly = false;
    handover.start();
    await until(() => browser.text("d_reader") === "mine alone");
    await until(() => handover.get().length === 0);
  });

  it.each([
    [4404, "unknown"],
    [4422, "refused"],
    [4413, "refused"],
  ] as const)("stay, and say why, when the daemon closes with %i", async (code, state) => {
    const browser = new Browser();
    const id: DocumentId = `d_code${code}`;
    await browser.leave(id, "still here");
    Object.assign(browser.daemon(id), { down: false, closeWith: code });
    const handover = browser.handover();
    handover.start();
    await until(() => handover.get()[0]?.state === state);
    expect(readNotes(id)).toHaveLength(1);
    const again = browser.visit(id);
    await until(() => again.state.get().localLoaded);
    expect(again.doc.getText("text").toString()).toBe("still here");
    again.close();
  });

  it("wait for a disk that takes nothing, and one such page does not keep the others waiting", async () => {
    const browser = new Browser();
    await browser.leave("d_full", "no room for these");
    await browser.leave("d_room", "room for these");
    for (const id of ["d_full", "d_room"] as const) browser.daemon(id).down = false;
    browser.daemon("d_full").refusesWrites = true;
    const handover = browser.handover({ patience_ms: 300 });
    handover.start();
    await until(() => browser.text("d_room") === "room for these");
    await until(() => handover.get()[0]?.state === "storage");
    browser.daemon("d_full").refusesWrites = false;
    handover.start();
    await until(() => handover.get().length === 0);
    expect(browser.text("d_full")).toBe("no room for these");
  });

  it("of a page that this window shows are the page's to save", async () => {
    const browser = new Browser();
    await browser.leave("d_shown", "shown");
    expect(browser.handover({ isShown: (id) => id === "d_shown" }).get()).toEqual([]);
  });

  it("written by an earlier version are found as well", async () => {
    const browser = new Browser();
    await browser.leave("d_older", "older words");
    localStorage.clear();
    localStorage.setItem("sheaf.unsaved.d_older", "1");
    browser.daemon("d_older").down = false;
    const handover = browser.handover();
    handover.start();
    await until(() => handover.get().length === 0);
    expect(browser.text("d_older")).toBe("older words");
    expect(localStorage.length).toBe(0);
  });
});
