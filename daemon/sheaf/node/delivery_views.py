"""Delivery as people see it: who has a document, what waits on which relay, what has not arrived.

Pure. Says 'delivered' and 'seen' only where a signed receipt says so; 'on the relay' is the relay's word.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol

from sheaf.core.base.ids import DeviceId, DocId, LogId, UserId
from sheaf.core.protocol.coverage import Coverage
from sheaf.core.protocol.receipt_book import DeviceWord, ReceiptBook
from sheaf.core.space.membership import Membership
from sheaf.node.delivery_state import (
    DeliveryState,
    DeviceDelivery,
    Incomplete,
    PersonDelivery,
    RelayDelivery,
    SpaceDelivery,
)
from sheaf.node.mailbox_worker import MailboxState

_RANK = {state: rank for rank, state in enumerate(DeliveryState)}


class RelayStanding(Protocol):
    """What is asked of a mailbox worker."""

    @property
    def url(self) -> str: ...
    @property
    def state(self) -> MailboxState: ...
    @property
    def detail(self) -> str | None: ...
    @property
    def coverage(self) -> Coverage: ...
    @property
    def warning(self) -> str | None: ...


def others(membership: Membership, own: DeviceId) -> dict[DeviceId, tuple[UserId, str, str]]:
    """(user, user's name, device's name) of every other device, by person and device."""
    found = {
        device_id: (member.user_id, member.name, certificate.name)
        for device_id, (member, certificate) in membership.devices().items()
        if device_id != own
    }
    return dict(sorted(found.items(), key=lambda item: (item[1][1].casefold(), item[1][0], item[0])))


def owner_of(person: str, device: str) -> str:
    """'Ann's laptop', also when the device is called just 'laptop'."""
    return device if person.casefold() in device.casefold() else f"{person}'s {device}"


def lacking(word: DeviceWord | None, frontier: Mapping[LogId, int]) -> dict[LogId, int]:
    """By log, the first seq below `frontier` that a device is not known to hold."""
    holds: Mapping[LogId, int] = {} if word is None else word.holds
    return {log: max(1, holds.get(log, 1)) for log, end in frontier.items() if holds.get(log, 1) < end}


def is_on_relay(
    lacks: Mapping[LogId, int], frontier: Mapping[LogId, int], relays: Sequence[RelayStanding]
) -> bool:
    """Whether one of the relays has everything from `lacks` up to `frontier`."""
    return any(
        all(relay.coverage.has(log, first, frontier[log]) for log, first in lacks.items()) for relay in relays
    )


def state_of(
    word: DeviceWord | None,
    frontier: Mapping[LogId, int],
    relays: Sequence[RelayStanding],
    *,
    doc_id: DocId,
    has_unsealed: bool,
) -> DeliveryState:
    """How far a document's changes below `frontier` came on their way to a device."""
    lacks = lacking(word, frontier)
    if has_unsealed:
        return DeliveryState.WAITING
    if lacks:
        return DeliveryState.ON_RELAY if is_on_relay(lacks, frontier, relays) else DeliveryState.WAITING
    if word is not None and word.has_seen(doc_id, frontier):
        return DeliveryState.SEEN
    return DeliveryState.DELIVERED


def by_person(
    names: Mapping[DeviceId, tuple[UserId, str, str]], devices: Mapping[DeviceId, DeviceDelivery]
) -> tuple[PersonDelivery, ...]:
    """Devices gathered by person; a person is as far as the best device."""
    people: dict[UserId, list[DeviceDelivery]] = {}
    for device_id, (user_id, _, _) in names.items():
        people.setdefault(user_id, []).append(devices[device_id])
    names_of = {user_id: name for user_id, name, _ in names.values()}
    return tuple(
        PersonDelivery(
            user_id,
            names_of[user_id],
            max((each.state for each in found), key=_RANK.__getitem__),
            tuple(found),
        )
        for user_id, found in people.items()
    )


def relay_view(
    relay: RelayStanding, needed: Mapping[LogId, int], frontier: Mapping[LogId, int], *, has_unsealed: bool
) -> RelayDelivery:
    """How a document stands on one relay; `needed` is what at least one device lacks."""
    if relay.state is MailboxState.UNREACHABLE:
        return RelayDelivery(relay.url, "unreachable", relay.detail)
    if relay.state is MailboxState.FULL:
        return RelayDelivery(relay.url, "full", relay.detail)
    if not has_unsealed and is_on_relay(needed, frontier, [relay]):
        return RelayDelivery(relay.url, "stored", relay.warning if needed else "Everybody has it already.")
    if relay.warning is not None:
        return RelayDelivery(relay.url, "lost", relay.warning)
    return RelayDelivery(relay.url, "waiting", None)


def space_view(
    names: Mapping[DeviceId, tuple[UserId, str, str]],
    book: ReceiptBook,
    durable: Mapping[LogId, int],
    relays: Sequence[RelayStanding],
    *,
    own_user: UserId,
    has_unsealed: bool,
    incomplete: Incomplete | None,
) -> SpaceDelivery:
    """A whole space, for lists. What was seen is said per document only."""
    best: dict[UserId, DeliveryState] = {}
    for device_id, (user_id, _, _) in names.items():
        if user_id != own_user:
            lacks = lacking(book.of(device_id), durable)
            state = DeliveryState.DELIVERED
            if lacks or has_unsealed:
                is_there = not has_unsealed and is_on_relay(lacks, durable, relays)
                state = DeliveryState.ON_RELAY if is_there else DeliveryState.WAITING
            best[user_id] = max(state, best.get(user_id, state), key=_RANK.__getitem__)
    worst = min(best.values(), key=_RANK.__getitem__, default=DeliveryState.WAITING)
    said = "saved_here" if worst is DeliveryState.WAITING else worst.value
    waiting = sum(state in (DeliveryState.WAITING, DeliveryState.ON_RELAY) for state in best.values())
    warning = next((relay.warning for relay in relays if relay.warning is not None), None)
    return SpaceDelivery(said, waiting, 0 if incomplete is None else incomplete.missing, warning)
