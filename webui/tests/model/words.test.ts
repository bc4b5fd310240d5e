import { describe, expect, it } from "vitest";
import { rank } from "../../src/model/matching";
import { initials, presenceColour, presenceColours, readPresenceUser } from "../../src/model/presence";
import { addressOf, launchToken, parseRoute } from "../../src/model/routes";
import { listNames, saveState, savingWords, storageWords } from "../../src/model/saving";
import { relativeTime } from "../../src/model/time";

describe("the save state", () => {
  it.each([
    [{ online: true, pending: false, readOnly: false }, "saved"],
    [{ online: true, pending: true, readOnly: false }, "saving"],
    [{ online: false, pending: true, readOnly: false }, "unsaved"],
    [{ online: false, pending: false, readOnly: false }, "offline"],
    [{ online: false, pending: true, readOnly: true }, "readonly"],
  ] as const)("of %o is %s", (facts, state) => {
    expect(saveState({ isStorageRefused: false, kept: true, ...facts })).toBe(state);
  });

  it.each([
    [{ online: true, pending: true }, "held"],
    [{ online: false, pending: true }, "held"],
    [{ online: true, pending: false }, "saved"],
    [{ online: false, pending: false }, "paused"],
  ] as const)("of %o on a disk that takes nothing is %s", (facts, state) => {
    expect(saveState({ readOnly: false, isStorageRefused: true, kept: true, ...facts })).toBe(state);
  });

  it("says when this window is the only place that has the words", () => {
    const facts = { online: false, pending: true, readOnly: false, isStorageRefused: false, kept: false };
    expect(saveState(facts)).toBe("window");
    expect(savingWords("window").long).toMatch(/do not close/);
  });

  it("does not say that Sheaf is stopped, nor that the words are saved, when the disk refuses them", () => {
    expect(savingWords("held").long).toMatch(/not saved on this laptop.*kept in this browser/i);
    const words = storageWords({ state: "failed", detail: "The disk is full." }, true);
    expect(`${words.lead} ${words.rest}`).toMatch(
      /not saved.*The disk is full\..*kept in this browser.*by itself/,
    );
    expect(storageWords({ state: "low", detail: "90 MB are left." }, true).lead).toBe("Everything is saved.");
    expect(storageWords({ state: "failed", detail: null }, false).rest).toMatch(/only in this window/);
  });

  it("claims nothing about others while something is not on the disk", () => {
    for (const state of ["saving", "unsaved", "offline"] as const) {
      expect(savingWords(state).long).not.toMatch(/deliver|seen|relay/i);
    }
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
