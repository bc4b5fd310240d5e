"""The ports: what the application needs from the world, and what the world may tell it.

Application services (node) and adapters (storage, transport, signaling, discovery,
keystore) both know this module and nothing of each other; `compose.py` introduces them.
Each port has a contract suite in tests/contract that runs against the real adapter and
the in-memory one.

Rules for every implementation:
1. Errors of the world surface as `StorageFailure` or `TransportFailure`, nothing else.
2. Callbacks given to an adapter are synchronous, never raise, and only enqueue.
3. `close()` is idempotent and awaits the end of everything the adapter started.
"""

from __future__ import annotations

from sheaf.ports.clock import (
    Clock,
)
from sheaf.ports.diagnosis import (
    InterfaceStatus,
    MulticastStatus,
    NatKind,
    StunReport,
    StunServerStatus,
)
from sheaf.ports.network import (
    Announcement,
    Discovery,
    Sighting,
    SignalHandler,
    Signaling,
    SignalRoute,
)
from sheaf.ports.relay import (
    MailboxAccess,
    MailboxItem,
    MailboxPage,
    MailboxStat,
    Nameplate,
    Relay,
    RelayPool,
    RelayState,
    RelayStatus,
    StoredItem,
)
from sheaf.ports.rows import (
    ClientClaimRow,
    EnvelopeRow,
    EpochSecretRow,
    InvitationRow,
    LogRow,
    MailboxRow,
    OpRow,
    PeerRow,
    PendingRow,
    QuarantineRow,
    ReceiptRow,
    SnapshotRow,
    SpaceRow,
    StoredRun,
    TouchedRow,
    WriteBatch,
)
from sheaf.ports.storage import (
    KeyStore,
    Store,
)
from sheaf.ports.transport import (
    ByteStream,
    Candidate,
    Channel,
    ChannelReceiver,
    PathKind,
    TunnelDescription,
    TunnelDoor,
    TunnelExpectation,
    TunnelTransport,
    WebRtcAttempt,
    WebRtcDescription,
    WebRtcTransport,
)

__all__ = [
    "Announcement",
    "ByteStream",
    "Candidate",
    "Channel",
    "ChannelReceiver",
    "ClientClaimRow",
    "Clock",
    "Discovery",
    "EnvelopeRow",
    "EpochSecretRow",
    "InterfaceStatus",
    "InvitationRow",
    "KeyStore",
    "LogRow",
    "MailboxAccess",
    "MailboxItem",
    "MailboxPage",
    "MailboxRow",
    "MailboxStat",
    "MulticastStatus",
    "Nameplate",
    "NatKind",
    "OpRow",
    "PathKind",
    "PeerRow",
    "PendingRow",
    "QuarantineRow",
    "ReceiptRow",
    "Relay",
    "RelayPool",
    "RelayState",
    "RelayStatus",
    "Sighting",
    "SignalHandler",
    "SignalRoute",
    "Signaling",
    "SnapshotRow",
    "SpaceRow",
    "Store",
    "StoredItem",
    "StoredRun",
    "StunReport",
    "StunServerStatus",
    "TouchedRow",
    "TunnelDescription",
    "TunnelDoor",
    "TunnelExpectation",
    "TunnelTransport",
    "WebRtcAttempt",
    "WebRtcDescription",
    "WebRtcTransport",
    "WriteBatch",
]
