"""Golden vectors of the spoken code: one whole exchange, as `spoken_code.json` holds it (PROTOCOL §8).

`python -m tests.vectors.spoken_code` writes the file again; do that only for a change of the protocol.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from mnemonic import Mnemonic

from sheaf.core.base.ids import UserId
from sheaf.core.protocol.code_words import SpokenCode, WordList
from sheaf.core.protocol.spoken_code import CodeInviter, CodeJoiner, Party, RefusalReason, refusal

FILE = Path(__file__).with_name("spoken_code.json")
CODE = SpokenCode(7, ("orbit", "velvet"))
ANN = Party(UserId(b"a" * 32), "Ann")
BOB = Party(UserId(b"b" * 32), "Bob")


def build() -> dict[str, Any]:
    """What today's code makes."""
    words = WordList(Mnemonic("english").wordlist)
    ann = CodeInviter(code=CODE, me=ANN, words=words, entropy=_entropy("ann"))
    bob = CodeJoiner(code=CODE, me=BOB, words=words, entropy=_entropy("bob"))
    offer = ann.offer()
    answer = bob.answer(offer)
    met = ann.met(answer)
    grant = ann.grant("sheaf1ticket")
    granted = bob.granted(grant)
    return {
        "code": CODE.text,
        "password": CODE.password.hex(),
        "offer": offer.hex(),
        "answer": answer.hex(),
        "grant": grant.hex(),
        "ticket": granted.ticket,
        "safety_words": list(met.safety_words),
        "refusals": {reason.name: refusal(reason).hex() for reason in RefusalReason},
    }


def _entropy(seed: str) -> Callable[[int], bytes]:
    drawn = 0

    def entropy(size: int) -> bytes:
        nonlocal drawn
        drawn += 1
        return hashlib.shake_256(f"spoken code {seed} {drawn}".encode()).digest(size)

    return entropy


if __name__ == "__main__":
    FILE.write_text(json.dumps(build(), indent=2) + "\n")
