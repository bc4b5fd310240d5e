"""The exchange behind a spoken code: who knows the code meets, others learn nothing (PROTOCOL §8)."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from mnemonic import Mnemonic

from sheaf.core.base.errors import ProtocolViolation, WireError
from sheaf.core.base.ids import UserId
from sheaf.core.protocol.code_words import SpokenCode, WordList
from sheaf.core.protocol.spoken_code import (
    PAKE_BYTES,
    TICKET_BYTES_MAX,
    CodeInviter,
    CodeJoiner,
    CodeRefused,
    Granted,
    Met,
    Party,
    RefusalReason,
    WrongCode,
    refusal,
)
from sheaf.core.wire import cbor
from sheaf.core.wire.relay_words import SAYING_BYTES_MAX

WORD_LIST = Mnemonic("english").wordlist
WORDS = WordList(WORD_LIST)
CODE = SpokenCode(7, ("orbit", "velvet"))
WRONG = SpokenCode(7, ("orbit", "velvet"[::-1]))
ANN = Party(UserId(b"a" * 32), "Ann")
BOB = Party(UserId(b"b" * 32), "Bob")
EVE = Party(UserId(b"e" * 32), "Eve")
TICKET = "sheaf1" + "t" * 200
ZERO_POINT = b"\1" + bytes(31)
"""The neutral element of the curve: y = 1."""


def inviter(code: SpokenCode = CODE, *, me: Party = ANN, seed: int = 1) -> CodeInviter:
    return CodeInviter(code=code, me=me, words=WORDS, entropy=random.Random(seed).randbytes)


def joiner(code: SpokenCode = CODE, *, me: Party = BOB, seed: int = 2) -> CodeJoiner:
    return CodeJoiner(code=code, me=me, words=WORDS, entropy=random.Random(seed).randbytes)


@dataclass
class Exchange:
    """A whole exchange between two who know the code; `tampered` may change each message on the way."""

    said: list[bytes]
    met: Met
    granted: Granted


def exchange(tampered: Callable[[int, bytes], bytes] = lambda _, message: message) -> Exchange:
    ann, bob = inviter(), joiner()
    offer = ann.offer()
    answer = bob.answer(tampered(0, offer))
    met = ann.met(tampered(1, answer))
    grant = ann.grant(TICKET)
    return Exchange([offer, answer, grant], met, bob.granted(tampered(2, grant)))


def test_who_was_told_the_code_gets_the_ticket_and_both_see_the_same_words() -> None:
    done = exchange()
    assert done.granted.ticket == TICKET
    assert done.granted.inviter.party == ANN
    assert done.met.party == BOB
    assert done.met.safety_words == done.granted.inviter.safety_words
    assert len(done.met.safety_words) == 4


def test_every_message_fits_across_a_nameplate_with_the_largest_ticket_and_names() -> None:
    long = "é" * 64
    ann, bob = inviter(me=Party(ANN.user_id, long)), joiner(me=Party(BOB.user_id, long))
    answer = bob.answer(ann.offer())
    assert ann.met(answer).party.name == long
    grant = ann.grant("t" * TICKET_BYTES_MAX)
    assert max(map(len, (ann.offer(), answer, grant))) <= SAYING_BYTES_MAX
    assert bob.granted(grant).ticket == "t" * TICKET_BYTES_MAX


def test_who_reads_along_sees_neither_names_nor_ticket_nor_words() -> None:
    done = exchange()
    everything = b"".join(done.said)
    secrets = [TICKET.encode(), b"Ann", b"Bob", bytes(ANN.user_id), bytes(BOB.user_id)]
    secrets += [word.encode() for word in (*CODE.words, *done.met.safety_words)]
    assert not [secret for secret in secrets if secret in everything]


def test_a_wrong_word_is_noticed_by_the_inviter_before_it_gives_anything() -> None:
    ann, bob = inviter(), joiner(WRONG)
    with pytest.raises(WrongCode):
        ann.met(bob.answer(ann.offer()))
    with pytest.raises(AssertionError):
        ann.grant(TICKET)


def test_a_code_takes_one_answer_only() -> None:
    ann = inviter()
    with pytest.raises(WrongCode):
        ann.met(joiner(WRONG).answer(ann.offer()))
    with pytest.raises(AssertionError, match="one answer"):
        ann.met(joiner().answer(ann.offer()))


def test_the_number_is_part_of_the_code() -> None:
    ann, bob = inviter(), joiner(SpokenCode(8, CODE.words))
    with pytest.raises(WrongCode):
        ann.met(bob.answer(ann.offer()))


def test_who_is_told_no_hears_why() -> None:
    with pytest.raises(CodeRefused) as refused:
        joiner().answer(refusal(RefusalReason.WITHDRAWN))
    assert refused.value.reason is RefusalReason.WITHDRAWN
    bob = joiner(WRONG)
    bob.answer(inviter().offer())
    with pytest.raises(CodeRefused) as refused:
        bob.granted(refusal(RefusalReason.WRONG_CODE))
    assert refused.value.reason is RefusalReason.WRONG_CODE


def test_an_inviter_of_a_newer_version_is_recognised() -> None:
    fields = cbor.decode(inviter().offer(), bytes_max=SAYING_BYTES_MAX)
    assert isinstance(fields, dict)
    with pytest.raises(WireError, match="newer"):
        joiner().answer(cbor.encode({**fields, 4: 2, 9: b"new"}))


@given(st.integers(0, 2), st.data())
@settings(max_examples=60)
def test_a_message_changed_on_the_way_is_refused(which: int, data: st.DataObject) -> None:
    def tamper(index: int, message: bytes) -> bytes:
        if index != which:
            return message
        place = data.draw(st.integers(0, len(message) - 1))
        bit = data.draw(st.integers(0, 7))
        return message[:place] + bytes([message[place] ^ 1 << bit]) + message[place + 1 :]

    with pytest.raises(ProtocolViolation):
        exchange(tamper)


@given(st.integers(0, 2), st.data())
@settings(max_examples=30)
def test_a_message_cut_or_lengthened_on_the_way_is_refused(which: int, data: st.DataObject) -> None:
    def tamper(index: int, message: bytes) -> bytes:
        if index != which:
            return message
        end = data.draw(st.integers(0, len(message) - 1))
        return data.draw(st.sampled_from([message[:end], message[end + 1 :], message + message[:1]]))

    with pytest.raises(ProtocolViolation):
        exchange(tamper)


codes = st.builds(
    SpokenCode,
    st.integers(1, 99_999),
    st.tuples(st.sampled_from(WORD_LIST), st.sampled_from(WORD_LIST)),
)


@given(codes, codes, st.integers(0, 2**32))
@settings(max_examples=15)
def test_two_meet_if_and_only_if_their_codes_are_equal(
    said: SpokenCode, typed: SpokenCode, seed: int
) -> None:
    for heard in (said, typed):
        ann, bob = inviter(said, seed=seed), joiner(heard, seed=seed + 1)
        answer = bob.answer(ann.offer())
        if heard == said:
            assert ann.met(answer).safety_words == bob.granted(ann.grant(TICKET)).inviter.safety_words
        else:
            with pytest.raises(WrongCode):
                ann.met(answer)


@given(st.binary(max_size=300))
@settings(max_examples=50)
def test_junk_is_refused_by_both_sides(junk: bytes) -> None:
    with pytest.raises(WrongCode):
        inviter().met(junk)
    bob = joiner()
    with pytest.raises(ProtocolViolation):
        bob.answer(junk)
    bob.answer(inviter().offer())
    with pytest.raises(ProtocolViolation):
        bob.granted(junk)


@given(
    st.binary(min_size=32, max_size=32) | st.just(ZERO_POINT) | st.just(bytes(32)), st.sampled_from(b"ABSX")
)
@settings(max_examples=40)
def test_points_that_are_none_are_refused(point: bytes, side: int) -> None:
    pake = bytes([side]) + point
    answer = cbor.encode({1: 1, 2: pake, 3: bytes(32), 4: bytes(40)})
    with pytest.raises(WrongCode):
        inviter().met(answer)
    assert len(pake) == PAKE_BYTES


def test_a_mirror_is_not_taken_for_another_side() -> None:
    ann = inviter()
    with pytest.raises(WrongCode):
        ann.met(ann.offer())
    fields = cbor.decode(ann.offer(), bytes_max=SAYING_BYTES_MAX)
    assert isinstance(fields, dict)
    mirrored = b"B" + bytes(fields[2])[1:]  # type: ignore[arg-type]
    with pytest.raises(WrongCode):
        inviter().met(cbor.encode({1: 1, 2: mirrored, 3: bytes(32), 4: bytes(40)}))


def middle(seed: int) -> tuple[tuple[str, ...], tuple[str, ...], bytes]:
    """Eve knows the code and stands in between under the names of the two; what each of them sees."""
    ann, bob = inviter(seed=10 * seed), joiner(seed=10 * seed + 1)
    to_ann = joiner(me=BOB, seed=10 * seed + 2)
    to_bob = inviter(me=ANN, seed=10 * seed + 3)
    met_by_bob = to_bob.met(bob.answer(to_bob.offer()))
    met_by_ann = ann.met(to_ann.answer(ann.offer()))
    to_ann.granted(ann.grant(TICKET))
    granted = bob.granted(to_bob.grant(TICKET))
    assert met_by_bob.party == BOB
    assert granted.inviter.party == ANN
    return met_by_ann.safety_words, granted.inviter.safety_words, to_bob.offer()


def test_who_stands_in_the_middle_with_the_code_is_shown_by_the_safety_words() -> None:
    for seed in range(1, 5):
        seen_by_ann, seen_by_bob, _ = middle(seed)
        assert seen_by_ann != seen_by_bob
        assert not set(seen_by_ann) & set(seen_by_bob)


def test_an_inviter_cannot_change_who_it_is_after_it_saw_the_answer() -> None:
    ann, bob = inviter(), joiner()
    ann.met(bob.answer(ann.offer()))
    ann._me = EVE
    with pytest.raises(ProtocolViolation, match="not who it said"):
        bob.granted(ann.grant(TICKET))


def test_an_inviter_cannot_search_for_safety_words_after_it_saw_the_answer() -> None:
    ann, bob = inviter(), joiner()
    ann.met(bob.answer(ann.offer()))
    ann._nonce = bytes(16)
    with pytest.raises(ProtocolViolation, match="not who it said"):
        bob.granted(ann.grant(TICKET))


def test_a_grant_of_one_exchange_is_worth_nothing_in_another() -> None:
    earlier = exchange()
    bob = joiner(seed=3)
    bob.answer(earlier.said[0])
    with pytest.raises(ProtocolViolation):
        bob.granted(earlier.said[2])


def test_nothing_secret_is_in_a_repr() -> None:
    done = exchange()
    shown = repr((inviter(), joiner(), done.granted))
    assert TICKET not in shown
    assert not [word for word in CODE.words if word in shown]
