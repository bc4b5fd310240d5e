/** The daemon's end of `/sync`, in memory: one Y.Doc, sockets that can be cut, commits that can be held back. */
import * as encoding from "lib0/encoding";
import * as Y from "yjs";
import {
  messageAck,
  messageAuth,
  readFrame,
  syncFrame,
  syncStep1,
  syncStep2,
  syncUpdate,
} from "../../src/sync/frames";
import type { Socket } from "../../src/sync/provider";

function ackFrame(frames: number): Uint8Array {
  const encoder = encoding.createEncoder();
  encoding.writeVarUint(encoder, messageAck);
  encoding.writeVarUint(encoder, frames);
  encoding.writeVarUint8Array(encoder, new Uint8Array());
  return encoding.toUint8Array(encoder);
}

function deniedFrame(): Uint8Array {
  const encoder = encoding.createEncoder();
  encoding.writeVarUint(encoder, messageAuth);
  encoding.writeVarUint(encoder, 0);
  encoding.writeVarString(encoder, "read-only");
  return encoding.toUint8Array(encoder);
}

export class PretendSocket implements Socket {
  binaryType = "";
  readyState = 0;
  bufferedAmount = 0;
  onopen: (() => void) | null = null;
  onmessage: ((event: { data: unknown }) => void) | null = null;
  onclose: ((event: { code: number }) => void) | null = null;
  onerror: (() => void) | null = null;
  frames = 0;

  constructor(readonly daemon: PretendDaemon) {}

  send(data: Uint8Array<ArrayBuffer>): void {
    this.daemon.receive(this, data);
  }

  close(): void {
    this.cut(1000);
  }

  deliver(bytes: Uint8Array): void {
    this.onmessage?.({ data: new Uint8Array(bytes).buffer });
  }

  cut(code: number): void {
    if (this.readyState === 3) return;
    this.readyState = 3;
    this.daemon.sockets.delete(this);
    this.onclose?.({ code });
  }
}

export class PretendDaemon {
  readonly doc = new Y.Doc();
  readonly sockets = new Set<PretendSocket>();
  opened = 0;
  down = false;
  readOnly = false;
  /** Frames are taken but not committed: no acknowledgement leaves. */
  holdCommits = false;
  /** Its disk is full: it serves what it has, and closes as soon as it would have to write. */
  refusesWrites = false;
  /** Closes every line with this code before it says anything. */
  closeWith: number | null = null;
  updates = 0;

  constructor() {
    this.doc.on("update", (update: Uint8Array, origin: unknown) => {
      for (const socket of this.sockets) if (socket !== origin) socket.deliver(syncFrame(syncUpdate, update));
    });
  }

  open = (): PretendSocket => {
    const socket = new PretendSocket(this);
    this.opened += 1;
    queueMicrotask(() => {
      if (this.down) {
        socket.readyState = 3;
        socket.onclose?.({ code: 1006 });
        return;
      }
      socket.readyState = 1;
      this.sockets.add(socket);
      if (this.closeWith !== null) {
        socket.cut(this.closeWith);
        return;
      }
      socket.onopen?.();
      if (this.readOnly) socket.deliver(deniedFrame());
      socket.deliver(syncFrame(syncStep1, Y.encodeStateVector(this.doc)));
    });
    return socket;
  };

  receive(socket: PretendSocket, bytes: Uint8Array): void {
    const frame = readFrame(bytes);
    if (frame.kind === "step1") {
      socket.deliver(syncFrame(syncStep2, Y.encodeStateAsUpdate(this.doc, frame.stateVector)));
    } else if (frame.kind === "step2" || frame.kind === "update") {
      this.updates += 1;
      if (this.readOnly) return;
      // An answer that carries nothing new (two bytes of an empty update) needs no room.
      if (this.refusesWrites && frame.update.length > 2) {
        socket.cut(1013);
        return;
      }
      Y.applyUpdate(this.doc, frame.update, socket);
      socket.frames += 1;
      if (!this.holdCommits) socket.deliver(ackFrame(socket.frames));
    }
  }

  /** Acknowledges what one tab sent, while the others still wait. */
  commitFor(socket: PretendSocket): void {
    socket.deliver(ackFrame(socket.frames));
  }

  commit(): void {
    this.holdCommits = false;
    for (const socket of this.sockets) socket.deliver(ackFrame(socket.frames));
  }

  stop(code = 1001): void {
    for (const socket of [...this.sockets]) socket.cut(code);
  }
}
