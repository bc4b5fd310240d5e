import { describe, expect, it } from "vitest";
import { parseEvent } from "../../src/api/events";

describe("events", () => {
  it("are read", () => {
    expect(parseEvent("documents_changed", '{"space_id":"s_1"}')).toEqual({
      type: "documents_changed",
      space_id: "s_1",
    });
    expect(parseEvent("spaces_changed", "{}")).toEqual({ type: "spaces_changed" });
    expect(parseEvent("storage_changed", '{"state":"failed","detail":"full"}')).toEqual({
      type: "storage_changed",
      storage: { state: "failed", detail: "full" },
    });
  });

  it.each(["", "[]", "null", '{"space_id":7}', '{"space_id":"x_1"}', "{"])(
    "are ignored when they are %j",
    (data) => {
      expect(parseEvent("documents_changed", data)).toBeNull();
      expect(parseEvent("storage_changed", data)).toBeNull();
      expect(parseEvent("join_changed", data)).toBeNull();
    },
  );
});
