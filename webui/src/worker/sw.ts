/**
 * The service worker keeps the shell, so that a reload while the daemon is down still opens the editor.
 *
 * It answers for three things only: pages of the application (network first), hashed assets (cache first, they
 * never change) and the few named files of the shell. `/api`, `/sync` and everything else go to the network
 * untouched: no answer of the daemon is ever kept here.
 */
/// <reference lib="webworker" />
const worker = self as unknown as ServiceWorkerGlobalScope;

/** The build puts the list of hashed assets here (vite.config.ts). */
const assets = JSON.parse("__PRECACHE__") as string[];
const shell = ["/", "/icon.svg", "/manifest.webmanifest"];
const cache_name = "sheaf-shell-1";
const network_patience_ms = 3_000;

worker.addEventListener("install", (event) => {
  event.waitUntil(
    caches
      .open(cache_name)
      .then((cache) => cache.addAll([...shell, ...assets]))
      .then(() => worker.skipWaiting()),
  );
});

async function dropOldAssets(): Promise<void> {
  const cache = await caches.open(cache_name);
  const current = new Set([...shell, ...assets]);
  const requests = await cache.keys();
  await Promise.all(
    requests
      .filter((request) => !current.has(new URL(request.url).pathname))
      .map((request) => cache.delete(request)),
  );
}

worker.addEventListener("activate", (event) => {
  event.waitUntil(dropOldAssets().then(() => worker.clients.claim()));
});

async function assetFirst(request: Request): Promise<Response> {
  const cache = await caches.open(cache_name);
  const kept = await cache.match(request);
  if (kept) return kept;
  const response = await fetch(request);
  if (response.ok) await cache.put(request, response.clone());
  return response;
}

/** The newest shell when the daemon answers in time, the kept one when not. */
async function pageFirst(request: Request): Promise<Response> {
  const cache = await caches.open(cache_name);
  try {
    const response = await fetch(request, { signal: AbortSignal.timeout(network_patience_ms) });
    if (response.ok) await cache.put("/", response.clone());
    if (response.status < 500) return response;
    return (await cache.match("/")) ?? response;
  } catch (error) {
    const kept = await cache.match("/");
    if (kept) return kept;
    throw error;
  }
}

worker.addEventListener("fetch", (event) => {
  const { request } = event;
  const { origin, pathname } = new URL(request.url);
  if (request.method !== "GET" || origin !== worker.location.origin) return;
  if (request.mode === "navigate") {
    if (pathname === "/" || pathname.startsWith("/d/") || pathname.startsWith("/s/")) {
      event.respondWith(pageFirst(request));
    }
  } else if (pathname.startsWith("/assets/") || shell.slice(1).includes(pathname)) {
    event.respondWith(assetFirst(request));
  }
});

export {};
