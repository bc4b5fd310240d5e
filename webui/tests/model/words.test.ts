import { describe, expect, it } from "vitest";
import type { Peer } from "../../src/model/library";
import { rank } from "../../src/model/matching";
import { initials, presenceColour, presenceColours, readPresenceUser } from "../../src/model/presence";
import { addressOf, launchToken, parseRoute } from "../../src/model/routes";
import { holders, listNames, saveState, savingWords } from "../../src/model/saving";
import { findTicket } from "../../src/model/ticket";
import { relativeTime } from "../../src/model/time";

function peer(name: string, behind: number, fields: Partial<Peer> = {}): Peer {
  return {
    device_id: `v_${name}`,
    user_id: `u_${name}`,
    user_name: name,
    device_name: `${name}'s`,
    state: "offline",
    path: null,
    description: null,
    rtt_ms: null,
    spaces: [{ space_id: "s_1", behind, done_bytes: 0, total_bytes: 0 }],
    last_seen_at: null,
    ...fields,
  };
}

describe("the save state", () => {
  it.each([
    [{ online: true, pending: false, readOnly: false }, "saved"],
    [{ online: true, pending: true, readOnly: false }, "saving"],
    [{ online: false, pending: true, readOnly: false }, "unsaved"],
    [{ online: false, pending: false, readOnly: false }, "offline"],
    [{ online: false, pending: true, readOnly: true }, "readonly"],
  ] as const)("of %o is %s", (facts, state) => {
    expect(saveState(facts)).toBe(state);
  });

  it("says who has it and who will get it", () => {
    const people = holders([peer("Ann", 0), peer("Bo", 3), peer("Cy", 9)], "s_1", null);
    expect(savingWords("saved", people).long).toBe(
      "Saved on this laptop · Ann has it · 2 others will get it when they are back",
    );
  });

  it("counts a person as served when one of their laptops is", () => {
    const people = holders(
      [peer("Ann", 7), peer("Ann", 0, { device_id: "v_other" }), peer("Bo", 2, { state: "live" })],
      "s_1",
      null,
    );
    expect(people).toEqual({ have: ["Ann"], receiving: ["Bo"], waiting: [] });
  });

  it("names my own other laptop, and leaves out other spaces", () => {
    expect(holders([peer("Me", 0)], "s_1", "u_Me").have).toEqual(["your Me's"]);
    expect(holders([peer("Ann", 0)], "s_2", null).have).toEqual([]);
  });

  it("lists names like a person", () => {
    expect([["A"], ["A", "B"], ["A", "B", "C"], ["A", "B", "C", "D"]].map(listNames)).toEqual([
      "A",
      "A and B",
      "A, B and 1 other",
      "A, B and 2 others",
    ]);
  });
});

describe("addresses", () => {
  it.each(["/", "/s/s_abc", "/d/d_abc-1"])("%s goes there and back", (address) => {
    expect(addressOf(parseRoute(address))).toBe(address);
  });

  it.each(["/d/s_abc", "/d/", "/x", "/d/d_a/b", "/d/d_<b>"])("%s is nowhere", (address) => {
    expect(parseRoute(address)).toEqual({ page: "unknown" });
  });

  it("finds the launch token", () => {
    expect(launchToken("#token=abc-D_1")).toBe("abc-D_1");
    expect(launchToken("#paper")).toBeNull();
    expect(launchToken("")).toBeNull();
  });
});

describe("tickets", () => {
  const ticket = `sheaf1${"abcdefgh2345".repeat(12)}`;
  it.each([
    ticket,
    ` ${ticket}\n`,
    `sheaf:join#${ticket}`,
    `Hi! Join with ${ticket} today`,
    `${ticket.slice(0, 70)}\n${ticket.slice(70)}`,
  ])("are found in %j", (text) => {
    expect(findTicket(text)).not.toBeNull();
  });
  it("keep their address", () => {
    expect(findTicket(`${ticket}@192.168.1.4:5000`)).toBe(`${ticket}@192.168.1.4:5000`);
  });
  it("are not found where there is none", () => {
    expect(findTicket("hello sheaf1")).toBeNull();
  });
});

describe("presence", () => {
  it("takes nothing from awareness that is not a plain name and colour", () => {
    expect(readPresenceUser({ user: { name: "Ann", color: "url(x)" } })?.color).toMatch(/^#/);
    expect(readPresenceUser({ user: 3 })).toBeNull();
    expect(readPresenceUser(null)).toBeNull();
  });
  it("gives one person one colour", () => {
    expect(presenceColour("u_1")).toBe(presenceColour("u_1"));
    expect(new Set(Array.from({ length: 200 }, (_, n) => presenceColour(`u_${n}`))).size).toBe(
      presenceColours.length,
    );
  });
  it("keeps white readable on every colour", () => {
    for (const colour of presenceColours) {
      const [r = 0, g = 0, b = 0] = [1, 3, 5].map((at) => {
        const c = Number.parseInt(colour.slice(at, at + 2), 16) / 255;
        return c <= 0.03928 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4;
      });
      const luminance = 0.2126 * r + 0.7152 * g + 0.0722 * b;
      expect(1.05 / (luminance + 0.05), `white on ${colour}`).toBeGreaterThanOrEqual(4.5);
      expect((luminance + 0.05) / (0.0116 + 0.05), `${colour} on dark paper`).toBeGreaterThanOrEqual(3);
    }
  });
  it("makes initials", () => {
    expect(["Ann", "bo lindqvist", "", "🦊 fox"].map(initials)).toEqual(["A", "BL", "?", "🦊F"]);
  });
});

describe("small words", () => {
  it("ranks prefixes before word starts before the rest", () => {
    expect(rank("li", ["Bulleted list", "delight", "Link", "xyz"], (text) => text)).toEqual([
      "Link",
      "Bulleted list",
      "delight",
    ]);
  });
  it("tells time", () => {
    const now = Date.parse("2026-01-10T12:00:00Z");
    expect(relativeTime("2026-01-10T11:59:50Z", now)).toBe("just now");
    expect(relativeTime("2026-01-10T10:00:00Z", now)).toBe("2 hours ago");
    expect(relativeTime("nonsense", now)).toBe("");
  });
});
