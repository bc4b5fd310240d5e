"""Two laptops and a cable: no router, no DHCP, nothing but link-local addresses."""

from __future__ import annotations

import pytest

from tests.support import netns
from tests.support.acquaintance import append, path, start_together, write_on_both_sides
from tests.support.daemon import wait_until
from tests.support.world import Town, make_document, make_space, peer_states, until_equal, until_live

pytestmark = [pytest.mark.netns, pytest.mark.e2e, pytest.mark.timeout(120)]

EQUAL_S_MAX = 30.0


@pytest.mark.parametrize("has_ipv4", [False, True], ids=["ipv6", "ipv4"])
@pytest.mark.parametrize("has_multicast", [True, False], ids=["found", "by ticket"])
def test_a_cable_is_enough_to_join_to_write_and_to_meet_again(
    has_ipv4: bool, has_multicast: bool, here: Town
) -> None:
    with netns.cable(has_ipv4=has_ipv4) as (left, right):
        try:
            options = [] if has_multicast else ["--no-mdns"]
            ada = here.daemon("ada", prefix=left.command([]), enter=left.entered, arguments=options)
            ben = here.daemon("ben", prefix=right.command([]), enter=right.entered, arguments=options)
            start_together(ada, ben)
            document_id = make_document(ada, make_space(ada))
            append(ada, document_id, "written before anybody came")
            ticket = ada.cli("invite", "Home", *([] if has_multicast else ["--host", "auto"])).strip()
            assert "%" not in ticket, "the scope is nobody else's"
            foreign = ticket.replace("]:", "%eth9]:")  # added by hand, or by another program
            assert ben.cli_json("join", foreign)["state"] == "done"
            until_live(ada, ben)
            assert path(ada) == path(ben) == "webrtc"
            write_on_both_sides(ada, ben, document_id=document_id, what="met", timeout_s=EQUAL_S_MAX)
            for daemon in (ada, ben):
                found = daemon.cli_json("doctor", "network")
                used = [each["name"] for each in found["interfaces"] if each["is_used"]]
                assert used == ["eth0"]
                assert not [each for each in found["findings"] if each["level"] == "problem"]
            if not has_multicast:
                return  # the addresses of a ticket are for joining
            left.link("down")
            for daemon in (ada, ben):
                wait_until(lambda daemon=daemon: peer_states(daemon) == ["offline"], what="the cable is out")  # type: ignore[misc]
                append(daemon, document_id, f"{daemon.data_dir.name}: alone")
            left.link("up")
            if has_ipv4:
                netns.ip("-n", left.name, "addr", "replace", f"{left.address}/16", "dev", "eth0")
            until_equal(ada, ben, document_id=document_id, timeout_s=EQUAL_S_MAX)
            write_on_both_sides(ada, ben, document_id=document_id, what="again", timeout_s=EQUAL_S_MAX)
        finally:
            here.close()
