/** The y-websocket wire (varuint framing of lib0) plus Sheaf's acknowledgement, message 101. */
import * as decoding from "lib0/decoding";
import * as encoding from "lib0/encoding";

export const messageSync = 0;
export const messageAwareness = 1;
export const messageAuth = 2;
export const messageQueryAwareness = 3;
export const messageAck = 101;

export const syncStep1 = 0;
export const syncStep2 = 1;
export const syncUpdate = 2;

export type Frame =
  | { kind: "step1"; stateVector: Uint8Array }
  | { kind: "step2"; update: Uint8Array }
  | { kind: "update"; update: Uint8Array }
  | { kind: "awareness"; update: Uint8Array }
  | { kind: "denied"; reason: string }
  | { kind: "query_awareness" }
  | { kind: "ack"; frames: number }
  | { kind: "unknown" };

function readSync(decoder: decoding.Decoder): Frame {
  switch (decoding.readVarUint(decoder)) {
    case syncStep1:
      return { kind: "step1", stateVector: decoding.readVarUint8Array(decoder) };
    case syncStep2:
      return { kind: "step2", update: decoding.readVarUint8Array(decoder) };
    case syncUpdate:
      return { kind: "update", update: decoding.readVarUint8Array(decoder) };
    default:
      return { kind: "unknown" };
  }
}

/** Total: bytes that are no frame give `unknown`. */
export function readFrame(bytes: Uint8Array): Frame {
  try {
    const decoder = decoding.createDecoder(bytes);
    switch (decoding.readVarUint(decoder)) {
      case messageSync:
        return readSync(decoder);
      case messageAwareness:
        return { kind: "awareness", update: decoding.readVarUint8Array(decoder) };
      case messageAuth: {
        decoding.readVarUint(decoder);
        return { kind: "denied", reason: decoding.readVarString(decoder) };
      }
      case messageQueryAwareness:
        return { kind: "query_awareness" };
      case messageAck:
        return { kind: "ack", frames: decoding.readVarUint(decoder) };
      default:
        return { kind: "unknown" };
    }
  } catch {
    return { kind: "unknown" };
  }
}

function frame(write: (encoder: encoding.Encoder) => void): Uint8Array<ArrayBuffer> {
  const encoder = encoding.createEncoder();
  write(encoder);
  return new Uint8Array(encoding.toUint8Array(encoder));
}

export const syncFrame = (step: number, payload: Uint8Array) =>
  frame((encoder) => {
    encoding.writeVarUint(encoder, messageSync);
    encoding.writeVarUint(encoder, step);
    encoding.writeVarUint8Array(encoder, payload);
  });

export const awarenessFrame = (update: Uint8Array) =>
  frame((encoder) => {
    encoding.writeVarUint(encoder, messageAwareness);
    encoding.writeVarUint8Array(encoder, update);
  });

export const queryAwarenessFrame = () =>
  frame((encoder) => encoding.writeVarUint(encoder, messageQueryAwareness));
