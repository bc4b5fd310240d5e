"""The errors Sheaf tells apart, by whose fault they are.

Bugs are assertions; everything else is one of these. Adapters convert foreign
exceptions where they arise.
"""

from __future__ import annotations


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


class StorageFailure(SheafError):
    """The disk or the database refused; nothing was changed."""


class TransportFailure(SheafError):
    """A connection could not be made or broke."""
