"""The golden vectors of the protocol still hold: today's code gives yesterday's bytes."""

from __future__ import annotations

import json

from tests.vectors import protocol, spoken_code


def test_vectors_are_what_the_code_makes() -> None:
    assert protocol.build() == json.loads(protocol.FILE.read_text())


def test_every_type_of_message_has_a_vector() -> None:
    kinds = {protocol.encode_message(message).kind for message in protocol._messages()}
    assert kinds == set(protocol.ms.Kind)


def test_an_exchange_by_spoken_code_is_what_it_was() -> None:
    assert spoken_code.build() == json.loads(spoken_code.FILE.read_text())
