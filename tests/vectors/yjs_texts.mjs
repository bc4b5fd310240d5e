// Writes yjs_texts.json: documents that Yjs itself has edited, as their updates in order and the text they give.
// Run it again after changing it (webui/node_modules must be there):
//   node tests/vectors/yjs_texts.mjs > tests/vectors/yjs_texts.json
import * as Y from "../../webui/node_modules/yjs/dist/yjs.mjs";

const DOCUMENTS = 48;
const STEPS = 28;
const PIECES = ["a", "Sheaf ", "hé", "😀", "日本", "e\u0301", "\n", "👩‍👩‍👧", "the end. ", "\u200d", "1234567890"];

/** A small seeded generator (mulberry32), so that the file is the same whoever writes it. */
function generator(seed) {
  let state = seed >>> 0;
  return (below) => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) % below;
  };
}

/** The nearest position before `at` that splits no surrogate pair: editors never do, and Yjs would write U+FFFD. */
function boundary(text, at) {
  const units = text.toDelta().flatMap(({ insert }) => (typeof insert === "string" ? insert.split("") : [""]));
  return /^[\udc00-\udfff]/.test(units[at] ?? "") ? at - 1 : at;
}

function step(doc, random, undo) {
  const text = doc.getText("text");
  const at = boundary(text, random(text.length + 1));
  const count = boundary(text, Math.min(at + random(6), text.length)) - at;
  switch (random(9)) {
    case 0:
      return text.delete(at, count);
    case 1:
      return text.format(at, count, random(2) ? { bold: true } : { bold: null });
    case 2:
      return text.insertEmbed(at, { image: `i${random(9)}` });
    case 3:
      return doc.getMap("map").set(`key ${random(4)}`, [random(99), null, true, "word", { deep: 0.5 }][random(5)]);
    case 4:
      return doc.getArray("array").insert(0, [random(2 ** 31), -7, "x"]);
    case 5:
      return random(2) ? undo.undo() : undo.redo();
    default:
      return text.insert(at, PIECES[random(PIECES.length)], random(4) ? undefined : { italic: true });
  }
}

function history(seed) {
  const random = generator(seed);
  const log = [];
  const docs = Array.from({ length: 1 + (seed % 4) }, (_, number) => {
    const doc = new Y.Doc();
    doc.clientID = 1 + number + (seed % 3) * 2_000_000_000;
    doc.on("update", (update, origin) => origin !== "remote" && log.push(update));
    return { doc, undo: new Y.UndoManager(doc.getText("text"), { captureTimeout: 0 }), seen: 0 };
  });
  const catchUp = (one) => {
    for (const update of log.slice(one.seen)) Y.applyUpdate(one.doc, update, "remote");
    one.seen = log.length;
  };
  for (let number = 0; number < STEPS; number += 1) {
    const one = docs[random(docs.length)];
    if (random(3) === 0) catchUp(one);
    one.doc.transact(() => step(one.doc, random, one.undo));
  }
  docs.forEach(catchUp);
  const updates = seed % 5 === 0 ? [Y.mergeUpdates(log)] : log;
  return {
    updates: updates.map((update) => Buffer.from(update).toString("base64")),
    text: docs[0].doc.getText("text").toString(),
  };
}

const documents = Array.from({ length: DOCUMENTS }, (_, seed) => history(seed + 1));
process.stdout.write(`${JSON.stringify({ documents }, null, 1)}\n`);
