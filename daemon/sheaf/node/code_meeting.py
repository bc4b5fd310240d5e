"""Where the two sides of a spoken code meet: a numbered nameplate at a relay (PROTOCOL §8).

Finds a relay that is connected, or waits a moment for one that is about to be. Knows nothing of
what is said across the nameplate.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Final

from sheaf.core.base.errors import TransportFailure, UsageError
from sheaf.core.wire.relay_words import RefusalCode, RelayRefused
from sheaf.ports.relay import Nameplate, Relay, RelayPool, RelayState

CONNECT_S: Final = 10.0
"""How long a relay that is still connecting is waited for."""

Release = Callable[[], None]
HoldRelay = Callable[[str], Release]
"""`hold(url)` has the pool use a relay, besides the others, until the returned function is called."""


class CodeMeeting:
    """Nameplates at the relays of this daemon.

    Args:
        hold: for a relay that somebody names for one code only.
    """

    def __init__(self, *, pool: RelayPool | None, hold: HoldRelay) -> None:
        self._pool = pool
        self._hold = hold
        self._waiting: set[asyncio.Event] = set()
        if pool is not None:
            pool.on_change(self._changed)

    def relays(self) -> Sequence[Relay]:
        """Where one could meet."""
        return () if self._pool is None else self._pool.relays()

    async def allocate(self, preferred: Sequence[str]) -> Nameplate:
        """A fresh nameplate at the first relay that gives one.

        Args:
            preferred: URLs to try before the others.

        Raises:
            UsageError: this daemon uses no relay.
            TransportFailure: none of them works; the text says what each one's problem is.
        """
        relays = sorted(self.relays(), key=lambda relay: _rank(relay, preferred))
        if not relays:
            raise UsageError(
                "A code needs a relay, and this daemon uses none. Start it with --relay wss://…, or "
                "send a ticket instead (sheaf invite without --code)."
            )
        problems = []
        for relay in relays:
            try:
                await self._until_connected(relay)
                return await relay.allocate_nameplate()
            except TransportFailure as failure:
                problems.append(_problem(relay, failure))
        raise TransportFailure(" ".join(problems))

    def hold(self, url: str | None) -> Release:
        """Use the relay at this public address besides ours, until the returned function is called."""
        return _nothing if url is None else self._hold(url)

    async def claim(self, number: int, url: str | None) -> Nameplate:
        """The second side of nameplate `number`.

        Args:
            url: the public address of a relay that is held; None: wherever of ours the number is known.

        Raises:
            RelayRefused: GONE when nobody waits there, CROWDED when two were there already.
            TransportFailure: no relay could be asked.
        """
        if url is None:
            return await self._claim(number, self.relays())
        relay = None if self._pool is None else self._pool.relay(url)
        if relay is None:
            raise TransportFailure(f"The relay {url} cannot be used.")
        return await self._claim(number, [relay])

    async def _claim(self, number: int, relays: Sequence[Relay]) -> Nameplate:
        problems = []
        is_unknown = False
        for relay in relays:
            try:
                await self._until_connected(relay)
                return await relay.claim_nameplate(number)
            except RelayRefused as refused:
                if refused.code is RefusalCode.CROWDED:
                    raise
                is_unknown = is_unknown or refused.code is RefusalCode.GONE
                problems.append(_problem(relay, refused))
            except TransportFailure as failure:
                problems.append(_problem(relay, failure))
        if is_unknown:
            raise RelayRefused(RefusalCode.GONE)
        raise TransportFailure(" ".join(problems) or "This daemon uses no relay.")

    async def _until_connected(self, relay: Relay) -> None:
        """Raises TransportFailure when it does not get connected in time."""
        changed = asyncio.Event()
        self._waiting.add(changed)
        try:
            async with asyncio.timeout(CONNECT_S):
                while relay.status.state is RelayState.CONNECTING:
                    changed.clear()
                    await changed.wait()
        except TimeoutError:
            raise TransportFailure(f"The relay {relay.url} does not answer.") from None
        finally:
            self._waiting.discard(changed)
        if relay.status.state is not RelayState.CONNECTED:
            raise TransportFailure(relay.status.problem or f"The relay {relay.url} cannot be reached.")

    def _changed(self) -> None:
        for changed in self._waiting:
            changed.set()


def _nothing() -> None:
    return None


def _rank(relay: Relay, preferred: Sequence[str]) -> tuple[bool, bool]:
    is_connected = relay.status.state is RelayState.CONNECTED
    return (not is_connected, relay.url not in preferred)


def _problem(relay: Relay, failure: TransportFailure) -> str:
    text = str(failure)
    return text if relay.url in text else f"{relay.url}: {text}."
