"""The golden vectors of relay frames: a difference is a change of the protocol."""

from __future__ import annotations

import json

import pytest

from sheaf.core.wire.relay_frames import Frame, decode_frame, encode_frame
from sheaf.core.wire.relay_words import CODECS, RELAY_FRAME_BYTES_MAX
from tests.vectors.relay import FILE, FRAMES, build

VECTORS = json.loads(FILE.read_text())


def test_the_vectors_are_what_the_code_makes() -> None:
    assert build() == VECTORS


def test_every_frame_has_a_vector() -> None:
    assert set(VECTORS) == {cls.__name__ for cls in CODECS}


@pytest.mark.parametrize("frame", FRAMES, ids=lambda frame: type(frame).__name__)
def test_a_vector_reads_back(frame: Frame) -> None:
    data = bytes.fromhex(VECTORS[type(frame).__name__])
    assert decode_frame(data, bytes_max=RELAY_FRAME_BYTES_MAX) == frame
    assert encode_frame(frame) == data
