"""Imports the data-channel half of aiortc without its media half.

`import aiortc` pulls in PyAV and every codec: 20 MB of memory and half the import time
(measured), none of which a data channel uses. The four modules Sheaf needs refer to PyAV
by one name in an annotation. So the package is entered without running its `__init__`,
with a stand-in for that name; both stand-ins are withdrawn afterwards, so that anybody
who imports aiortc later gets all of it. Should this ever fail, aiortc is imported whole.
"""

from __future__ import annotations

import importlib
import importlib.machinery
import importlib.util
import logging
import sys
import threading
import types
from importlib.metadata import PackageNotFoundError, version

from sheaf.core.base.errors import TransportFailure

_log = logging.getLogger(__name__)

_MODULES = ("rtcdatachannel", "rtcsctptransport", "rtcdtlstransport", "rtcicetransport")
_loading = threading.Lock()
SUPPORTED = {"aiortc": ("1.16.",), "aioice": ("0.13.",)}
"""The versions whose inside the guards were written and measured against."""


def load() -> None:
    """Make the data half of aiortc importable; blocks for a few hundred milliseconds.

    Several threads may call it; one imports and the others wait, for while the stand-ins are in
    place the package looks as if it had been imported.

    Raises:
        TransportFailure: aiortc or aioice is missing, or a version the guards do not know.
    """
    _check_versions()
    with _loading:
        _load()


def _load() -> None:
    if "aiortc" in sys.modules or "aiortc.rtcsctptransport" in sys.modules:
        return
    try:
        _load_lean()
    except (ImportError, AttributeError) as error:
        _log.warning("lean aiortc import failed, importing all of it error=%r", error)
        importlib.import_module("aiortc")


def _check_versions() -> None:
    for name, prefixes in SUPPORTED.items():
        try:
            found = version(name)
        except PackageNotFoundError as error:
            raise TransportFailure(f"{name} is not installed; install Sheaf again") from error
        if not found.startswith(prefixes):
            raise TransportFailure(
                f"{name} {found} is installed, but the safety guards know {prefixes[0]}x only; "
                f"install {name} {prefixes[0]}x"
            )


def _load_lean() -> None:
    spec = importlib.util.find_spec("aiortc")
    if spec is None or spec.submodule_search_locations is None:
        raise ImportError("aiortc is not a package")
    package = types.ModuleType("aiortc")
    package.__path__ = list(spec.submodule_search_locations)
    package.__spec__ = importlib.machinery.ModuleSpec("aiortc", None, is_package=True)
    stand_ins = {"aiortc": package}
    if "av" not in sys.modules:
        media = types.ModuleType("av")
        media.AudioFrame = type("AudioFrame", (), {})  # type: ignore[attr-defined]  # the one name asked for
        stand_ins["av"] = media
    sys.modules.update(stand_ins)
    try:
        for name in _MODULES:
            importlib.import_module(f"aiortc.{name}")
    except BaseException:
        for name in [name for name in sys.modules if name.startswith("aiortc.")]:
            del sys.modules[name]
        raise
    finally:
        for name in stand_ins:
            del sys.modules[name]
