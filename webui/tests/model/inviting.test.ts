import { describe, expect, it } from "vitest";
import { isNearby, pathWords, reasonWords } from "../../src/model/paths";
import { readRelayUrl, relay_urls_max, relayTrouble, sayRelay } from "../../src/model/relays";
import { codeStateNow, codeWords, countdown, spokenTime } from "../../src/model/spoken";
import { findCode, findTicket, readInvitation } from "../../src/model/ticket";

const ticket = `sheaf1${"abcdefgh2345".repeat(12)}`;

describe("what was put into the one field", () => {
  it.each([
    ticket,
    ` ${ticket}\n`,
    `sheaf:join#${ticket}`,
    `Hi! Join with ${ticket} today`,
    `${ticket.slice(0, 70)}\n${ticket.slice(70)}`,
    `7-orbit-velvet no, take this: ${ticket}`,
  ])("is a ticket in %j", (text) => {
    expect(readInvitation(text).kind).toBe("ticket");
  });
  it("keeps a ticket's address", () => {
    expect(findTicket(`${ticket}@192.168.1.4:5000`)).toBe(`${ticket}@192.168.1.4:5000`);
  });

  it.each([
    "7-orbit-velvet",
    "7 orbit velvet",
    " 7 - Orbit - VELVET. ",
    "7, orbit, velvet",
    "Code: 7-orbit-velvet",
    "7–orbit–velvet",
    "7 / orbit / velvet",
  ])("is a code in %j", (text) => {
    expect(readInvitation(text)).toEqual({ kind: "code", text: "7-orbit-velvet" });
  });
  it("is a code also by the beginnings of its words, and with a word that does not exist", () => {
    expect(findCode("12 orbi velv")).toBe("12-orbi-velv");
    expect(findCode("7-orbit-xqzzy")).toBe("7-orbit-xqzzy");
  });

  it.each(["7", "7-", "7 orbit"])("is half a code in %j", (text) => {
    expect(readInvitation(text)).toMatchObject({
      kind: "nothing",
      complaint: expect.stringMatching(/two words/),
    });
  });
  it.each(["", "hello sheaf1", "orbit velvet", "7-1-2", "7 orbit velvet tonight", "x".repeat(9_999)])(
    "is nothing in %j",
    (text) => {
      expect(readInvitation(text).kind).toBe("nothing");
    },
  );
});

describe("a spoken code's life", () => {
  it("counts down, for the eye and for the ear", () => {
    expect([600_000, 581_000, 7_000, 6_001, 0, -5].map(countdown)).toEqual([
      "10:00",
      "9:41",
      "0:07",
      "0:07",
      "0:00",
      "0:00",
    ]);
    expect([600_000, 61_000, 20_000].map(spokenTime)).toEqual([
      "about 10 minutes",
      "about a minute",
      "less than a minute",
    ]);
  });
  it("ends by its time, also when nobody said so", () => {
    expect(codeStateNow("waiting", 1_000, 999)).toBe("waiting");
    expect(codeStateNow("waiting", 1_000, 1_000)).toBe("expired");
    expect(codeStateNow("used", 1_000, 2_000)).toBe("used");
  });
  it("says what to do in every state", () => {
    for (const state of ["waiting", "confirmed", "used", "burned", "expired", "failed"] as const) {
      expect(codeWords(state).body).not.toBe("");
    }
    expect(codeWords("burned").body).toMatch(/Make another/);
    expect(codeWords("burned", null, "Two came at once.").body).toBe("Two came at once.");
    expect(codeWords("used", "Ann").title).toBe("Ann joined");
    expect(codeWords("used", "Ann", "It changed nothing.")).toMatchObject({
      title: "Ann is in this space already",
      body: "It changed nothing.",
    });
  });
});

describe("a relay's address", () => {
  it.each([
    ["relay.example.org", "wss://relay.example.org"],
    [" wss://Relay.Example.org/ ", "wss://relay.example.org"],
    ["relay.example.org:7412", "wss://relay.example.org:7412"],
    ["ws://192.168.1.4:7412", "ws://192.168.1.4:7412"],
    ["wss://example.org/team/", "wss://example.org/team"],
  ])("%j is %s", (text, url) => {
    expect(readRelayUrl(text)).toEqual({ ok: true, url });
  });
  it.each([
    ["", /Type the relay/],
    ["two words", /not an address/],
    ["https://relay.example.org", /wss:\/\/relay\.example\.org/],
    ["ftp://relay.example.org", /starts with wss/],
    ["wss://secret@relay.example.org", /token out/],
    ["wss://relay.example.org/?a=b", /Leave out/],
    ["wss://", /not an address/],
    ["x".repeat(300), /not an address/],
  ])("%j is refused with a reason", (text, reason) => {
    expect(readRelayUrl(text)).toMatchObject({ ok: false, complaint: expect.stringMatching(reason) });
  });
  it.each(["wss://relay.example.org", "ws://10.0.0.4:7412", "wss://example.org/team"])(
    "%s is typed as it was said",
    (url) => {
      expect(readRelayUrl(sayRelay(url))).toEqual({ ok: true, url });
    },
  );
  it("may hold a token where only this laptop uses it", () => {
    const url = "wss://secret@relay.example.org";
    expect(readRelayUrl(url, { isShared: false })).toEqual({ ok: true, url });
  });
  it("is taken once, and a few times at most", () => {
    expect(readRelayUrl("relay.example.org", { existing: ["wss://relay.example.org"] }).ok).toBe(false);
    const many = Array.from({ length: relay_urls_max }, (_, n) => `wss://r${n}.example`);
    expect(readRelayUrl("relay.example.org", { existing: many }).ok).toBe(false);
  });
  it("is named when its relay did not keep what it was given", () => {
    const event = { url: "wss://relay.example.org", detail: null };
    expect(relayTrouble({ ...event, kind: "rolled_back" })).toMatch(/relay\.example\.org went back/);
    expect(relayTrouble({ ...event, kind: "full", detail: "Full." })).toBe("Full.");
  });
});

describe("a path", () => {
  it.each([
    ["webrtc", "192.168.1.4:50211 ⇄ 192.168.1.9:40022 (udp, host)", "on this network"],
    ["webrtc", "[fe80::1]:5 ⇄ [fd00::9]:7 (udp, host)", "on this network"],
    ["webrtc", "192.168.1.4:50211 ⇄ 203.0.113.9:40022 (udp, srflx)", "directly"],
    ["webrtc", "[2001:db8::1]:5 ⇄ [2001:db8::9]:7 (udp, host)", "directly"],
    ["webrtc", null, "directly"],
    ["tunnel", "10.0.0.4:7412 (tcp, tls)", "on this network, over TCP"],
    ["relay", "wss://relay.example.org", "through the relay"],
    [null, null, ""],
  ] as const)("%s by %j is “%s”", (path, description, words) => {
    expect(pathWords({ path, description, path_reason: null })).toBe(words);
  });
  it("is explained where the way itself does not say it", () => {
    const near = { path: "webrtc", description: "10.0.0.1:1 ⇄ 10.0.0.2:2 (udp, host)" } as const;
    expect(reasonWords({ ...near, path_reason: "direct: both are on one network" })).toBeNull();
    const far = { path: "relay", description: null } as const;
    expect(reasonWords({ ...far, path_reason: "relay: UDP does not get through" })).toBe(
      "UDP does not get through",
    );
    expect(reasonWords({ ...far, path_reason: null })).toBeNull();
  });
  it("is near when both ends are, or when the daemon says so", () => {
    const way = (description: string, path_reason: string | null = null) =>
      ({ path: "webrtc", description, path_reason }) as const;
    expect(isNearby(way("127.0.0.1:1 ⇄ 127.0.0.1:2 (udp, host)"))).toBe(true);
    expect(isNearby(way("172.32.0.1:1 ⇄ 10.0.0.1:2 (udp, host)"))).toBe(false);
    expect(isNearby(way("192.0.2.1:1 ⇄ 192.0.2.2:2 (udp, host)", "direct: both are on one network"))).toBe(
      true,
    );
  });
});
