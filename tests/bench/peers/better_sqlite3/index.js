// Hocuspocus' SQLite extension calls `new Database(path)`, `exec`, `prepare().get` and `prepare().run` with named
// parameters, all of which Node's own SQLite has under the same names. The real module downloads or compiles a binary.
export { DatabaseSync as default } from "node:sqlite";
