"""Hostile, broken and badly ordered runs (PROTOCOL §3 "Ingest order", FAULTS)."""

from __future__ import annotations

import dataclasses
import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sheaf.core.base.ids import EpochId, OpId
from sheaf.core.base.limits import HELD_BYTES_MAX, HELD_ENVELOPES_MAX
from sheaf.core.crypto.sealing import seal_box
from sheaf.core.space import authoring, release
from sheaf.core.space.envelope import build_envelope, position_prefix
from sheaf.core.space.log_genesis import decode_log_genesis, make_log_genesis
from sheaf.core.space.payload import Payload, PayloadItem, PayloadKind, encode_payload
from sheaf.core.space.roles import Role
from sheaf.core.space.run import Run
from tests.support.space_world import DOC, Replica, World, copy


@pytest.fixture
def world() -> World:
    return World()


@pytest.fixture
def pair(world: World) -> tuple[Replica, Replica]:
    a = world.found(world.person("Alice"))
    return a, world.join(a, world.person("Bob"), Role.EDITOR)


def forged(
    replica: Replica,
    run: Run,
    count: int,
    *,
    plaintext: bytes = b"",
    auth: tuple[OpId, ...] | None = None,
    epoch: EpochId | None = None,
) -> bytes:
    """A correctly signed envelope with a content of our choice, for seq `count` + 1 of a log
    of which `run` holds the first `count`."""
    from sheaf.core.space.envelope import envelope_id

    assert run.genesis is not None
    genesis = decode_log_genesis(run.genesis)
    prefix = position_prefix(replica.space.space_id, run.log_id)
    previous = genesis.anchor
    for seq, raw in enumerate(run.envelopes[:count], 1):
        previous = envelope_id(prefix, seq, previous, raw)
    epoch_id = replica.space.current_epoch()
    assert epoch_id is not None
    return build_envelope(
        replica.person.device,
        replica.space.keys(epoch_id).log_cipher(run.log_id),
        prefix=prefix,
        seq=count + 1,
        previous=previous,
        auth=auth,
        epoch=epoch or (epoch_id if count == 0 else None),
        deps=[],
        salt=b"salt",
        plaintext=plaintext or encode_payload(Payload(1, (PayloadItem(DOC, PayloadKind.UPDATE, b"forged"),))),
    )


# --------------------------------------------------------------------------- order


def test_a_gap_is_held_named_and_closed(pair: tuple[Replica, Replica]) -> None:
    a, b = pair
    for n in range(6):
        a.write(str(n))
    runs = list(a.runs(size=1))
    b.ingest(runs[0])
    for run in runs[2:]:
        result = b.ingest(run)
        assert result.accepted == ()
        assert result.want == ((run.log_id, 2),)
    assert b.space.held_envelopes == 4
    result = b.ingest(runs[1])
    assert len(result.accepted) == 5
    assert result.want == ()
    assert b.space.held_envelopes == 0
    assert b.applied == a.applied


def test_runs_in_any_order_with_repeats_end_the_same(world: World) -> None:
    chance = random.Random(5)
    a = world.found(world.person("Alice"))
    b = world.join(a, world.person("Bob"), Role.EDITOR)
    for n in range(40):
        writer, reader = (a, b) if chance.random() < 0.5 else (b, a)
        writer.write(f"{n}")
        if chance.random() < 0.5:
            copy(writer, reader, size=3)
    copy(a, b)
    copy(b, a)
    runs = [dataclasses.replace(r, genesis=a.space.logs.get(r.log_id).genesis) for r in a.runs(size=2)]  # type: ignore[union-attr]  # known log
    for seed in range(5):
        c = world.join(a, world.person(f"C{seed}"), Role.READER)
        shuffled = runs * 2
        random.Random(seed).shuffle(shuffled)
        for run in shuffled:
            c.ingest(run)
        assert c.space.version_vector() == a.space.version_vector()
        assert sorted(c.applied) == sorted(a.applied)
        assert c.space.held_envelopes == 0


def test_what_is_held_is_bounded_and_asked_for_again(pair: tuple[Replica, Replica]) -> None:
    a, b = pair
    for n in range(HELD_ENVELOPES_MAX + 50):
        a.write(str(n))
    runs = list(a.runs(size=10))
    for run in runs[1:]:
        result = b.ingest(run)
        assert result.held <= HELD_ENVELOPES_MAX
        assert result.want == ((run.log_id, 1),)
    large = bytes(200_000)
    for _ in range(10):
        a.write(large)
    for run in list(a.runs(size=1))[-10:]:
        b.ingest(run)
    assert b.space._ingest._held.bytes <= HELD_BYTES_MAX
    copy(a, b)
    assert b.applied == a.applied


def test_a_run_of_an_unknown_log_without_genesis_asks_for_it(pair: tuple[Replica, Replica]) -> None:
    a, b = pair
    a.write("one")
    run = dataclasses.replace(next(a.runs()), genesis=None)
    assert b.ingest(run).want == ((run.log_id, 1),)


# --------------------------------------------------------------------------- dependencies


def test_envelopes_are_stored_at_once_and_released_when_what_they_build_on_is_here(
    pair: tuple[Replica, Replica], world: World
) -> None:
    a, b = pair
    for n in range(100):
        a.write(f"a{n}")
        copy(a, b)
        b.write(f"b{n}")
        copy(b, a)
    c = world.join(a, world.person("Carol"), Role.EDITOR)
    by_log = {run.log_id: run for run in a.runs()}
    log_a, log_b = a.writer.log_id, b.writer.log_id
    assert log_a is not None
    assert log_b is not None
    first = c.ingest(by_log[log_b])
    assert len(first.accepted) == 100
    assert first.released == ()
    assert all(envelope.items is None for envelope in first.accepted)
    second = c.ingest(by_log[log_a])
    assert len(second.accepted) == len(second.opened) == 100
    assert len(second.released) == 200
    assert c.applied == [f"{who}{n}".encode() for n in range(100) for who in "ab"]
    assert c.space.waiting() == {}


@pytest.mark.parametrize("waiting_bytes_max", [0, 5_000])
def test_too_much_waiting_goes_back_to_the_store_and_is_fetched_again(
    pair: tuple[Replica, Replica], world: World, monkeypatch: pytest.MonkeyPatch, waiting_bytes_max: int
) -> None:
    monkeypatch.setattr(release, "WAITING_BYTES_MAX", waiting_bytes_max)
    a, b = pair
    for n in range(30):
        a.write(f"a{n}")
        copy(a, b)
        b.write(f"b{n}")
        copy(b, a)
    c = world.join(a, world.person("Carol"), Role.EDITOR)
    runs = sorted(a.runs(size=7), key=lambda run: (run.log_id != b.writer.log_id, run.first_seq))
    for run in runs:
        c.ingest(run)
    assert c.applied == [f"{who}{n}".encode() for n in range(30) for who in "ab"]


def test_waiting_envelopes_survive_a_restart(pair: tuple[Replica, Replica], world: World) -> None:
    a, b = pair
    for n in range(10):
        a.write(f"a{n}")
        copy(a, b)
        b.write(f"b{n}")
        copy(b, a)
    c = world.join(a, world.person("Carol"), Role.EDITOR)
    by_log = {run.log_id: run for run in a.runs()}
    c.ingest(by_log[b.writer.log_id])  # type: ignore[index]  # written above
    c = c.restarted()
    assert c.applied == []
    c.ingest(by_log[a.writer.log_id])  # type: ignore[index]  # written above
    assert c.applied == [f"{who}{n}".encode() for n in range(10) for who in "ab"]


def test_a_late_key_opens_what_was_stored_sealed(world: World) -> None:
    a = world.found(world.person("Alice"))
    bob = world.person("Bob")
    admit = authoring.admit(
        a.space, a.person.device, certificates=[bob.certificate], role=Role.EDITOR, now_ms=1
    )
    a.add_ops(admit)
    a.write("one")
    a.write("two")
    b = world.replica(bob, a.space.space_id)
    results = copy(a, b)
    assert [e.items for r in results for e in r.accepted] == [None, None]
    assert b.applied == []
    b = b.restarted()
    for raw in authoring.keyboxes(a.space, a.person.device, bob.certificate, 2):
        a.add_ops(raw)
    copy(a, b)
    assert b.applied == [b"one", b"two"]


def test_one_envelope_depends_on_many_logs(world: World) -> None:
    """More logs than one envelope may name: empty envelopes carry the rest."""
    a = world.found(world.person("Alice"))
    for n in range(150):
        copy_of_a = world.replica(a.person, a.space.space_id)
        copy_of_a.add_ops(*a.ops)
        copy_of_a.write(f"{n}")
        copy(copy_of_a, a)
    result = a.write("after all")
    assert len(result.envelopes) == 3
    assert len(result.log_states) == 151
    assert len(a.write("next").log_states) == 1
    b = world.join(a, world.person("Bob"), Role.READER)
    for run in sorted(a.runs(), key=lambda run: run.log_id != a.writer.log_id):
        b.ingest(run)
    assert b.applied[-2:] == [b"after all", b"next"]
    assert len(b.applied) == 152


def test_dependencies_known_before_a_restart_are_not_named_again(pair: tuple[Replica, Replica]) -> None:
    a, b = pair
    a.write("one")
    copy(a, b)
    b.write("two")
    b = b.restarted()
    assert b.space.logs.frontier == {next(log for log in b.states if log != a.writer.log_id)}


# --------------------------------------------------------------------------- junk


@pytest.mark.parametrize("junk_at", [0, 1, 7, 19])
def test_junk_in_a_run_costs_only_what_follows_it(pair: tuple[Replica, Replica], junk_at: int) -> None:
    a, b = pair
    for n in range(20):
        a.write(str(n))
    run = next(a.runs())
    damaged = bytearray(run.envelopes[junk_at])
    damaged[-1] ^= 1
    raws = (*run.envelopes[:junk_at], bytes(damaged), *run.envelopes[junk_at + 1 :])
    result = b.ingest(dataclasses.replace(run, envelopes=raws))
    assert result.refused is not None
    assert len(result.accepted) == junk_at
    assert b.ingest(run).refused is None
    assert b.applied == a.applied


@given(st.data())
@settings(max_examples=60, deadline=None)
def test_no_changed_byte_is_ever_accepted(data: st.DataObject) -> None:
    world = World(3)
    a = world.found(world.person("Alice"))
    b = world.join(a, world.person("Bob"), Role.EDITOR)
    for n in range(3):
        a.write(str(n))
    run = next(a.runs())
    at = data.draw(st.integers(0, 2))
    raw = bytearray(run.envelopes[at])
    raw[data.draw(st.integers(0, len(raw) - 1))] ^= data.draw(st.integers(1, 255))
    result = b.ingest(
        dataclasses.replace(run, envelopes=(*run.envelopes[:at], bytes(raw), *run.envelopes[at + 1 :]))
    )
    assert result.refused is not None
    assert len(result.accepted) == at
    assert b.applied == a.applied[:at]


@given(st.lists(st.binary(max_size=300), max_size=4), st.none() | st.binary(max_size=400))
@settings(max_examples=60, deadline=None)
def test_arbitrary_runs_change_nothing(raws: list[bytes], genesis: bytes | None) -> None:
    world = World(4)
    a = world.found(world.person("Alice"))
    a.write("one")
    known = next(a.runs())
    before = a.space.version_vector()
    a.ingest(Run(known.log_id, 2, genesis, tuple(raws)))
    a.ingest(Run(type(known.log_id)(b"?" * 16), 1, genesis, tuple(raws)))
    assert a.space.version_vector() == before


def test_another_spaces_log_is_refused(world: World) -> None:
    a, b = world.found(world.person("Alice")), world.found(world.person("Bob"))
    a.write("one")
    result = b.ingest(next(a.runs()))
    assert result.refused is not None
    assert len(b.space.logs) == 0


# --------------------------------------------------------------------------- authority


def test_a_log_of_a_device_that_may_not_write_is_refused(world: World) -> None:
    a = world.found(world.person("Alice"))
    eve = world.person("Eve")
    genesis = make_log_genesis(
        eve.device,
        eve.certificate,
        space_id=a.space.space_id,
        auth=a.space.control.heads(),
        created_ms=1,
        entropy=world.entropy,
    )
    result = a.ingest(Run(genesis.log_id, 1, genesis.raw, (bytes(100),)))
    assert result.refused == "log of a device that may not write"


def test_envelopes_under_unknown_control_heads_wait_for_the_ops(pair: tuple[Replica, Replica]) -> None:
    a, b = pair
    a.write("one")
    carol = a.world.person("Carol")
    a.add_ops(
        authoring.admit(
            a.space, a.person.device, certificates=[carol.certificate], role=Role.READER, now_ms=1
        )
    )
    a.write("two")
    result = b.ingest(next(a.runs()))
    assert (len(result.accepted), result.need_ops, result.held, result.refused) == (1, True, 1, None)
    b.add_ops(*a.space.control.missing_for(b.space.control.heads()))
    assert b.applied == [b"one", b"two"]
    assert b.space.held_envelopes == 0


def test_a_demoted_author_that_knows_it_freezes_its_log(pair: tuple[Replica, Replica]) -> None:
    a, b = pair
    b.write("one")
    run = next(b.runs())
    admission = a.space.membership.members[b.person.user.user_id].admission
    a.add_ops(authoring.role(a.space, a.person.device, admission=admission, role=Role.READER, now_ms=1))
    raw = forged(b, run, 1, auth=a.space.control.heads())
    a.ingest(run)
    result = a.ingest(Run(run.log_id, 2, None, (raw,)))
    assert result.frozen == (run.log_id,)
    assert result.accepted == ()
    assert a.ingest(Run(run.log_id, 2, None, (raw,))).frozen == (run.log_id,)
    assert a.restarted().space.logs.get(run.log_id).frozen  # type: ignore[union-attr]  # known log


def test_an_author_whose_control_heads_go_backwards_freezes_its_log(pair: tuple[Replica, Replica]) -> None:
    a, b = pair
    heads = b.space.control.heads()
    a.add_ops(
        authoring.invite(
            a.space,
            a.person.device,
            invite_public=bytes(32),
            role=Role.READER,
            max_uses=1,
            expires_ms=None,
            now_ms=1,
        )
    )
    a.write("one")
    run = next(a.runs())
    raw = forged(a, run, 1, auth=heads)
    b.add_ops(*a.space.control.missing_for(b.space.control.heads()))
    b.ingest(run)
    result = b.ingest(Run(run.log_id, 2, None, (raw,)))
    assert result.frozen == (run.log_id,)
    assert b.applied == [b"one"]


def test_a_fork_is_proven_and_freezes_the_log(pair: tuple[Replica, Replica]) -> None:
    a, b = pair
    for n in range(3):
        a.write(str(n))
    run = next(a.runs())
    b.ingest(run)
    other = forged(a, run, 2)
    result = b.ingest(Run(run.log_id, 3, None, (other,)))
    assert [(fork.log_id, fork.seq, fork.raw) for fork in result.forks] == [(run.log_id, 3, other)]
    assert result.frozen == (run.log_id,)
    a.write("more")
    assert copy(a, b)[0].accepted == ()


def test_an_authors_unreadable_content_is_stored_and_named(pair: tuple[Replica, Replica]) -> None:
    a, b = pair
    a.write("one")
    run = next(a.runs())
    junk = forged(a, run, 1, plaintext=b"not a payload")
    result = b.ingest(dataclasses.replace(run, envelopes=(*run.envelopes, junk)))
    assert len(result.accepted) == 2
    assert (result.accepted[1].items, result.accepted[1].problem is None) == ((), False)
    assert b.applied == [b"one"]


def test_an_envelope_under_an_epoch_that_does_not_exist_waits(pair: tuple[Replica, Replica]) -> None:
    a, b = pair
    a.write("one")
    run = next(a.runs())
    raw = forged(a, run, 1, epoch=EpochId(b"?" * 16))
    result = b.ingest(dataclasses.replace(run, envelopes=(*run.envelopes, raw)))
    assert [envelope.items is None for envelope in result.accepted] == [False, True]


def test_repeatable_boxes_can_be_injected(world: World) -> None:
    """What a simulator needs: no entropy but its own."""

    def sealer(kem: bytes, plaintext: bytes, info: bytes) -> bytes:
        assert len(seal_box(kem, plaintext, info)) == 80
        return plaintext + bytes(48)

    alice = world.person("Alice")
    state = world.random.getstate()
    ops = []
    for _ in range(2):
        world.random.setstate(state)
        new = authoring.create_space(
            alice.user, alice.device, alice.certificate, "N", 1, world.entropy, sealer=sealer
        )
        ops.append(new.ops)
    assert ops[0] == ops[1]
