"""Every size and count that Sheaf refuses to exceed (PROTOCOL §11). Checked before allocating."""

from __future__ import annotations

from typing import Final

KIB: Final = 1024
MIB: Final = 1024 * KIB

ENVELOPE_BYTES_MAX: Final = 256 * KIB
CONTROL_OP_BYTES_MAX: Final = 64 * KIB
DEPS_MAX: Final = 64
AUTH_HEADS_MAX: Final = 8
DEVICES_MAX: Final = 256
LOGS_MAX: Final = 16_384
DOCUMENTS_MAX: Final = 10_000
HELLO_BYTES_MAX: Final = 4 * KIB
UNAUTHENTICATED_BYTES_MAX: Final = 8 * KIB
UNAUTHENTICATED_S_MAX: Final = 10.0
HELD_BYTES_MAX: Final = 1 * MIB
HELD_ENVELOPES_MAX: Final = 256
LAN_HANDSHAKES_PER_MIN: Final = 10
AWARENESS_BYTES_MAX: Final = 4 * KIB
AWARENESS_HZ_MAX: Final = 10

FRAME_BYTES_MAX: Final = 16 * KIB
MESSAGE_BYTES_MAX: Final = 1 * MIB
"""A message reassembled from frames (a RUN, CTL_OPS…)."""

CREDIT_LIVE_BYTES: Final = 512 * KIB
CREDIT_CATCH_UP_BYTES: Final = 1 * MIB
CREDIT_BULK_BYTES: Final = 2 * MIB
SEND_BUFFER_BYTES_MAX: Final = 64 * KIB

PING_INTERVAL_S: Final = 5.0
PEER_DEAD_S: Final = 14.0
"""FAULTS N3: silence is noticed within 15 s."""
PEER_PROBE_S: Final = 2.0
"""How long a peer in doubt may stay silent: our addresses changed, or it calls anew (FAULTS N4)."""

SIGNAL_BYTES_MAX: Final = 16 * KIB
CANDIDATES_MAX: Final = 32

CLOCK_MAX: Final = 2**31
"""Yjs clocks and lengths stay below this."""
UPDATE_NESTING_MAX: Final = 64
UPDATE_BYTES_MAX: Final = 8 * MIB
BACKLOG_BYTES_MAX: Final = 32 * MIB
"""What a tab may bring back in one message; it is taken apart into smaller updates."""
INTEGER_MAX: Final = 2**53 - 1
