// Hocuspocus with its SQLite extension: node hocuspocus.mjs PORT DATABASE [DEBOUNCE_MS]
import { SQLite } from "@hocuspocus/extension-sqlite";
import { Server } from "@hocuspocus/server";

const [port, database, debounce] = process.argv.slice(2);
const pauses = debounce === undefined ? {} : { debounce: Number(debounce), maxDebounce: Number(debounce) };
const server = new Server({
  address: "127.0.0.1",
  port: Number(port),
  quiet: true,
  extensions: [new SQLite({ database })],
  ...pauses, // without: what Hocuspocus ships, 2 s after the last change and 10 s at most
});
await server.listen();
console.log("ready");
