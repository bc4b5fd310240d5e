import { describe, expect, it } from "vitest";
import { fileName } from "../../src/hooks/saving-copies";
import { type Document, isReadOnly } from "../../src/model/library";
import type { ApiFailure } from "../../src/model/ports";
import { standingOf } from "../../src/model/standing";
import { trashedAbove } from "../../src/model/tree";
import { stateNow } from "../../src/model/unsaved";
import { countWords, wordsInWords } from "../../src/model/words";

const problem = (status: number): ApiFailure => ({ kind: "problem", status, title: "words", detail: null });

describe("whether a document is gone", () => {
  it("is for a daemon to say whose storage works", () => {
    expect(standingOf(problem(404), { state: "ok" })).toEqual({ kind: "unknown", words: "words" });
  });

  it.each([
    [problem(404), "failed"],
    [problem(404), "read_only"],
    [problem(503), "ok"],
    [problem(507), "ok"],
    [problem(500), null],
    [problem(403), "ok"],
    [problem(429), "ok"],
  ] as const)("is not said by %o while the storage is %s", (failure, state) => {
    expect(standingOf(failure, state && { state }).kind).toBe("troubled");
  });

  it.each([{ kind: "unreachable" }, { kind: "signed_out" }] as const)("is not said by %o", (failure) => {
    expect(standingOf(failure, { state: "low" }).kind).toBe("unreachable");
  });
});

describe("words on their way", () => {
  it.each([
    ["sending", "ok", "sending"],
    ["sending", "read_only", "storage"],
    ["reader", "read_only", "reader"],
  ] as const)("%s, while the storage is %s: %s", (state, storage, shown) => {
    expect(stateNow(state, { state: storage })).toBe(shown);
  });
});

describe("a space that cannot be opened now", () => {
  it("makes nobody a reader", () => {
    expect(isReadOnly({ role: "reader", state: "ready" })).toBe(true);
    expect(isReadOnly({ role: "reader", state: "unavailable" })).toBe(false);
    expect(isReadOnly(null)).toBe(false);
  });
});

describe("a page below one in the trash", () => {
  const page = (id: string, parent: string | null, trashed = false) =>
    ({ document_id: `d_${id}`, parent_id: parent && `d_${parent}`, trashed }) as Document;

  it("finds it, at any depth, and survives a cycle", () => {
    const pages = [
      page("top", null, true),
      page("middle", "top"),
      page("low", "middle"),
      page("self", "self"),
    ];
    expect(trashedAbove(pages, "d_low")?.document_id).toBe("d_top");
    expect(trashedAbove(pages, "d_self")).toBeNull();
    expect(trashedAbove([page("a", null), page("b", "a")], "d_b")).toBeNull();
  });
});

describe("words", () => {
  it("are counted in any script", () => {
    expect(countWords("three plain words")).toBe(3);
    expect(countWords("שלום עולם")).toBe(2);
    expect(countWords(" \n—!")).toBe(0);
  });

  it("are named", () => {
    expect([0, 1, 300].map(wordsInWords)).toEqual(["some changes", "1 word", "300 words"]);
  });
});

describe("the name of a saved file", () => {
  it.each([
    ["Trip: 4/5", "Trip 4 5"],
    ["../../etc", "etc"],
    ["a\u202eb\n", "a b"],
    ["", "Untitled"],
    ["שלום", "שלום"],
  ])("of %j is %j", (title, name) => {
    expect(fileName(title)).toBe(name);
  });
});
