"""Importing aiortc without its media half (decision 0015)."""

from __future__ import annotations

import subprocess
import sys

import pytest

from sheaf.core.base.errors import TransportFailure
from sheaf.transport import aiortc_lean, ice_guard, sctp_guard


def run(script: str) -> str:
    """Run in a fresh interpreter and return what it printed."""
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_the_codecs_stay_out_of_the_process() -> None:
    script = """
import sys
from sheaf.transport import aiortc_lean
aiortc_lean.load()
import sheaf.transport.webrtc_channel
print("av" in sys.modules, "aiortc.rtcsctptransport" in sys.modules, "aiortc.mediastreams" in sys.modules)
"""
    assert run(script) == "False True False"


def test_importing_all_of_aiortc_afterwards_still_works() -> None:
    script = """
from sheaf.transport import aiortc_lean
aiortc_lean.load()
import aiortc
print(aiortc.RTCPeerConnection.__name__, aiortc.VideoStreamTrack.kind)
"""
    assert run(script) == "RTCPeerConnection video"


def test_an_aiortc_that_was_imported_before_is_used() -> None:
    script = """
import aiortc
from sheaf.transport import aiortc_lean
aiortc_lean.load()
from sheaf.transport.sctp_guard import GuardedSctp
print(issubclass(GuardedSctp, aiortc.RTCSctpTransport))
"""
    assert run(script) == "True"


def test_threads_that_want_it_at_once_import_it_once() -> None:
    script = """
import sys, threading
from sheaf.transport import aiortc_lean
calls, errors, load_lean = [], [], aiortc_lean._load_lean
begun, others = threading.Event(), []
def slowly():
    calls.append(1)
    begun.set()
    others[0].join(0.2)  # the others must be waiting, not importing or returning
    assert all(thread.is_alive() for thread in others)
    load_lean()
aiortc_lean._load_lean = slowly
def load():
    aiortc_lean.load()
    from sheaf.transport import webrtc_channel
threading.excepthook = lambda failure: errors.append(failure.exc_value)
first = threading.Thread(target=load)
others += [threading.Thread(target=lambda: begun.wait() and load()) for _ in range(3)]
for thread in (*others, first):  # whoever is joined has to be started before
    thread.start()
for thread in (first, *others):
    thread.join()
print(len(calls), errors, "av" in sys.modules)
"""
    assert run(script) == "1 [] False"


def test_nothing_of_aiortc_is_imported_with_the_transport() -> None:
    script = """
import sys
import sheaf.transport.webrtc
print([name for name in sys.modules if name.startswith(("aiortc", "aioice", "av"))])
"""
    assert run(script) == "[]"


def test_a_version_the_guards_do_not_know_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(aiortc_lean, "version", lambda name: "2.0.0")
    with pytest.raises(TransportFailure, match=r"aiortc 2\.0\.0"):
        aiortc_lean.load()


def test_a_library_of_another_shape_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    ice_guard.check_shape()
    sctp_guard.check_shape()
    monkeypatch.delattr(ice_guard.ice.Connection, "data_received")
    monkeypatch.setattr(ice_guard.ice.Connection, "data_received", lambda self, data: None, raising=False)
    with pytest.raises(TransportFailure, match="data_received"):
        ice_guard.check_shape()
    monkeypatch.setattr(sctp_guard.RTCSctpTransport, "_receive_data_chunk", lambda self: None)
    with pytest.raises(TransportFailure, match="_receive_data_chunk"):
        sctp_guard.check_shape()
