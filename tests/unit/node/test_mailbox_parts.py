"""The pure parts of mailboxes: what a relay's story is compared with, and when something is due."""

from __future__ import annotations

import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sheaf.core.base.errors import WireError
from sheaf.core.base.ids import DeviceId, LogId, OpId
from sheaf.core.protocol.coverage import OPS_KEPT_MAX
from sheaf.core.space.run import Run
from sheaf.core.wire.frame_fields import ITEM_BYTES_MAX
from sheaf.node.mailbox_doubt import DOUBT_AGAIN_S, DOUBT_S, LOOK_AGAIN_S, Doubts
from sheaf.node.mailbox_hanging import Hanging
from sheaf.node.mailbox_memory import NO_INCARNATION, MailboxMemory, Trouble
from sheaf.node.mailbox_needs import Need
from sheaf.node.mailbox_timing import (
    OTHERS_UPLOAD_AFTER_S,
    RECEIPTS_AFTER_S,
    UPLOAD_AFTER_S,
    UPLOAD_AT_BYTES,
    UploadTiming,
)
from sheaf.ports import MailboxItem, MailboxPage

LIFE, OTHER_LIFE = b"12345678", b"87654321"
LOG, DEVICE, OP = LogId(b"l" * 16), DeviceId(b"d" * 32), OpId(b"o" * 32)


def memory_at(position: int, data: bytes = b"item") -> MailboxMemory:
    memory = MailboxMemory()
    memory.read(MailboxItem(position, data), LIFE)
    return memory


def page(*items: tuple[int, bytes], last: int, life: bytes = LIFE) -> MailboxPage:
    return MailboxPage(tuple(MailboxItem(position, data) for position, data in items), last, life)


@pytest.mark.parametrize(
    ("answer", "after", "verdict"),
    [
        (page((5, b"item"), last=5), 4, None),
        (page((5, b"item"), (6, b"more"), last=6), 4, None),
        (page((5, b"another"), last=5), 4, Trouble.ROLLED_BACK),
        (page((6, b"more"), last=6), 4, Trouble.REPLACED),
        (page(last=5), 4, Trouble.REPLACED),
        (page(last=4), 4, Trouble.ROLLED_BACK),
        (page(last=0), 4, Trouble.ROLLED_BACK),
        (page(last=0, life=NO_INCARNATION), 4, Trouble.LOST),
        (page((1, b"item"), last=9, life=OTHER_LIFE), 0, Trouble.LOST),
        (page((7, b"more"), last=7), 5, None),
        (page((1, b"a"), (2, b"b"), last=5), 0, None),
    ],
)
def test_a_relays_story_is_compared_with_what_it_said_before(
    answer: MailboxPage, after: int, verdict: Trouble | None
) -> None:
    assert memory_at(5).judge(answer, after) is verdict


def test_a_mailbox_never_seen_before_can_tell_any_story() -> None:
    assert MailboxMemory().judge(page((3, b"x"), last=3), 0) is None


@given(st.integers(0, 2**40), st.integers(0, 2**40), st.text("abc “”ü", max_size=40))
def test_what_is_remembered_comes_back(position: int, resume: int, warning: str) -> None:
    memory = memory_at(position + 1)
    memory.resume, memory.warning, memory.touched_ms = resume, warning, 7
    memory.coverage.add_run(LOG, 3, 9)
    memory.coverage.add_op(OP)
    memory.coverage.add_receipt(DEVICE, 12)
    memory.told[DEVICE] = 11
    memory.hanging_ms = position
    again = MailboxMemory.decode(memory.encode())
    assert again == memory
    assert again.item_hash == hashlib.sha256(b"item").digest()


def test_more_ops_than_are_stored_stand_there_all_the_same() -> None:
    memory = memory_at(1)
    for number in range(OPS_KEPT_MAX + 5):
        memory.coverage.add_op(OpId(b"%032d" % number))
    assert len(memory.coverage.ops) == OPS_KEPT_MAX + 5, "or they would be put there again and again"
    assert MailboxMemory.decode(memory.encode()).coverage.ops < memory.coverage.ops


@given(st.binary(max_size=200))
def test_a_damaged_memory_is_refused(junk: bytes) -> None:
    with pytest.raises(WireError):
        MailboxMemory.decode(junk)


# ------------------------------------------------------------------ what hangs in the air


def test_what_hangs_is_kept_as_far_as_one_item_could_carry_it() -> None:
    hanging = Hanging()
    for number in range(20):
        hanging.keep_run(Run(LOG, 2 + number, None, (bytes(60_000),)))
    assert (len(hanging), hanging.has_more) == (ITEM_BYTES_MAX // 60_016, True)
    empty = Hanging()
    for number in range(20):
        empty.keep_run(Run(LOG, 2 + number, None, (b"",) * 8192))
    assert (len(empty), empty.has_more) == (4, True), "the memory that nothing takes counts too"
    assert empty.names() == hanging.names() != Hanging().names()
    assert Hanging().names() == frozenset()


# ------------------------------------------------------------------ timing


def test_what_is_needed_waits_for_more_but_not_long() -> None:
    timing = UploadTiming(jitter=0.5)
    need = Need(spans=[(LOG, 1, 2)])
    assert timing.due(need, 10.0, has_own=True, is_much=False, others_live=True) == 10 + UPLOAD_AFTER_S
    assert timing.due(need, 11.0, has_own=True, is_much=False, others_live=True) == 10 + UPLOAD_AFTER_S
    assert timing.due(need, 11.0, has_own=True, is_much=True, others_live=True) == 11.0


def test_while_somebody_types_it_is_known_without_looking_when_it_goes() -> None:
    timing = UploadTiming(jitter=0.5)
    timing.due(Need(spans=[(LOG, 1, 2)]), 10.0, has_own=False, is_much=False, others_live=True)
    assert timing.own_due(10.5, 0) is None
    timing.due(Need(spans=[(LOG, 1, 2)]), 11.0, has_own=True, is_much=False, others_live=True)
    assert timing.own_due(12.0, 100) == 11 + UPLOAD_AFTER_S
    assert timing.own_due(12.0, UPLOAD_AT_BYTES) is None, "much is not held back"
    assert timing.own_due(14.0, 100) is None
    timing.clear()
    assert timing.own_due(12.0, 100) is None


def test_what_another_live_member_wrote_is_left_to_him_for_a_while() -> None:
    timing, need = UploadTiming(jitter=0.5), Need(spans=[(LOG, 1, 2)])
    assert timing.due(need, 0.0, has_own=False, is_much=False, others_live=True) == OTHERS_UPLOAD_AFTER_S
    assert timing.due(need, 0.0, has_own=False, is_much=False, others_live=False) == UPLOAD_AFTER_S
    timing.is_hurried = True
    assert timing.due(need, 0.5, has_own=False, is_much=False, others_live=True) == 0.5


def test_nothing_is_due_when_nothing_is_needed() -> None:
    timing = UploadTiming(jitter=1.0)
    timing.is_hurried = True
    assert timing.due(Need(), 0.0, has_own=False, is_much=True, others_live=False) is None
    assert RECEIPTS_AFTER_S > OTHERS_UPLOAD_AFTER_S


def test_a_mailbox_is_looked_at_again_only_while_somebody_is_owed_something() -> None:
    doubts = Doubts()
    assert doubts.due(0.0, is_doubtful=False, is_owed=False) is None
    assert doubts.due(1.0, is_doubtful=False, is_owed=True) == LOOK_AGAIN_S


def test_a_doubt_is_looked_into_soon_and_then_ever_less_often() -> None:
    doubts = Doubts()
    doubts.due(0.0, is_doubtful=False, is_owed=True)
    assert doubts.due(100.0, is_doubtful=True, is_owed=True) == 100 + DOUBT_S
    doubts.looked(130.0)
    assert doubts.due(131.0, is_doubtful=True, is_owed=True) == 130 + 2 * DOUBT_AGAIN_S
    doubts.looked(2000.0)
    assert doubts.due(2001.0, is_doubtful=True, is_owed=True) == 2000 + 4 * DOUBT_AGAIN_S
    doubts.changed()
    doubts.due(2002.0, is_doubtful=False, is_owed=True)
    assert doubts.due(2002.0, is_doubtful=False, is_owed=True) == 2000 + LOOK_AGAIN_S
