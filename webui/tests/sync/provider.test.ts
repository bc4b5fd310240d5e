import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { Awareness, encodeAwarenessUpdate } from "y-protocols/awareness";
import * as Y from "yjs";
import { retryDelayMs } from "../../src/sync/backoff";
import { verdictOf } from "../../src/sync/closing";
import { awarenessFrame, readFrame } from "../../src/sync/frames";
import { type ProviderState, SyncProvider } from "../../src/sync/provider";
import { PretendDaemon } from "../support/pretend-daemon";

function tab(daemon: PretendDaemon, hasUnsaved = false) {
  const doc = new Y.Doc();
  const seen: ProviderState[] = [];
  const awareness = new Awareness(doc);
  const provider = new SyncProvider({
    doc,
    awareness,
    open: daemon.open,
    hasUnsaved,
    isForeign: () => false,
    onChange: (state) => seen.push(state),
    entropy: () => 0.5,
  });
  provider.start();
  return { doc, awareness, text: doc.getText("text"), provider, seen };
}

const settle = () => vi.advanceTimersByTimeAsync(1);
const serverText = (daemon: PretendDaemon) => daemon.doc.getText("text").toString();

beforeEach(() => {
  vi.useFakeTimers();
});
afterEach(() => {
  vi.useRealTimers();
});

describe("the line to the daemon", () => {
  it("syncs both ways and is saved once the commit is acknowledged", async () => {
    const daemon = new PretendDaemon();
    daemon.doc.getText("text").insert(0, "there ");
    const one = tab(daemon);
    await settle();
    expect(one.provider.state).toMatchObject({ link: { kind: "online" }, synced: true, pending: false });
    daemon.holdCommits = true;
    one.text.insert(6, "and back");
    expect(one.provider.state.pending).toBe(true);
    daemon.commit();
    expect(one.provider.state.pending).toBe(false);
    expect(serverText(daemon)).toBe("there and back");
    one.provider.destroy();
  });

  it("never says saved or pending for merely opening", async () => {
    const daemon = new PretendDaemon();
    const one = tab(daemon);
    await settle();
    expect(one.seen.some((state) => state.pending)).toBe(false);
    one.provider.destroy();
  });

  it("keeps words typed while the daemon is down, and sends them when it is back", async () => {
    const daemon = new PretendDaemon();
    const one = tab(daemon);
    await settle();
    daemon.down = true;
    daemon.stop();
    one.text.insert(0, "offline words");
    expect(one.provider.state).toMatchObject({ link: { kind: "offline" }, pending: true });
    await vi.advanceTimersByTimeAsync(20_000);
    expect(one.provider.state.pending).toBe(true);
    daemon.down = false;
    await vi.advanceTimersByTimeAsync(6_000);
    expect(one.provider.state).toMatchObject({ link: { kind: "online" }, pending: false });
    expect(serverText(daemon)).toBe("offline words");
    one.provider.destroy();
  });

  it("sends again what was sent but not committed when the line dropped", async () => {
    const daemon = new PretendDaemon();
    const one = tab(daemon);
    await settle();
    daemon.holdCommits = true;
    one.text.insert(0, "x");
    daemon.stop();
    expect(one.provider.state.pending).toBe(true);
    daemon.holdCommits = false;
    await vi.advanceTimersByTimeAsync(6_000);
    expect(one.provider.state.pending).toBe(false);
    expect(serverText(daemon)).toBe("x");
    one.provider.destroy();
  });

  it("counts edits of an earlier visit as pending until they are committed", async () => {
    const daemon = new PretendDaemon();
    daemon.down = true;
    const one = tab(daemon, true);
    await settle();
    expect(one.provider.state.pending).toBe(true);
    daemon.down = false;
    await vi.advanceTimersByTimeAsync(6_000);
    expect(one.provider.state.pending).toBe(false);
    one.provider.destroy();
  });

  it.each([
    [4401, "signed_out"],
    [4403, "forbidden"],
    [4404, "gone"],
    [4413, "too_big"],
    [4422, "refused"],
    [4499, "protocol"],
  ])("stops at close code %i", async (code, reason) => {
    const daemon = new PretendDaemon();
    const one = tab(daemon);
    await settle();
    daemon.stop(code);
    await vi.advanceTimersByTimeAsync(120_000);
    expect(one.provider.state.link).toEqual({ kind: "stopped", reason });
    expect(daemon.opened).toBe(1);
    one.provider.destroy();
  });

  it.each([1001, 1006, 1009, 1013, 4508])("comes back after close code %i", async (code) => {
    const daemon = new PretendDaemon();
    const one = tab(daemon);
    await settle();
    daemon.stop(code);
    await vi.advanceTimersByTimeAsync(6_000);
    expect(one.provider.state.link).toEqual({ kind: "online" });
    one.provider.destroy();
  });

  it("comes back when asked to after the person has signed in again", async () => {
    const daemon = new PretendDaemon();
    const one = tab(daemon);
    await settle();
    daemon.stop(4401);
    one.text.insert(0, "meanwhile");
    one.provider.nudge();
    await settle();
    expect(one.provider.state).toMatchObject({ link: { kind: "online" }, pending: false });
    expect(serverText(daemon)).toBe("meanwhile");
    one.provider.destroy();
  });

  it("sends nothing as a reader, and keeps saying that it was not saved", async () => {
    const daemon = new PretendDaemon();
    daemon.readOnly = true;
    const one = tab(daemon);
    await settle();
    expect(one.provider.state.readOnly).toBe(true);
    one.text.insert(0, "not mine to write");
    expect(daemon.updates).toBe(0);
    expect(one.provider.state.pending).toBe(true);
    one.provider.destroy();
  });

  it("gives up a line that stays silent, after asking once", async () => {
    const daemon = new PretendDaemon();
    const one = tab(daemon);
    await settle();
    daemon.receive = () => undefined;
    await vi.advanceTimersByTimeAsync(60_000);
    expect(daemon.opened).toBeGreaterThan(1);
    one.provider.destroy();
  });

  it("keeps a line that is silent while what it sent is still leaving", async () => {
    const daemon = new PretendDaemon();
    const one = tab(daemon);
    await settle();
    daemon.receive = () => undefined;
    const [socket] = daemon.sockets;
    if (!socket) throw new Error("not connected");
    socket.bufferedAmount = 6_000_000;
    const leaving = setInterval(() => {
      socket.bufferedAmount = Math.max(0, socket.bufferedAmount - 50_000);
    }, 1_000);
    await vi.advanceTimersByTimeAsync(110_000);
    expect(daemon.opened).toBe(1);
    clearInterval(leaving);
    await vi.advanceTimersByTimeAsync(60_000);
    expect(daemon.opened).toBeGreaterThan(1);
    one.provider.destroy();
  });

  it("comes back ever more slowly to a daemon that hangs up at once", async () => {
    const daemon = new PretendDaemon();
    const one = tab(daemon);
    await settle();
    for (let half = 0; half < 120; half += 1) {
      daemon.stop(4508);
      await vi.advanceTimersByTimeAsync(500);
    }
    expect(daemon.opened).toBeLessThan(25);
    one.provider.destroy();
  });

  it("writes again once it is an editor, after having been a reader", async () => {
    const daemon = new PretendDaemon();
    daemon.readOnly = true;
    const one = tab(daemon);
    await settle();
    expect(one.provider.state.readOnly).toBe(true);
    daemon.readOnly = false;
    daemon.stop();
    await vi.advanceTimersByTimeAsync(6_000);
    expect(one.provider.state.readOnly).toBe(false);
    one.text.insert(0, "mine to write now");
    expect(serverText(daemon)).toBe("mine to write now");
    one.provider.destroy();
  });

  it("shows other people's cursors and forgets them when the line drops", async () => {
    const daemon = new PretendDaemon();
    const one = tab(daemon);
    await settle();
    const other = new Awareness(new Y.Doc());
    other.setLocalStateField("user", { name: "Ann" });
    const frame = awarenessFrame(encodeAwarenessUpdate(other, [other.clientID]));
    for (const socket of daemon.sockets) socket.deliver(frame);
    expect(one.awareness.getStates().get(other.clientID)).toEqual({ user: { name: "Ann" } });
    daemon.down = true;
    daemon.stop();
    expect(one.awareness.getStates().has(other.clientID)).toBe(false);
    expect(one.awareness.getLocalState()).not.toBeNull();
    one.provider.destroy();
    other.destroy();
  });
});

describe("frames and pauses", () => {
  it("reads any bytes without throwing", () => {
    let seed = 7;
    for (let round = 0; round < 3_000; round += 1) {
      seed = (seed * 1103515245 + 12345) & 0x7fffffff;
      const bytes = Uint8Array.from({ length: seed % 24 }, (_, n) => (seed >> (n % 24)) & 0xff);
      expect(readFrame(bytes)).toHaveProperty("kind");
    }
  });

  it("waits longer each time, up to five seconds, never in step", () => {
    expect(retryDelayMs(0, 0)).toBe(125);
    expect(retryDelayMs(0, 0.999)).toBe(250);
    expect(retryDelayMs(30, 0.999)).toBeLessThanOrEqual(5_000);
    expect(retryDelayMs(30, 0)).toBe(2_500);
  });

  it("retries on codes outside of 4400 to 4499", () => {
    for (const code of [1000, 1001, 1006, 1011, 1013, 4399, 4500]) expect(verdictOf(code).kind).toBe("retry");
  });

  it("stops on every code from 4400 to 4499, as stock providers do", () => {
    for (let code = 4400; code < 4500; code += 1) expect(verdictOf(code).kind).toBe("stop");
  });

  it("knocks ever more rarely at a daemon that serves but cannot write, and says so until it is acknowledged", async () => {
    const daemon = new PretendDaemon();
    const one = tab(daemon);
    await settle();
    daemon.refusesWrites = true;
    one.text.insert(0, "no room for this");
    await settle();
    expect(one.provider.state).toMatchObject({ pending: true, isStorageRefused: true });
    const before = daemon.opened;
    await vi.advanceTimersByTimeAsync(60_000);
    expect(daemon.opened - before).toBeLessThan(30);
    expect(one.provider.state).toMatchObject({ pending: true, isStorageRefused: true });
    daemon.refusesWrites = false;
    await vi.advanceTimersByTimeAsync(10_000);
    expect(one.provider.state).toMatchObject({ pending: false, isStorageRefused: false });
    expect(serverText(daemon)).toBe("no room for this");
    one.provider.destroy();
  });

  it("tells a document that ended from one the daemon does not know, and asks again for both", async () => {
    const daemon = new PretendDaemon();
    const one = tab(daemon);
    await settle();
    daemon.stop(4404);
    expect(one.provider.state.link).toEqual({ kind: "stopped", reason: "gone" });
    daemon.closeWith = 4404;
    one.provider.nudge();
    await settle();
    expect(one.provider.state.link).toEqual({ kind: "stopped", reason: "unknown" });
    daemon.closeWith = null;
    one.provider.nudge();
    await settle();
    expect(one.provider.state.link).toEqual({ kind: "online" });
    one.provider.destroy();
  });
});
