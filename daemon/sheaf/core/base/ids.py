"""Typed identifiers and their text form (PROTOCOL §1, §2).

Every identifier is a `bytes` subclass of one fixed length: it hashes, compares and
encodes as the bytes it is, while the type checker keeps a device from being passed
for a user. Text form: `<prefix>_<lower-case base32 without padding><2 check characters>`.
Knows nothing of keys or signatures.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
from typing import ClassVar, Self

_BASE32 = "abcdefghijklmnopqrstuvwxyz234567"


class IdError(ValueError):
    """Text or bytes that are not an identifier of the wanted kind."""


class Id(bytes):
    """Base of all identifiers: `SIZE` bytes, text prefix `PREFIX`.

    Raises:
        IdError: the value has another length.
    """

    SIZE: ClassVar[int] = 0
    PREFIX: ClassVar[str] = ""

    __slots__ = ()

    def __new__(cls, value: bytes) -> Self:
        if len(value) != cls.SIZE:
            raise IdError(f"{cls.__name__} needs {cls.SIZE} bytes, got {len(value)}")
        return super().__new__(cls, value)

    @property
    def text(self) -> str:
        """The printable form, e.g. `s_mfrgg…`; `parse` reads it back."""
        body = base64.b32encode(self).decode("ascii").rstrip("=").lower()
        return f"{self.PREFIX}_{body}{self._check()}"

    @property
    def short(self) -> str:
        """The first eight characters, for logs and tables; not unique, never parsed."""
        return self.text[: len(self.PREFIX) + 9]

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read the printable form; case, spaces and hyphens are forgiven.

        Raises:
            IdError: wrong prefix, alphabet, length or check characters.
        """
        cleaned = text.strip().lower().replace("-", "").replace(" ", "")
        prefix, _, body = cleaned.partition("_")
        if prefix != cls.PREFIX or len(body) < 3:
            raise IdError(f"not a {cls.__name__}: it starts with {cls.PREFIX}_")
        payload = body[:-2]
        try:
            raw = base64.b32decode(payload.upper() + "=" * (-len(payload) % 8))
        except (binascii.Error, ValueError) as error:
            raise IdError(f"not a {cls.__name__}: letters a-z and digits 2-7 only") from error
        if len(raw) != cls.SIZE:
            raise IdError(f"not a {cls.__name__}: wrong length")
        value = cls(raw)
        if value.text != cleaned:
            raise IdError(f"not a {cls.__name__}: the check characters do not match (a typing slip?)")
        return value

    def _check(self) -> str:
        digest = hashlib.sha256(b"sheaf/1 check\0" + self.PREFIX.encode() + b"\0" + self).digest()
        return _BASE32[digest[0] & 31] + _BASE32[digest[1] & 31]

    def __repr__(self) -> str:
        return f"<{self.short}>"

    __str__ = __repr__


class UserId(Id):
    """Ed25519 public key U of a person."""

    SIZE = 32
    PREFIX = "u"


class DeviceId(Id):
    """Ed25519 public key D of a device."""

    SIZE = 32
    PREFIX = "v"


class SpaceId(Id):
    """Hash of the space's genesis op; self-certifying."""

    SIZE = 32
    PREFIX = "s"


class LogId(Id):
    """Hash of a signed log genesis, first 16 bytes."""

    SIZE = 16
    PREFIX = "l"


class DocId(Id):
    """Random; all zeros is the space's index document."""

    SIZE = 16
    PREFIX = "d"


class OpId(Id):
    """Hash of a control op's signed bytes and signature."""

    SIZE = 32
    PREFIX = "o"


class EnvId(Id):
    """Hash of an envelope with its position, predecessor and signature (decision 0023)."""

    SIZE = 32
    PREFIX = "e"


class EpochId(Id):
    """First 16 bytes of the epoch op's id."""

    SIZE = 16
    PREFIX = "k"


class RendezvousId(Id):
    """Where sealed signalling for one device (or one invitation) is left."""

    SIZE = 16
    PREFIX = "r"


INDEX_DOC_ID = DocId(bytes(16))
