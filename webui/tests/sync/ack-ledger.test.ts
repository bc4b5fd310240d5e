import { describe, expect, it } from "vitest";
import {
  type AckLedger,
  acknowledged,
  closed,
  editKept,
  emptyLedger,
  hasPending,
  opened,
  stateSent,
  updateSent,
} from "../../src/sync/ack-ledger";

const ledgerOf = (...steps: ((ledger: AckLedger) => AckLedger)[]) =>
  steps.reduce((ledger, step) => step(ledger), emptyLedger);
const ack = (frames: number) => (ledger: AckLedger) => acknowledged(ledger, frames);

describe("the ledger of acknowledgements", () => {
  it("has nothing pending after opening without edits, even before the first answer is committed", () => {
    expect(hasPending(ledgerOf(opened, stateSent))).toBe(false);
  });

  it("keeps an edit pending until its frame is acknowledged", () => {
    const sent = ledgerOf(opened, stateSent, updateSent, updateSent);
    expect(hasPending(sent)).toBe(true);
    expect(hasPending(acknowledged(sent, 2))).toBe(true);
    expect(hasPending(acknowledged(sent, 3))).toBe(false);
  });

  it("carries offline edits into the first answer of the next connection", () => {
    const offline = ledgerOf(editKept);
    expect(hasPending(opened(offline))).toBe(true);
    expect(hasPending(ledgerOf(editKept, opened, stateSent))).toBe(true);
    expect(hasPending(ledgerOf(editKept, opened, stateSent, ack(1)))).toBe(false);
  });

  it("forgets the counts, not the edits, when the line drops before the acknowledgement", () => {
    const dropped = ledgerOf(opened, stateSent, updateSent, ack(1), closed);
    expect(hasPending(dropped)).toBe(true);
    expect(hasPending([opened, stateSent, ack(1)].reduce((ledger, step) => step(ledger), dropped))).toBe(
      false,
    );
  });

  it("is not fooled by counts that cannot be", () => {
    const sent = ledgerOf(opened, stateSent, updateSent);
    expect(hasPending(acknowledged(sent, 99))).toBe(true);
    expect(hasPending(ledgerOf(opened, stateSent, updateSent, ack(2), ack(0)))).toBe(false);
  });
});
