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
    expect(parseEvent("delivery_changed", '{"space_id":"s_1","document_id":"d_1"}')).toEqual({
      type: "delivery_changed",
      space_id: "s_1",
      document_id: "d_1",
    });
    expect(parseEvent("delivery_changed", '{"space_id":"s_1","document_id":null}')).toMatchObject({
      document_id: null,
    });
    expect(parseEvent("relay_warning", '{"url":"wss://r","space_id":"s_1","kind":"lost"}')).toEqual({
      type: "relay_warning",
      url: "wss://r",
      space_id: "s_1",
      kind: "lost",
      detail: null,
    });
    expect(parseEvent("relays_changed", "")).toEqual({ type: "relays_changed" });
    expect(parseEvent("clones_changed", "{}")).toEqual({ type: "clones_changed" });
    expect(parseEvent("resync", "{}")).toEqual({ type: "resync" });
  });

  it.each(["", "[]", "null", '{"space_id":7}', '{"space_id":"x_1"}', "{"])(
    "are ignored when they are %j",
    (data) => {
      expect(parseEvent("documents_changed", data)).toBeNull();
      expect(parseEvent("storage_changed", data)).toBeNull();
      expect(parseEvent("join_changed", data)).toBeNull();
      expect(parseEvent("delivery_changed", data)).toBeNull();
      expect(parseEvent("relay_warning", data)).toBeNull();
    },
  );
});
