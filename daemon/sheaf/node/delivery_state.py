"""Where documents and spaces are, as frozen views for the local door (see `views`). Types only."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from sheaf.core.base.ids import DeviceId, DocId, SpaceId, UserId


class DeliveryState(StrEnum):
    """How far something came on its way to a device; of a person, the best of their devices."""

    WAITING = "waiting"
    ON_RELAY = "on_relay"
    DELIVERED = "delivered"
    SEEN = "seen"


@dataclass(frozen=True, slots=True)
class DeviceDelivery:
    """One device; `missing` counts changes it is not known to hold, `at_ms` is when it said what it has."""

    device_id: DeviceId
    name: str
    state: DeliveryState
    at_ms: int | None
    missing: int


@dataclass(frozen=True, slots=True)
class PersonDelivery:
    """One person; of oneself, the other devices."""

    user_id: UserId
    name: str
    state: DeliveryState
    devices: tuple[DeviceDelivery, ...]


@dataclass(frozen=True, slots=True)
class RelayDelivery:
    """`state`: 'stored', 'waiting', 'unreachable', 'full' or 'lost'."""

    url: str
    state: str
    detail: str | None


@dataclass(frozen=True, slots=True)
class Incomplete:
    """Changes that a device said it holds and that have not arrived here."""

    missing: int
    source: str


@dataclass(frozen=True, slots=True)
class DocumentDelivery:
    """Where a document is."""

    document_id: DocId
    space_id: SpaceId
    saved: bool
    relays: tuple[RelayDelivery, ...]
    people: tuple[PersonDelivery, ...]
    incomplete: Incomplete | None


@dataclass(frozen=True, slots=True)
class SpaceDelivery:
    """`state`: 'saved_here', 'on_relay' or 'delivered', for all other people together."""

    state: str
    waiting_people: int
    incomplete_missing: int
    relay_warning: str | None


NOT_DELIVERED: Final = SpaceDelivery("saved_here", 0, 0, None)
"""Nothing is known of others yet."""
