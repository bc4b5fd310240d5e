"""Two people, two daemons, and a third: the main job through the command line and the local door."""

from __future__ import annotations

from typing import Any

import pytest

from tests.support.daemon import Daemon, wait_until
from tests.support.world import (
    Town,
    digest,
    join,
    make_document,
    make_space,
    peer_states,
    shared_document,
    text,
    until_equal,
    until_live,
)

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(120)]

SILENCE_S_MAX = 15.0
"""FAULTS N3: a peer that says nothing any more is noticed by our own ping within this time."""


def names_online(members: list[dict[str, Any]]) -> dict[str, bool]:
    return {member["name"]: all(device["online"] for device in member["devices"]) for member in members}


def test_invite_join_write_and_restart_through_the_command_line(here: Town) -> None:
    ada, ben = here.start("ada", "ben")
    space = ada.cli_json("space", "create", "Home")
    assert space["role"] == "owner"
    document = ada.cli_json("doc", "create", "Home", "Shopping list", "--type", "text")
    ada.cli("doc", "write", "Shopping list", stdin="bread\n")
    ticket = ada.cli("invite", "Home").strip()
    assert ticket.startswith("sheaf1")

    joined = ben.cli_json("join", ticket)
    assert joined["state"] == "done"
    assert joined["space_name"] == "Home"
    # exit 0 means: the first catch-up is complete, so everything is readable at once
    assert ben.cli("doc", "show", "Shopping list") == "bread\n"

    ben.cli("doc", "append", "Shopping list", stdin="olives\n")
    ada.cli("doc", "append", "Shopping list", stdin="coffee\n")
    until_equal(ada, ben, document_id=document["document_id"])
    both = text(ada, document["document_id"])
    assert sorted(both.split()) == ["bread", "coffee", "olives"]

    assert names_online(ben.cli_json("members", "Home")) == {"ada": True, "ben": True}
    (peer,) = ada.cli_json("peers")
    assert (peer["user_name"], peer["state"], peer["path"]) == ("ben", "live", "webrtc")
    status = ben.cli_json("status")
    assert status["storage"] == {"state": "ok", "detail": None, "unsent_edits": 0}
    assert [space["name"] for space in status["spaces"]] == ["Home"]

    assert ben.stop() == 0
    wait_until(lambda: peer_states(ada) != ["live"], what="ada sees that ben is gone")
    ada.cli("doc", "append", "Shopping list", stdin="salt\n")  # alone, and it works
    ben.start()
    until_live(ada, ben)
    until_equal(ada, ben, document_id=document["document_id"])
    assert text(ben, document["document_id"]) == both + "salt\n"


def test_a_third_joins_and_gets_the_words_of_both(here: Town) -> None:
    ada, ben, cleo = here.start("ada", "ben", "cleo")
    space_id = make_space(ada)
    document_id = make_document(ada, space_id)
    join(ada, ben, space_id)
    write(ada, document_id, "from ada")
    write(ben, document_id, "from ben")
    until_equal(ada, ben, document_id=document_id)
    join(ada, cleo, space_id)
    assert digest(cleo, document_id) == digest(ada, document_id)
    write(cleo, document_id, "from cleo")
    until_equal(ada, ben, cleo, document_id=document_id)
    until_live(ada, ben, cleo)  # ben and cleo found each other, too
    assert sorted(text(ben, document_id).splitlines()) == ["from ada", "from ben", "from cleo"]


def test_a_reader_reads_and_may_not_write(here: Town) -> None:
    ada, ben = here.start("ada", "ben")
    space_id = make_space(ada)
    document_id = make_document(ada, space_id)
    write(ada, document_id, "look, do not touch")
    join(ada, ben, space_id, role="reader")
    assert text(ben, document_id) == "look, do not touch\n"
    assert append(ben, document_id, "touched") == 403
    assert text(ada, document_id) == "look, do not touch\n"


@pytest.mark.long
def test_n3_a_peer_that_falls_silent_is_noticed_and_met_again(here: Town) -> None:
    ada, ben = here.start("ada", "ben")
    document_id = shared_document(ada, ben)
    until_live(ada, ben)
    ben.pause()
    try:
        wait_until(
            lambda: peer_states(ada) != ["live"], timeout_s=SILENCE_S_MAX, what="ada notices the silence"
        )
        write(ada, document_id, "said into the silence")  # and stays usable
    finally:
        ben.go_on()
    until_live(ada, ben)
    until_equal(ada, ben, document_id=document_id)
    assert text(ben, document_id) == "said into the silence\n"


def append(daemon: Daemon, document_id: str, words: str) -> int:
    return daemon.request(
        "POST",
        f"/documents/{document_id}/append",
        content=words.encode(),
        headers={"Content-Type": "text/markdown"},
    ).status_code


def write(daemon: Daemon, document_id: str, words: str) -> None:
    assert append(daemon, document_id, words) == 204
