"""Two and more replicas of a space, without sessions (PROTOCOL §3, §4)."""

from __future__ import annotations

import pytest

from sheaf.core.base.errors import NotAllowed
from sheaf.core.base.ids import DocId
from sheaf.core.space import authoring
from sheaf.core.space.roles import Role
from tests.support.space_world import DOC, World, copy


@pytest.fixture
def world() -> World:
    return World()


def test_a_new_space_has_its_founder_name_and_key(world: World) -> None:
    alice = world.person("Alice")
    a = world.found(alice, "Garden")
    member = a.space.membership.members[alice.user.user_id]
    assert (member.name, member.role, a.space.name()) == ("Alice", Role.OWNER, "Garden")
    assert a.space.current_epoch() is not None
    assert a.space.can_write(alice.device.device_id)


def test_what_one_writes_the_other_reads(world: World) -> None:
    a = world.found(world.person("Alice"))
    b = world.join(a, world.person("Bob"), Role.EDITOR)
    assert b.space.name() == "Notes"
    a.write("one")
    a.write("two", "three")
    copy(a, b)
    b.write("four")
    copy(b, a)
    assert a.applied == [b"one", b"two", b"three", b"four"] == b.applied
    assert a.space.version_vector() == b.space.version_vector()


def test_ingest_is_idempotent(world: World) -> None:
    a = world.found(world.person("Alice"))
    b = world.join(a, world.person("Bob"), Role.EDITOR)
    for n in range(5):
        a.write(str(n))
    for run in list(a.runs()):
        b.ingest(run)
        again = b.ingest(run)
        assert again.accepted == ()
        assert again.refused is None
        assert again.forks == ()
    assert b.applied == [b"0", b"1", b"2", b"3", b"4"]


def test_a_reader_cannot_write_and_a_stranger_learns_nothing(world: World) -> None:
    a = world.found(world.person("Alice"))
    r = world.join(a, world.person("Rita"), Role.READER)
    with pytest.raises(NotAllowed):
        r.write("x")
    stranger = world.replica(world.person("Eve"), a.space.space_id)
    stranger.add_ops(*a.ops)
    assert stranger.space.current_epoch() is None
    assert stranger.space.name() == ""
    a.write("secret")
    results = copy(a, stranger)
    assert [e.items for r in results for e in r.accepted] == [None]


def test_an_update_larger_than_an_envelope_arrives_whole(world: World) -> None:
    a = world.found(world.person("Alice"))
    b = world.join(a, world.person("Bob"), Role.EDITOR)
    large = bytes(range(256)) * 4000
    result = a.write("before", large, "after")
    assert len(result.envelopes) == 7
    assert all(len(e.raw) <= 256 * 1024 for e in result.envelopes)
    copy(a, b, size=1)
    assert b.applied == [b"before", large, b"after"]


def test_a_restart_between_parts_loses_nothing(world: World) -> None:
    a = world.found(world.person("Alice"))
    b = world.join(a, world.person("Bob"), Role.EDITOR)
    large = bytes(range(256)) * 4000
    a.write(large)
    for run in list(a.runs(size=1)):
        b.ingest(run)
        b = b.restarted()
    assert b.applied == [large]


def test_stored_envelopes_open_again_one_document_at_a_time(world: World) -> None:
    a = world.found(world.person("Alice"))
    b = world.join(a, world.person("Bob"), Role.EDITOR)
    other = DocId(b"o" * 16)
    large = bytes(600_000)
    a.write("one")
    a.write("not this", doc=other)
    raw, epoch_id, secret = authoring.epoch(a.space, a.person.device, world.tick(), world.entropy)
    a.add_ops(raw)
    assert a.space.current_epoch() == epoch_id
    assert a.space.secrets()[epoch_id] == secret
    a.write(large)
    copy(a, b)
    b = b.restarted()
    rows = [(e.log_id, e.seq, e.raw) for e in b.store.values() if DOC in e.documents]
    assert len(rows) == 4
    opened = b.space.open_stored(rows)
    assert [item.data for row in opened for item in row.items] == [b"one", large]


def test_own_stored_envelopes_open_again(world: World) -> None:
    a = world.found(world.person("Alice"))
    large = bytes(600_000)
    a.write("one", large)
    a = a.restarted()
    rows = [(e.log_id, e.seq, e.raw) for e in a.store.values()]
    assert [i.data for row in a.space.open_stored(rows) for i in row.items] == [b"one", large]


def test_every_start_opens_a_new_log(world: World) -> None:
    a = world.found(world.person("Alice"))
    first = a.write("one")
    a = a.restarted()
    second = a.write("two")
    assert first.genesis_new
    assert second.genesis_new
    assert first.log_state.log_id != second.log_state.log_id
    b = world.join(a, world.person("Bob"), Role.EDITOR)
    copy(a, b)
    assert sorted(b.applied) == [b"one", b"two"]
