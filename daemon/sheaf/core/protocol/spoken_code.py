"""The exchange behind a spoken code: SPAKE2 over a nameplate that others read (PROTOCOL §8).

Three messages carry a ticket from the inviter to whoever was told the code:

    inviter → joiner   OFFER    X*, commitment
    joiner → inviter   ANSWER   Y*, confirmation, sealed{joiner, nonce}
    inviter → joiner   GRANT    sealed{inviter, nonce, ticket}       or   REFUSAL reason

1. The joiner proves first that it knows the code; the inviter has shown nothing by then that a
   guess could be tried against, and takes one ANSWER only. So the code is burned by one wrong try.
2. Everything both sides show each other is bound into the safety words. The inviter's part is fixed
   by the commitment before it sees the joiner's, and the joiner's before it sees the inviter's: who
   stands in the middle *knowing the code* cannot search for parts that give equal words.
3. Each key seals one message, under a nonce of zeros.

`spake2` follows Warner's transcript, not RFC 9382 (decision 0060). Pure: entropy comes in, bytes go
out; timing, the nameplate and the invitation are `node.spoken_codes`' business.
"""

from __future__ import annotations

import hmac
from dataclasses import dataclass, field
from enum import IntEnum, unique
from typing import Any, Final

from sheaf.core.base.errors import ProtocolViolation, WireError
from sheaf.core.base.ids import UserId
from sheaf.core.base.machine import Entropy
from sheaf.core.crypto.hashing import domain, domain_hash, domain_hmac, hkdf
from sheaf.core.crypto.sealing import NONCE_BYTES, TAG_BYTES, decrypt, encrypt
from sheaf.core.protocol.code_words import SpokenCode, WordList
from sheaf.core.protocol.pairing import NAME_BYTES_MAX
from sheaf.core.wire import cbor
from sheaf.core.wire.relay_words import SAYING_BYTES_MAX
from sheaf.core.wire.shape import Fields

VERSION: Final = 1
SAFETY_WORDS: Final = 4
"""44 bits."""
PAKE_BYTES: Final = 33
DIGEST_BYTES: Final = 32
COMMITTED_BYTES: Final = 16
"""The random part of each side's share in the safety words."""
TICKET_BYTES_MAX: Final = 3072
ANSWER_BYTES_MAX: Final = 512

_ZEROS: Final = bytes(NONCE_BYTES)


@unique
class MessageKind(IntEnum):
    """Field 1 of every message."""

    OFFER = 0
    ANSWER = 1
    GRANT = 2
    REFUSAL = 3


@unique
class RefusalReason(IntEnum):
    """Why the inviter gives nothing; unauthenticated, so only a hint."""

    WRONG_CODE = 1
    WITHDRAWN = 2


class WrongCode(ProtocolViolation):
    """The other side does not know the code (or said something else than the protocol asks for)."""


class CodeRefused(ProtocolViolation):
    """The inviter says no; `reason` says why."""

    def __init__(self, reason: RefusalReason) -> None:
        super().__init__(f"the inviting side refused: {reason.name}")
        self.reason = reason


@dataclass(frozen=True, slots=True)
class Party:
    """Who takes part, as they say themselves: the safety words tell whether it is true."""

    user_id: UserId
    name: str


@dataclass(frozen=True, slots=True)
class Met:
    """Who is at the other end, and what both read to each other to be sure."""

    party: Party
    safety_words: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Granted:
    """What the joiner got."""

    inviter: Met
    ticket: str = field(repr=False)


class CodeInviter:
    """The side that made the code. `offer`, then `met`, then `grant`, each once."""

    def __init__(self, *, code: SpokenCode, me: Party, words: WordList, entropy: Entropy) -> None:
        self._me = me
        self._words = words
        self._nonce = entropy(COMMITTED_BYTES)
        self._pake = _Pake("A", code, entropy)
        self._offer = _encode(
            MessageKind.OFFER, {2: self._pake.message, 3: _commitment(self._nonce, me), 4: VERSION}
        )
        self._keys: _Keys | None = None
        self._answer = b""

    def offer(self) -> bytes:
        """The first message; tells nothing about the code to who does not know it."""
        return self._offer

    def met(self, answer: bytes) -> Met:
        """Judge the one answer this code takes.

        Raises:
            WrongCode: the code is burned; say `refusal(WRONG_CODE)` and make a new one.
        """
        assert not self._answer, "a code takes one answer"
        self._answer = answer or b"\0"
        try:
            fields = _decode(answer, MessageKind.ANSWER)
            pake = fields.octets(2, size=PAKE_BYTES)
            confirmation = fields.octets(3, size=DIGEST_BYTES)
            sealed = fields.octets(4, maximum=ANSWER_BYTES_MAX)
            fields.done()
            keys = _Keys(self._pake.finish(pake), self._offer, pake)
            if not hmac.compare_digest(confirmation, keys.confirmation(sealed)):
                raise WrongCode("the code was wrong")
            party, nonce, rest = _open_share(keys.answer, sealed, keys.transcript, "answer")
            rest.done()
        except WrongCode:
            raise
        except ProtocolViolation as error:
            raise WrongCode(f"what came instead of the code: {error}") from error
        self._keys = keys
        return Met(party, keys.safety_words(self._words, (self._me, party), (self._nonce, nonce)))

    def grant(self, ticket: str) -> bytes:
        """The last message: who we are, and the ticket (≤ 3 KiB)."""
        assert self._keys is not None, "nobody has proved to know the code"
        assert len(ticket.encode()) <= TICKET_BYTES_MAX
        share = _share(self._me, self._nonce) | {3: ticket}
        context = self._keys.grant_context(self._answer)
        return _encode(MessageKind.GRANT, {2: encrypt(self._keys.grant, _ZEROS, cbor.encode(share), context)})


class CodeJoiner:
    """The side that was told the code. `answer`, then `granted`, each once."""

    def __init__(self, *, code: SpokenCode, me: Party, words: WordList, entropy: Entropy) -> None:
        self._me = me
        self._words = words
        self._nonce = entropy(COMMITTED_BYTES)
        self._pake = _Pake("B", code, entropy)
        self._keys: _Keys | None = None
        self._commitment = b""
        self._answer = b""

    def answer(self, offer: bytes) -> bytes:
        """Answer the inviter's first message, whatever it is worth: proves that we know the code.

        Raises:
            CodeRefused: the code is burned or withdrawn already.
            ProtocolViolation: this is not an inviter, or one of a newer version.
        """
        fields = _decode(offer, MessageKind.OFFER)
        if fields.uint(4) != VERSION:
            raise WireError("the inviting side runs a newer Sheaf: update this one first")
        pake = fields.octets(2, size=PAKE_BYTES)
        self._commitment = fields.octets(3, size=DIGEST_BYTES)
        fields.done()
        self._keys = keys = _Keys(self._pake.finish(pake), offer, self._pake.message)
        share = cbor.encode(_share(self._me, self._nonce))
        sealed = encrypt(keys.answer, _ZEROS, share, keys.transcript)
        self._answer = _encode(
            MessageKind.ANSWER, {2: self._pake.message, 3: keys.confirmation(sealed), 4: sealed}
        )
        return self._answer

    def granted(self, grant: bytes) -> Granted:
        """Open the inviter's last message.

        Raises:
            CodeRefused: the inviter says no.
            ProtocolViolation: it is not by the side we answered, or not what that side committed to.
        """
        assert self._keys is not None, "answer the offer first"
        fields = _decode(grant, MessageKind.GRANT)
        sealed = fields.octets(2, maximum=SAYING_BYTES_MAX)
        fields.done()
        party, nonce, rest = _open_share(
            self._keys.grant, sealed, self._keys.grant_context(self._answer), "grant"
        )
        ticket = rest.text(3, bytes_max=TICKET_BYTES_MAX)
        rest.done()
        if not hmac.compare_digest(self._commitment, _commitment(nonce, party)):
            raise ProtocolViolation("the inviting side is not who it said it was at first")
        safety_words = self._keys.safety_words(self._words, (party, self._me), (nonce, self._nonce))
        return Granted(Met(party, safety_words), ticket)


def refusal(reason: RefusalReason) -> bytes:
    """What the inviter says instead of a grant (or of an offer)."""
    return _encode(MessageKind.REFUSAL, {2: int(reason)})


class _Keys:
    """What follows from the SPAKE2 key, which covers both sides' SPAKE2 messages."""

    def __init__(self, pake_key: bytes, offer: bytes, joiner_pake: bytes) -> None:
        self.transcript = domain_hash("spoken code transcript", offer, joiner_pake)
        self._prk = pake_key
        self.answer = self._derive("answer")
        self.grant = self._derive("grant")

    def confirmation(self, sealed: bytes) -> bytes:
        """The joiner's proof, over all it says."""
        return domain_hmac(self._derive("confirmation"), "spoken code confirmation", sealed)

    def grant_context(self, answer: bytes) -> bytes:
        """Binds the grant to the answer it is for."""
        return domain_hash("spoken code grant", self.transcript, answer)

    def safety_words(
        self, words: WordList, parties: tuple[Party, Party], nonces: tuple[bytes, bytes]
    ) -> tuple[str, ...]:
        """44 bits over both people (in the order of their ids) and both nonces (the inviter's first)."""
        ids = sorted(party.user_id for party in parties)
        digest = domain_hmac(self._derive("safety"), "safety words", *ids, *nonces)
        return words.spell(digest, SAFETY_WORDS)

    def _derive(self, label: str) -> bytes:
        return hkdf(self._prk, self.transcript, domain(f"spoken code {label}"), DIGEST_BYTES)


class _Pake:
    """One side ("A" invites) of SPAKE2 on Ed25519, with our errors instead of the library's."""

    def __init__(self, side: str, code: SpokenCode, entropy: Entropy) -> None:
        # Imported late: loading computes curve points for 50 ms, which no daemon's start should wait for.
        import spake2

        kind: Any = spake2.SPAKE2_A if side == "A" else spake2.SPAKE2_B
        self._spake = kind(code.password, idA=b"sheaf inviter", idB=b"sheaf joiner", entropy_f=entropy)
        self.message: bytes = self._spake.start()

    def finish(self, message: bytes) -> bytes:
        """The key, 32 bytes; equal on both sides iff the codes are. Raises ProtocolViolation."""
        from spake2.ed25519_basic import NotOnCurve
        from spake2.spake2 import SPAKEError

        try:
            return bytes(self._spake.finish(message))
        except (SPAKEError, NotOnCurve, ValueError) as error:
            raise ProtocolViolation("a SPAKE2 message that is no point of the curve, or our own") from error


def _commitment(nonce: bytes, party: Party) -> bytes:
    return domain_hash("spoken code commitment", nonce, party.user_id, party.name.encode())


def _share(party: Party, nonce: bytes) -> dict[int, object]:
    return {0: bytes(party.user_id), 1: party.name, 2: nonce}


def _open_share(key: bytes, sealed: bytes, context: bytes, what: str) -> tuple[Party, bytes, Fields]:
    plain = decrypt(key, _ZEROS, sealed, context)
    fields = Fields(cbor.decode(plain, bytes_max=SAYING_BYTES_MAX - TAG_BYTES), what)
    party = Party(fields.id(0, UserId), fields.text(1, bytes_max=NAME_BYTES_MAX))
    return party, fields.octets(2, size=COMMITTED_BYTES), fields


def _encode(kind: MessageKind, fields: dict[int, object]) -> bytes:
    message = cbor.encode({1: int(kind), **fields})
    assert len(message) <= SAYING_BYTES_MAX
    return message


def _decode(message: bytes, expected: MessageKind) -> Fields:
    """The fields after the kind. Raises CodeRefused for a refusal, WireError for anything else."""
    fields = Fields(cbor.decode(message, bytes_max=SAYING_BYTES_MAX), expected.name)
    kind = fields.uint(1)
    if kind == MessageKind.REFUSAL and expected in (MessageKind.OFFER, MessageKind.GRANT):
        reason = fields.uint(2)
        fields.done()
        known = RefusalReason.__members__.values()
        raise CodeRefused(RefusalReason(reason) if reason in known else RefusalReason.WITHDRAWN)
    if kind != expected:
        raise WireError(f"expected {expected.name} across the nameplate")
    return fields
