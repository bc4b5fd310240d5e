import { describe, expect, it } from "vitest";
import type { DocumentId } from "../../src/model/identifiers";
import type { Document } from "../../src/model/library";
import {
  buildTree,
  flatten,
  pathTo,
  placeForDrop,
  placeForKey,
  type TreeNode,
  trashed,
  withPlace,
} from "../../src/model/tree";

function document(id: string, order: string, fields: Partial<Document> = {}): Document {
  return {
    document_id: `d_${id}`,
    space_id: "s_1",
    title: id,
    type: "page",
    parent_id: null,
    order,
    trashed: false,
    created_at: "2026-01-01T00:00:00Z",
    updated_at: "2026-01-01T00:00:00Z",
    ...fields,
  };
}

const outline = (nodes: readonly TreeNode[]): unknown[] =>
  nodes.map((node) =>
    node.children.length === 0 ? node.document.title : [node.document.title, outline(node.children)],
  );

const family = [
  document("b", "2"),
  document("a", "1"),
  document("a2", "2", { parent_id: "d_a" }),
  document("a1", "1", { parent_id: "d_a" }),
  document("a1x", "1", { parent_id: "d_a1" }),
];

describe("the tree", () => {
  it("nests and orders siblings", () => {
    expect(outline(buildTree(family))).toEqual([["a", [["a1", ["a1x"]], "a2"]], "b"]);
  });

  it("shows an orphan at the root", () => {
    expect(outline(buildTree([document("x", "1", { parent_id: "d_gone" })]))).toEqual(["x"]);
  });

  it("loses no document of a cycle", () => {
    const cycle = [
      document("x", "1", { parent_id: "d_y" }),
      document("y", "2", { parent_id: "d_x" }),
      document("z", "3", { parent_id: "d_z" }),
    ];
    const rows = flatten(buildTree(cycle), () => true).map((node) => node.document.title);
    expect(rows.sort()).toEqual(["x", "y", "z"]);
  });

  it("hides what is in the trash, with everything below it", () => {
    const documents = family.map((one) => (one.document_id === "d_a1" ? { ...one, trashed: true } : one));
    expect(outline(buildTree(documents))).toEqual([["a", ["a2"]], "b"]);
    expect(trashed(documents).map((one) => one.title)).toEqual(["a1"]);
  });

  it("names the path to a document", () => {
    expect(pathTo(buildTree(family), "d_a1x").map((one) => one.title)).toEqual(["a", "a1", "a1x"]);
  });
});

describe("moving", () => {
  const tree = buildTree(family);
  const moved = (id: DocumentId, place: ReturnType<typeof placeForKey>) =>
    place && outline(buildTree(withPlace(family, id, place)));

  it("refuses to put a document into its own descendant", () => {
    expect(placeForDrop(tree, "d_a", "d_a1x", "inside")).toBeNull();
    expect(placeForDrop(tree, "d_a", "d_a", "before")).toBeNull();
  });

  it("drops before, inside and after", () => {
    expect(moved("d_b", placeForDrop(tree, "d_b", "d_a1", "before"))).toEqual([
      ["a", ["b", ["a1", ["a1x"]], "a2"]],
    ]);
    expect(moved("d_b", placeForDrop(tree, "d_b", "d_a", "inside"))).toEqual([
      ["a", [["a1", ["a1x"]], "a2", "b"]],
    ]);
    expect(moved("d_a1", placeForDrop(tree, "d_a1", "d_b", "after"))).toEqual([
      ["a", ["a2"]],
      "b",
      ["a1", ["a1x"]],
    ]);
  });

  it("moves by key, and stops at the edges", () => {
    expect(moved("d_a2", placeForKey(tree, "d_a2", "up"))).toEqual([["a", ["a2", ["a1", ["a1x"]]]], "b"]);
    expect(moved("d_a", placeForKey(tree, "d_a", "down"))).toEqual(["b", ["a", [["a1", ["a1x"]], "a2"]]]);
    expect(moved("d_b", placeForKey(tree, "d_b", "in"))).toEqual([["a", [["a1", ["a1x"]], "a2", "b"]]]);
    expect(moved("d_a1x", placeForKey(tree, "d_a1x", "out"))).toEqual([["a", ["a1", "a1x", "a2"]], "b"]);
    expect(placeForKey(tree, "d_a", "up")).toBeNull();
    expect(placeForKey(tree, "d_a", "out")).toBeNull();
    expect(placeForKey(tree, "d_a", "in")).toBeNull();
  });
});
