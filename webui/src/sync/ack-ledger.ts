/**
 * Which of this tab's edits are durably committed by the daemon. Pure.
 *
 * The daemon answers each committed sync frame of a connection with a running count (message 101). The ledger
 * compares it with what was sent.
 *
 * Invariants:
 *  1. An edit is pending from the moment it is made until a frame that carries it is acknowledged.
 *  2. Counts belong to one connection; a new connection starts at zero and inherits only "there are edits that
 *     no acknowledged frame carried".
 *  3. The answer to the daemon's state vector (step 2) carries everything the daemon lacks, so it takes over all
 *     inherited edits.
 */
export interface AckLedger {
  sent: number;
  acknowledged: number;
  /** Number of the last frame that carried an edit of ours; 0 when none did. */
  lastEdit: number;
  /** Edits that no frame of this connection carries. */
  unsent: boolean;
}

export const emptyLedger: AckLedger = { sent: 0, acknowledged: 0, lastEdit: 0, unsent: false };

export const hasPending = (ledger: AckLedger): boolean =>
  ledger.unsent || ledger.lastEdit > ledger.acknowledged;

export const opened = (ledger: AckLedger): AckLedger => ({ ...emptyLedger, unsent: hasPending(ledger) });

export const closed = opened;

export const editKept = (ledger: AckLedger): AckLedger => ({ ...ledger, unsent: true });

export const updateSent = (ledger: AckLedger): AckLedger => ({
  ...ledger,
  sent: ledger.sent + 1,
  lastEdit: ledger.sent + 1,
});

export const stateSent = (ledger: AckLedger): AckLedger => ({
  ...ledger,
  sent: ledger.sent + 1,
  lastEdit: ledger.unsent ? ledger.sent + 1 : ledger.lastEdit,
  unsent: false,
});

/** A count above what was sent, or below an earlier one, is nonsense and moves nothing. */
export function acknowledged(ledger: AckLedger, frames: number): AckLedger {
  if (frames > ledger.sent || frames < ledger.acknowledged) return ledger;
  return { ...ledger, acknowledged: frames };
}
