import { readdirSync, readFileSync } from "node:fs";
import react from "@vitejs/plugin-react";
import { defineConfig, type Plugin } from "vitest/config";

/** Where `npm run dev` finds a daemon: the real one, or `node dev/mock_daemon.mjs`. */
const daemon = process.env.SHEAF_DAEMON ?? "http://127.0.0.1:7411";

/** Where the licences of the packages in the bundle go. The dialog *You* links to this file. */
const notices = "third-party-licenses.txt";

/** The build adds helpers of its own to the bundle, as modules without a file. These packages bring them. */
const helperOwners = { "\0rolldown/": "rolldown", "\0vite/": "vite" };

/** Adds the licences of the build's own helpers to Vite's list (`build.license`), which leaves them out. */
function helperNotices(): Plugin {
  return {
    name: "sheaf-helper-notices",
    apply: "build",
    generateBundle: {
      order: "post", // Vite emits its list in this hook, too
      handler(_options, bundle) {
        const list = bundle[notices];
        if (list?.type !== "asset") this.error(`the bundle has no ${notices}`);
        const modules = Object.values(bundle).flatMap((file) =>
          file.type === "chunk" ? file.moduleIds : [],
        );
        const helpers = modules.filter((id) => id.startsWith("\0") && !id.includes("/node_modules/"));
        const owners = helpers.map(
          (id) => ownerOf(id) ?? this.error(`no package is known for the module ${id}`),
        );
        list.source = [list.source, ...[...new Set(owners)].sort().map(noticeOf)].join("\n");
      },
    },
  };
}

function ownerOf(id: string): string | undefined {
  return Object.entries(helperOwners).find(([prefix]) => id.startsWith(prefix))?.[1];
}

/** The licence of a package, as Vite writes it. What Vite's own file says about its other parts is left out. */
function noticeOf(name: string): string {
  const folder = new URL(`node_modules/${name}/`, import.meta.url);
  const { version, license } = JSON.parse(readFileSync(new URL("package.json", folder), "utf-8"));
  const file = readdirSync(folder).find((entry) => /^licen[cs]e/i.test(entry)) ?? "LICENSE";
  const [text = ""] = readFileSync(new URL(file, folder), "utf-8").split("\n# Licenses of bundled");
  return `## ${name} - ${version} (${license})\n\n${text.trim()}\n`;
}

/**
 * The service worker must know the names of every hashed asset, the lazily loaded ones too: a reload while
 * the daemon is down must still find the text editor. The list is known only when the bundle is.
 */
function precacheList(): Plugin {
  return {
    name: "sheaf-precache-list",
    apply: "build",
    enforce: "post",
    generateBundle(_options, bundle) {
      const assets = Object.keys(bundle)
        .filter((name) => name.startsWith("assets/"))
        .map((name) => `/${name}`)
        .sort();
      const worker = bundle["sw.js"];
      if (worker?.type !== "chunk") this.error("the service worker is missing from the bundle");
      const code = worker.code.replace(/["'`]__PRECACHE__["'`]/, JSON.stringify(JSON.stringify(assets)));
      if (code === worker.code) this.error("the service worker has no place for its list of assets");
      worker.code = code;
    },
  };
}

export default defineConfig({
  plugins: [react(), precacheList(), helperNotices()],
  server: {
    host: "127.0.0.1",
    proxy: {
      "/api": { target: daemon, changeOrigin: true, headers: { origin: daemon } },
      "/sync": { target: daemon, ws: true, changeOrigin: true, headers: { origin: daemon } },
    },
  },
  build: {
    license: { fileName: notices },
    target: "es2022",
    // The module-preload polyfill would be an extra fetch of every chunk; all browsers we support have it built in.
    modulePreload: { polyfill: false },
    assetsInlineLimit: 0,
    chunkSizeWarningLimit: 640,
    rollupOptions: {
      input: { main: "index.html", sw: "src/worker/sw.ts" },
      output: {
        entryFileNames: (chunk) => (chunk.name === "sw" ? "sw.js" : "assets/[name]-[hash].js"),
      },
    },
  },
  test: { include: ["tests/**/*.test.ts"], environment: "node", testTimeout: 20_000 },
});
