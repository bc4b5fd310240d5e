import react from "@vitejs/plugin-react";
import { defineConfig, type Plugin } from "vitest/config";

/** Where `npm run dev` finds a daemon: the real one, or `node dev/mock_daemon.mjs`. */
const daemon = process.env.SHEAF_DAEMON ?? "http://127.0.0.1:7411";

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
  plugins: [react(), precacheList()],
  server: {
    host: "127.0.0.1",
    proxy: {
      "/api": { target: daemon, changeOrigin: true, headers: { origin: daemon } },
      "/sync": { target: daemon, ws: true, changeOrigin: true, headers: { origin: daemon } },
    },
  },
  build: {
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
