/** The pretend daemon's sync socket: the y-websocket protocol with the acknowledgement, in memory. */
import * as decoding from "lib0/decoding";
import * as encoding from "lib0/encoding";
import { WebSocketServer } from "ws";
import * as awarenessProtocol from "y-protocols/awareness";
import * as Y from "yjs";

const rooms = new Map();

export function room(document_id) {
  let found = rooms.get(document_id);
  if (!found) {
    const doc = new Y.Doc();
    const awareness = new awarenessProtocol.Awareness(doc);
    awareness.setLocalState(null);
    found = { doc, awareness, sockets: new Set() };
    const all = found.sockets;
    doc.on("update", (update, origin) => {
      const frame = encode((e) => {
        encoding.writeVarUint(e, 0);
        encoding.writeVarUint(e, 2);
        encoding.writeVarUint8Array(e, update);
      });
      for (const socket of all) if (socket !== origin) socket.send(frame);
    });
    awareness.on("update", ({ added, updated, removed }) => {
      const frame = encode((e) => {
        encoding.writeVarUint(e, 1);
        encoding.writeVarUint8Array(
          e,
          awarenessProtocol.encodeAwarenessUpdate(awareness, [...added, ...updated, ...removed]),
        );
      });
      for (const socket of all) socket.send(frame);
    });
    rooms.set(document_id, found);
  }
  return found;
}

function encode(write) {
  const encoder = encoding.createEncoder();
  write(encoder);
  return encoding.toUint8Array(encoder);
}

/** Answers `/sync/…` on an HTTP server; `delayMs` holds every acknowledgement back, `isFull` takes nothing. */
export function serveSync(server, { isSignedIn, documents, spaces, delayMs, isFull }) {
  const sockets = new WebSocketServer({ noServer: true });
  server.on("upgrade", (request, socket, head) => {
    const match = /^\/sync\/([^/?]+)/.exec(request.url ?? "");
    if (!match) return socket.destroy();
    return sockets.handleUpgrade(request, socket, head, (ws) => {
      if (!isSignedIn(request)) return ws.close(4401);
      const document = documents.get(match[1]);
      if (!document) return ws.close(4404);
      return connect(ws, room(match[1]), {
        readOnly: spaces.get(document.space_id)?.role === "reader",
        delayMs,
        isFull,
      });
    });
  });
}

function connect(ws, { doc, awareness, sockets: all }, { readOnly, delayMs, isFull }) {
  ws.binaryType = "nodebuffer";
  all.add(ws);
  let frames = 0;
  const mine = new Set();
  const sendSync = (step, payload) =>
    ws.send(
      encode((e) => {
        encoding.writeVarUint(e, 0);
        encoding.writeVarUint(e, step);
        encoding.writeVarUint8Array(e, payload);
      }),
    );
  const sendAck = () => {
    const count = frames;
    setTimeout(
      () =>
        ws.send(
          encode((e) => {
            encoding.writeVarUint(e, 101);
            encoding.writeVarUint(e, count);
            encoding.writeVarUint8Array(e, Y.encodeStateVector(doc));
          }),
        ),
      delayMs,
    );
  };
  if (readOnly) {
    ws.send(
      encode((e) => {
        encoding.writeVarUint(e, 2);
        encoding.writeVarUint(e, 0);
        encoding.writeVarString(e, "read-only");
      }),
    );
  }
  sendSync(0, Y.encodeStateVector(doc));
  ws.on("message", (data) => {
    const decoder = decoding.createDecoder(new Uint8Array(data));
    const kind = decoding.readVarUint(decoder);
    if (kind === 0) {
      const step = decoding.readVarUint(decoder);
      const payload = decoding.readVarUint8Array(decoder);
      if (step === 0) sendSync(1, Y.encodeStateAsUpdate(doc, payload));
      else if (isFull && payload.length > 2) ws.close(1013, "the disk is full");
      else if (!readOnly) {
        Y.applyUpdate(doc, payload, ws);
        frames += 1;
        sendAck();
      }
    } else if (kind === 1) {
      const update = decoding.readVarUint8Array(decoder);
      awarenessProtocol.applyAwarenessUpdate(awareness, update, ws);
      for (const client of awareness.getStates().keys()) mine.add(client);
    } else if (kind === 3) {
      ws.send(
        encode((e) => {
          encoding.writeVarUint(e, 1);
          encoding.writeVarUint8Array(
            e,
            awarenessProtocol.encodeAwarenessUpdate(awareness, [...awareness.getStates().keys()]),
          );
        }),
      );
    }
  });
  ws.on("close", () => {
    all.delete(ws);
    if (all.size === 0) awarenessProtocol.removeAwarenessStates(awareness, [...mine], null);
  });
}
