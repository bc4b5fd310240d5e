/** The floors of the web editor: a folder imports only from folders below it. Neighbours do not know each other. */
import { readdirSync, readFileSync } from "node:fs";
import { dirname, join, relative } from "node:path";
import { describe, expect, it } from "vitest";

const source = join(import.meta.dirname, "../src");
const floors: readonly (readonly string[])[] = [
  ["main"],
  ["pages"],
  ["components"],
  ["hooks"],
  ["editor", "sync", "api", "stores", "worker"],
  ["model"],
];
const floorOf = (part: string): number => floors.findIndex((floor) => floor.includes(part));
const belowHooks = new Set(["editor", "sync", "api", "stores", "model", "worker"]);

interface Import {
  file: string;
  part: string;
  target: string;
}

function partOf(path: string): string {
  return (
    relative(source, path)
      .split("/")[0]
      ?.replace(/\.tsx?$/, "") ?? ""
  );
}

function importsOf(file: string): Import[] {
  const text = readFileSync(file, "utf8");
  const found = [...text.matchAll(/(?:from\s+|import\s*\(\s*|^import\s+)["']([^"']+)["']/gm)];
  return found.map((match) => ({ file: relative(source, file), part: partOf(file), target: match[1] ?? "" }));
}

const files = readdirSync(source, { recursive: true, encoding: "utf8" })
  .filter((name) => /\.tsx?$/.test(name))
  .map((name) => join(source, name));
const imports = files.flatMap(importsOf);

/** What is wrong with an import, or null. */
function complaint({ file, part, target }: Import): string | null {
  if (belowHooks.has(part) && /^(react|react-dom|lucide-react)(\/|$)/.test(target))
    return `${file}: React below hooks`;
  if (!target.startsWith(".") || target.endsWith(".css")) return null;
  const other = partOf(join(source, dirname(file), target));
  if (other === part) return null;
  const [from, to] = [floorOf(part), floorOf(other)];
  if (from < 0 || to < 0) return `${file}: "${other}" has no floor`;
  return from < to ? null : `${file}: ${part} must not import ${other}`;
}

describe("floors", () => {
  it("finds the imports at all", () => {
    expect(imports.length).toBeGreaterThan(150);
  });

  it("are kept by every import", () => {
    expect(imports.map(complaint).filter((words) => words !== null)).toEqual([]);
  });

  it.each([
    [{ file: "model/tree.ts", part: "model", target: "../stores/library" }],
    [{ file: "stores/library.ts", part: "stores", target: "../api/client" }],
    [{ file: "editor/blocks.ts", part: "editor", target: "react" }],
    [{ file: "hooks/app.ts", part: "hooks", target: "../components/Menu" }],
  ])("would refuse %o", (wrong) => {
    expect(complaint(wrong)).not.toBeNull();
  });
});
