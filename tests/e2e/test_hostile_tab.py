"""FAULTS N8 through the front doors: updates made to crash the decoder, from a tab and from a member."""

from __future__ import annotations

import pycrdt
import pytest

from sheaf.core.base.ids import DocId, SpaceId
from tests.support.daemon import Daemon
from tests.support.database_copy import database_copy
from tests.support.hostile_member import seal_into
from tests.support.tab import STEP2, UPDATE, sync_frame
from tests.support.world import Town, digest, join, make_document, make_space, text, until_equal, until_live
from tests.unit.core.crdt.crash_corpus import crash_corpus

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(180)]

REFUSED = 4422
TOO_BIG = 4413


async def test_n8_no_update_of_the_crash_corpus_gets_past_the_door(here: Town) -> None:
    """Each into a document of its own: who is refused again and again in one is told ever later."""
    (ada,) = here.start("ada")
    space_id = make_space(ada)
    other_id = make_document(ada, space_id, "Other")
    assert ada.process is not None
    async with ada.tab(other_id) as elsewhere:
        for name, update in crash_corpus().items():
            document_id = make_document(ada, space_id, name)
            async with ada.tab(document_id) as honest, ada.tab(document_id) as hostile:
                await honest.append("untouched")
                await honest.saved()
                before = digest(ada, document_id)
                await hostile.socket.send(sync_frame(UPDATE, update))
                assert await hostile.closed() in (REFUSED, TOO_BIG), name
                assert digest(ada, document_id) == before, name
                assert ada.process.poll() is None, name
                await elsewhere.append("x")
                await elsewhere.saved()
                assert not honest.is_closed
                await honest.append(", and still written in")
                await honest.saved()
            assert text(ada, document_id) == "untouched, and still written in"
    assert text(ada, other_id) == "x" * len(crash_corpus())


async def test_n8_a_hostile_first_answer_is_refused_just_the_same(here: Town) -> None:
    """The same bytes as `step 2`, which a provider sends unasked when it comes back."""
    (ada,) = here.start("ada")
    space_id = make_space(ada)
    for name in ("arrays 40000 deep", "clock 2^53", "elements 200,000 deep"):
        document_id = make_document(ada, space_id, name)
        async with ada.tab(document_id) as hostile:
            await hostile.socket.send(sync_frame(STEP2, crash_corpus()[name]))
            assert await hostile.closed() in (REFUSED, TOO_BIG), name
        assert text(ada, document_id) == ""


async def test_n8_a_members_poisoned_envelopes_are_quarantined_and_the_rest_goes_on(here: Town) -> None:
    ada, mal = here.start("ada", "mal")
    space_id = make_space(ada)
    target, other = (make_document(ada, space_id, title) for title in ("Target", "Other"))
    await type_into(ada, target, "safe")
    join(ada, mal, space_id)
    assert mal.stop() == 0

    cases = crash_corpus()
    poison = [cases[name] for name in sorted(cases) if len(cases[name]) < 1 << 20]
    sealed = await seal_into(mal.data_dir, SpaceId.parse(space_id), DocId.parse(target), poison)
    assert sealed >= len(poison)
    mal.start()
    until_live(ada, mal)

    # what mal writes afterwards, in the same log, arrives: so the poison before it was dealt with
    await type_into(mal, other, "an honest word")
    until_equal(ada, mal, document_id=other)
    assert text(ada, target) == "safe"
    await type_into(ada, target, " and sound")
    assert text(ada, target) == "safe and sound"
    until_live(ada, mal)
    assert ada.stop() == 0
    with database_copy(ada.data_dir) as connection:
        (quarantined,) = connection.execute("SELECT count(*) FROM quarantine").fetchone()
    assert quarantined == len(poison)
    ada.start()  # and they do not wait for it at the next start
    assert text(ada, target) == "safe and sound"
    until_live(ada, mal)


async def type_into(daemon: Daemon, document_id: str, words: str) -> None:
    async with daemon.tab(document_id, doc=pycrdt.Doc()) as tab:
        await tab.append(words)
        await tab.saved()
