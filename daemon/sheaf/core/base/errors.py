"""The errors Sheaf tells apart, by whose fault they are.

Bugs are assertions; everything else is one of these. Adapters convert foreign
exceptions where they arise.
"""

from __future__ import annotations

import errno
from typing import Final

_NO_ROOM: Final = frozenset({errno.ENOSPC, errno.EDQUOT})


class SheafError(Exception):
    """Base of all expected errors. `str(error)` is fit to show to a person."""


class ProtocolViolation(SheafError):
    """A peer, a relay or a file broke the rules; the caller drops it or its sender."""


class WireError(ProtocolViolation):
    """Bytes that are not a whole, canonical message. Raised by every decoder."""


class UpdateRefused(ProtocolViolation):
    """A Yjs update that the inspector keeps away from the native decoder."""


class UpdateTooBig(UpdateRefused):
    """An update with more in it than is taken at once; sending it again cannot help."""


class UsageError(SheafError):
    """The local caller asked for something impossible; the text says what to do instead."""


class NotFound(UsageError):
    """The named space, document, member, invitation… is not here."""


class NotAllowed(UsageError):
    """The local user's role does not permit this."""


class TooMuchWork(UsageError):
    """What was asked for took too long or too much memory and was given up; nothing was changed."""


class Busy(SheafError):
    """Too much is waiting already; nothing was changed, and trying again in a moment helps."""


class StorageFailure(SheafError):
    """The disk or the database refused; nothing was changed."""


class DiskFull(StorageFailure):
    """There is no room left on the disk, or in the quota; it is worth trying again later."""


class TransportFailure(SheafError):
    """A connection could not be made or broke."""


def file_failure(what: str, error: OSError) -> StorageFailure:
    """The failure to raise when `what` ("The key file … cannot be written") ended with `error`."""
    kind = DiskFull if is_full(error) else StorageFailure
    return kind(f"{what}: {error.strerror or error}.")


def is_full(error: OSError) -> bool:
    """Whether the disk or the quota is used up."""
    return error.errno in _NO_ROOM
