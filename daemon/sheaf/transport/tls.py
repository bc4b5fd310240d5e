"""TLS 1.3 between two processes that know each other's certificate by its hash, and nothing else.

OpenSSL over memory buffers: bytes in, bytes out, no sockets and no event loop. Each process
makes one self-signed certificate at start; both ends must present the one whose SHA-256 came
through sealed signalling (PROTOCOL §5, §7). pyOpenSSL because the standard library cannot ask
a client for a certificate without knowing its issuer beforehand.
"""

from __future__ import annotations

import datetime
import hmac
from dataclasses import dataclass
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from OpenSSL import SSL

from sheaf.core.base.errors import TransportFailure

_READ_BYTES: Final = 64 * 1024
_VALID_FROM: Final = datetime.datetime(2020, 1, 1, tzinfo=datetime.UTC)
_VALID_UNTIL: Final = datetime.datetime(2100, 1, 1, tzinfo=datetime.UTC)
"""Nobody looks at the dates: the hash is the identity, and the process its lifetime."""


@dataclass(frozen=True, slots=True)
class TlsIdentity:
    """A private key with its self-signed certificate."""

    key: ec.EllipticCurvePrivateKey
    certificate: x509.Certificate

    @property
    def fingerprint(self) -> bytes:
        """SHA-256 of the certificate, 32 bytes."""
        return self.certificate.fingerprint(hashes.SHA256())

    @classmethod
    def make(cls) -> TlsIdentity:
        """A new one; its name says nothing, and so do its dates."""
        key = ec.generate_private_key(ec.SECP256R1())
        name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "sheaf")])
        certificate = (
            x509.CertificateBuilder()
            .subject_name(name)
            .issuer_name(name)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(_VALID_FROM)
            .not_valid_after(_VALID_UNTIL)
            .sign(key, hashes.SHA256())
        )
        return cls(key, certificate)


class TlsSession:
    """One end of a TLS 1.3 connection.

    Invariants:
    1. No plaintext comes out, and none is taken, before the peer's certificate was compared
       with the pinned hash.
    2. After an error nothing more is processed.
    """

    def __init__(self, *, identity: TlsIdentity, is_server: bool, peer_fingerprint: bytes) -> None:
        self._peer_fingerprint = peer_fingerprint
        self._connection = SSL.Connection(_context(identity), None)
        if is_server:
            self._connection.set_accept_state()
        else:
            self._connection.set_connect_state()
        self._is_ready = False

    @property
    def is_ready(self) -> bool:
        """The handshake is done and the peer is the pinned one (1)."""
        return self._is_ready

    def handshake(self) -> None:
        """Go on with the handshake as far as possible.

        Raises:
            TransportFailure: it failed, or the peer is another.
        """
        if self._is_ready:
            return
        try:
            self._connection.do_handshake()
        except SSL.WantReadError:
            return
        except SSL.Error as error:
            raise TransportFailure("the secure handshake failed") from error
        certificate = self._connection.get_peer_certificate(as_cryptography=True)
        if certificate is None or not hmac.compare_digest(
            certificate.fingerprint(hashes.SHA256()), self._peer_fingerprint
        ):
            raise TransportFailure("the other end is not the expected one")
        self._is_ready = True

    def feed(self, data: bytes, into: bytearray) -> None:
        """Take bytes from the network; appends the plaintext they complete to `into`.

        Raises:
            TransportFailure: broken, closed by the peer, or not the pinned peer. What came
                before is in `into` all the same.
        """
        if not data:
            return  # OpenSSL takes an empty write for an error
        self._connection.bio_write(data)
        self.handshake()
        if self._is_ready:
            self._read_into(into)

    def write(self, plain: bytes) -> None:
        """Encrypt; the result waits in `outgoing`. Only when `is_ready`."""
        assert self._is_ready, "nothing is sent before the peer is known"
        try:
            self._connection.sendall(plain)
        except SSL.Error as error:
            raise TransportFailure("the secure connection broke") from error

    def outgoing(self) -> bytes:
        """Take what must go to the network."""
        out = bytearray()
        while True:
            try:
                out += self._connection.bio_read(_READ_BYTES)
            except SSL.WantReadError:
                return bytes(out)

    def shutdown(self) -> None:
        """Queue the farewell (close_notify), so that the peer can tell an end from a cut."""
        if self._is_ready:
            try:
                self._connection.shutdown()
            except SSL.Error:
                return

    def _read_into(self, plain: bytearray) -> None:
        try:
            while True:
                plain += self._connection.recv(_READ_BYTES)
        except SSL.WantReadError:
            return
        except SSL.Error as error:  # ZeroReturnError: close_notify
            raise TransportFailure("closed by the peer") from error


def _context(identity: TlsIdentity) -> SSL.Context:
    context = SSL.Context(SSL.TLS_METHOD)
    context.set_min_proto_version(SSL.TLS1_3_VERSION)
    context.set_session_cache_mode(SSL.SESS_CACHE_OFF)
    context.set_options(SSL.OP_NO_TICKET)
    context.use_certificate(identity.certificate)
    context.use_privatekey(identity.key)
    # Any certificate passes OpenSSL; `handshake` compares the hash before anything is read.
    context.set_verify(SSL.VERIFY_PEER | SSL.VERIFY_FAIL_IF_NO_PEER_CERT, lambda *_: True)
    return context
