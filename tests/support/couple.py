"""Ann and Ben, who share a space and can meet at one relay only: no multicast, no addresses."""

from __future__ import annotations

from tests.support.daemon import Daemon, wait_until
from tests.support.world import Town, join, make_document, make_space, text

STORED_S_MAX = 30.0
ARRIVED_S_MAX = 60.0


class Couple:
    """Ann and Ben, who share one space with one document."""

    def __init__(self, here: Town, relay_url: str, *, space_name: str = "Home", title: str = "Notes") -> None:
        """Start both and have Ben join; both are online then."""
        arguments = ("--no-mdns", "--lan=127.0.0.1:0", f"--relay={relay_url}")
        self.ann, self.ben = (here.daemon(name, arguments=arguments).start() for name in ("ann", "ben"))
        self.space_id = make_space(self.ann, space_name)
        self.document_id = make_document(self.ann, self.space_id, title=title)
        join(self.ann, self.ben, self.space_id)

    def write(self, words: str) -> None:
        """As Ann; durable on return."""
        answer = self.ann.request(
            "PUT", f"/documents/{self.document_id}/content", params={"format": "text"}, content=words.encode()
        )
        assert answer.status_code in (200, 204), answer.text

    def state(self) -> str:
        """How far the document came to Ben, as Ann is told."""
        people = self.ann.get(f"/documents/{self.document_id}/delivery")["people"]
        return str(next(person["state"] for person in people if person["name"] == "ben"))

    def until_stored(self) -> None:
        wait_until(lambda: self.state() == "on_relay", timeout_s=STORED_S_MAX, what="it is on the relay")

    def until_ben_has(self, words: str) -> None:
        wait_until(
            lambda: knows(self.ben, self.document_id) and text(self.ben, self.document_id) == words,
            timeout_s=ARRIVED_S_MAX,
            what="Ben has it",
        )

    def warning(self) -> str:
        """What Ann is told about the relay."""
        return str(self.ann.get(f"/spaces/{self.space_id}")["delivery"]["relay_warning"])


def knows(daemon: Daemon, document_id: str) -> bool:
    """Whether the document is there at all."""
    return daemon.request("GET", f"/documents/{document_id}").status_code == 200
