"""A replica: one Yjs document in native code, behind the inspector (PROTOCOL §3).

This package is the only one that imports pycrdt. What a replica returns from `apply` and from
every edit is the *effective* update: exactly what changed here, or None. Echoes end by that.
Must not know envelopes, devices, people or storage.

Invariants, kept for every replica that has not raised `ReplicaPoisoned`:

1. No bytes reach native code that `inspect_update` has not accepted.
2. Nothing is pending inside: an update whose dependencies are not here is refused before it is
   applied, and after each one the clocks it promised are compared with those it brought.
3. The client id is new for each instance, never stored, and nobody else's updates may write it.
4. All use is from one thread; native documents are not to be shared between threads.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Self, TypeVar

import pycrdt

from sheaf.core.base.errors import SheafError, UpdateRefused
from sheaf.core.base.limits import CLOCK_MAX, INTEGER_MAX
from sheaf.core.base.machine import Entropy
from sheaf.core.crdt.canonical import canonical_update
from sheaf.core.crdt.inspector import UpdateSummary, inspect_update
from sheaf.core.crdt.nesting import Nesting
from sheaf.core.crdt.page import BODY, PlainNode, read_page, unknown_names
from sheaf.core.crdt.page_edit import PageEdit, check_edits, edit_page
from sheaf.core.crdt.state_vector import decode_state_vector
from sheaf.core.crdt.text import Splice, TextMap, check_splices, splice_text
from sheaf.core.crdt.update_summary import DEFAULT_LIMITS, UpdateLimits

EMPTY_UPDATE: Final = b"\x00\x00"
"""The update that changes nothing: no clients, no deletions."""
TEXT: Final = "text"
"""The root of a text document."""
_DIGEST_DOMAIN: Final = b"sheaf/1 document\0"
_NORMALISING_CLIENT: Final = 1
_STATE_LIMITS: Final = UpdateLimits(bytes_max=CLOCK_MAX)

ResultT = TypeVar("ResultT")


class UpdateGap(UpdateRefused):
    """The update builds on changes that are not here yet.

    `missing`: by client id, the clock that must be reached first. The caller fetches those
    changes (from a tab: by asking for a sync step 2) and applies them before this one.
    """

    def __init__(self, missing: Mapping[int, int]) -> None:
        super().__init__("the update builds on changes that are not here yet")
        self.missing = dict(missing)


class ReplicaPoisoned(SheafError):
    """Native code failed in mid-change; this replica must be thrown away and rebuilt.

    The caller loads a new one from storage, without the update that did it, and
    quarantines that one.
    """


@dataclass(frozen=True, slots=True)
class Survey:
    """What a replica must know of updates before it loads them: where their clocks and depths end."""

    clocks: dict[int, int]
    nesting: Nesting


def survey_updates(updates: Iterable[bytes], *, own_states: int = 0) -> Survey:
    """Inspect updates that are to be loaded in this order. Calls no native code: any thread may do it.

    Args:
        own_states: so many of the first are whole states that a replica here encoded. They may be
            larger than anything that comes from others.

    Raises:
        UpdateRefused: one of them is refused or builds on something absent.
    """
    clocks: dict[int, int] = {}
    nesting = Nesting()
    for number, update in enumerate(updates):
        summary = inspect_update(update, limits=_STATE_LIMITS if number < own_states else DEFAULT_LIMITS)
        _require(summary, clocks)
        nesting.note(nesting.check(summary), clocks)
        for client, span in summary.clients.items():
            if span.end > clocks.get(client, 0):
                clocks[client] = span.end
    return Survey(clocks, nesting)


class Replica:
    """One Y.Doc.

    Args:
        entropy: where the client id comes from.
        client_id: use this one instead; for tests and canonical replay only.
    """

    def __init__(self, *, entropy: Entropy, client_id: int | None = None) -> None:
        self._start(draw_client_id(entropy) if client_id is None else client_id)

    def _start(self, client_id: int) -> None:
        self._doc: pycrdt.Doc[Any] = pycrdt.Doc(client_id=client_id)
        self._client_id = client_id
        self._clocks: dict[int, int] = {}
        self._nesting = Nesting()
        self._poisoned = False

    @classmethod
    def load(
        cls,
        updates: Sequence[bytes],
        *,
        entropy: Entropy,
        survey: Survey | None = None,
    ) -> Self:
        """A replica holding `updates`, applied in order in one transaction.

        Args:
            survey: what `survey_updates` said of exactly these, when the caller has it; it becomes
                the replica's.

        Raises:
            UpdateRefused: one of them is refused or builds on something absent.
            ReplicaPoisoned: native code failed on them.
        """
        if survey is None:
            survey = survey_updates(updates)
        clocks = survey.clocks
        client_id = draw_client_id(entropy)
        while client_id in clocks:
            client_id = draw_client_id(entropy)
        replica = cls(entropy=entropy, client_id=client_id)
        replica._guarded(lambda: replica._apply_all(updates))
        replica._nesting = survey.nesting
        replica._clocks = decode_state_vector(replica._doc.get_state())
        if replica._clocks != clocks:
            raise replica._poison("loading left changes pending")
        return replica

    @classmethod
    def copy_of(cls, state: bytes, *, client_id: int) -> Self:
        """A copy of another replica, to work out a change on and be thrown away.

        Not inspected and knows no depths, so nothing of others may be applied to it.

        Args:
            state: what that replica's `encode_state` gave.
            client_id: what the change is written under; it goes on where it stopped in `state`.

        Raises:
            ReplicaPoisoned: native code failed.
        """
        replica = cls(entropy=bytes, client_id=client_id)
        replica._guarded(lambda: replica._doc.apply_update(state))
        replica._clocks = decode_state_vector(replica._doc.get_state())
        return replica

    @property
    def client_id(self) -> int:
        """The Yjs client id of this instance."""
        return self._client_id

    @property
    def doc(self) -> pycrdt.Doc[Any]:
        """The native document, for the views of this package; change it only inside `edit`."""
        self._check_alive()
        return self._doc

    def apply(self, update: bytes, summary: UpdateSummary | None = None) -> bytes | None:
        """Take in somebody else's update.

        Args:
            update: a Yjs v1 update.
            summary: what `inspect_update` said of exactly these bytes, when the caller has it.

        Returns:
            What this changed here, as an update; None if nothing was new.

        Raises:
            UpdateGap: it depends on changes not here; nothing was changed.
            UpdateRefused: it is malformed, nests too deeply, or writes this replica's own client
                id; nothing was changed.
            ReplicaPoisoned: see there.
        """
        self._check_alive()
        if summary is None:
            summary = inspect_update(update)
        _require(summary, self._clocks)
        own = summary.clients.get(self._client_id)
        if own is not None and own.end > self._clocks.get(self._client_id, 0):
            raise UpdateRefused("the update writes in the name of this very replica")
        if summary.is_empty:
            return None
        depths = self._nesting.check(summary)
        effective = self._transact(lambda: self._apply_one(update))
        self._nesting.note(depths, self._clocks)
        self._note(update, effective, summary)
        return effective

    def would_change(self, update: bytes, summary: UpdateSummary) -> bool:
        """Whether `apply` would bring anything new. Changes nothing; slow for big documents.

        Args:
            update: a Yjs v1 update.
            summary: what `inspect_update` said of exactly these bytes.
        """
        self._check_alive()
        if summary.is_empty:
            return False
        if any(span.end > self._clocks.get(client, 0) for client, span in summary.clients.items()):
            return True
        changes: list[object] = []  # it may still delete something: see what it does to a copy
        trial: pycrdt.Doc[Any] = pycrdt.Doc(client_id=_NORMALISING_CLIENT)
        trial.apply_update(self.encode_state())
        subscription = trial.observe(changes.append)
        try:
            trial.apply_update(update)
        except ValueError:  # `apply` says so in better words
            return True
        finally:
            trial.unobserve(subscription)
        return bool(changes)

    def edit(self, change: Callable[[], None]) -> bytes | None:
        """Run `change` on `doc` as one transaction.

        Arguments must have been checked before: transactions do not roll back, so an error
        inside `change` poisons the replica.

        Returns:
            What changed, as an update; None if nothing did.
        """
        self._check_alive()
        effective = self._transact(change)
        if effective is not None:
            summary = inspect_update(effective)
            self._nesting.note(self._nesting.measure(summary), self._clocks)
            for client, span in summary.clients.items():
                self._clocks[client] = span.end
        return effective

    def state_vector(self) -> bytes:
        """The encoded state vector, for sync step 1. Deletions do not move it."""
        return self.doc.get_state()

    def clocks(self) -> dict[int, int]:
        """By client id, the first clock not yet here."""
        self._check_alive()
        return dict(self._clocks)

    def clock_of(self, client_id: int) -> int:
        """The first clock of one client that is not yet here."""
        return self._clocks.get(client_id, 0)

    def encode_state(self) -> bytes:
        """Everything, as one update. Not canonical: equal replicas may differ here."""
        return self.doc.get_update()

    def diff(self, state_vector: bytes) -> bytes:
        """What a replica at `state_vector` lacks, with all deletions.

        Raises:
            UpdateRefused: the state vector is malformed.
        """
        decode_state_vector(state_vector)
        return self._guarded(lambda: self._doc.get_update(state_vector))

    def normalised(self) -> bytes:
        """Everything, as one update, in the encoding every equal replica arrives at (PROTOCOL §3)."""
        fresh: pycrdt.Doc[Any] = pycrdt.Doc(client_id=_NORMALISING_CLIENT)
        self._guarded(lambda: fresh.apply_update(self._doc.get_update()))
        return canonical_update(fresh.get_update())

    def digest(self) -> bytes:
        """32 bytes, equal on equal replicas; SHA-256 over `normalised` (PROTOCOL §3)."""
        return hashlib.sha256(_DIGEST_DOMAIN + self.normalised()).digest()

    def text(self) -> str:
        """The text document's text; one U+FFFC for each embedded object."""
        return TextMap(self._text().diff()).text

    def apply_splices(self, splices: Iterable[Splice]) -> bytes | None:
        """Edit the text document.

        Args:
            splices: (position, code points to delete, text to insert); positions in the text
                as it is now, ascending, not overlapping.

        Returns:
            What changed, as an update; None if nothing did.

        Raises:
            UsageError: a splice lies outside the text or cannot be stored; nothing was changed.
        """
        root = self._text()
        checked = check_splices(splices, len(self.text()))
        return self.edit(lambda: splice_text(root, checked)) if checked else None

    def append_text(self, text: str) -> bytes | None:
        """Add to the end of the text document."""
        return self.apply_splices([(len(self.text()), 0, text)]) if text else None

    def read_page(self) -> list[PlainNode]:
        """The page's blocks as a plain tree."""
        body = self._body()
        with self._doc.transaction():
            return self._guarded(lambda: read_page(body))

    def check_page(self) -> list[str]:
        """Names of elements and marks in the page that the schema does not know; empty is good."""
        return unknown_names(self.read_page())

    def edit_page(self, edits: Iterable[PageEdit]) -> bytes | None:
        """Edit the page's blocks.

        Args:
            edits: see `PageEdit`; block numbers in the page as it is now, ascending, not overlapping.

        Returns:
            What changed, as an update; None if nothing did.

        Raises:
            UsageError: an edit does not fit the page; nothing was changed.
        """
        body = self._body()
        checked = check_edits(self.read_page(), edits)
        return self.edit(lambda: edit_page(body, checked)) if checked else None

    def append_blocks(self, blocks: Sequence[PlainNode]) -> bytes | None:
        """Add blocks to the end of the page."""
        return self.edit_page([(len(self._body().children), 0, blocks, None)]) if blocks else None

    def _text(self) -> pycrdt.Text:
        text: pycrdt.Text = self.doc.get(TEXT, type=pycrdt.Text)
        return text

    def _body(self) -> pycrdt.XmlFragment:
        body: pycrdt.XmlFragment = self.doc.get(BODY, type=pycrdt.XmlFragment)
        return body

    def _transact(self, change: Callable[[], None]) -> bytes | None:
        effective: list[bytes] = []
        # Observed for this one transaction only: an observer that stays keeps the document alive
        # for ever, through native references that Python's collector cannot see.
        subscription = self._doc.observe(lambda event: effective.append(event.update))
        try:
            self._guarded(lambda: self._in_transaction(change))
        finally:
            self._doc.unobserve(subscription)
        # One transaction, one event; it fires only when something changed.
        assert len(effective) <= 1
        return effective[0] if effective else None

    def _in_transaction(self, change: Callable[[], None]) -> None:
        with self._doc.transaction():
            change()

    def _apply_all(self, updates: Iterable[bytes]) -> None:
        with self._doc.transaction():
            for update in updates:
                self._apply_one(update)

    def _apply_one(self, update: bytes) -> None:
        try:
            self._doc.apply_update(update)
        except ValueError as error:  # raised while decoding, before anything is changed
            raise UpdateRefused(f"the update cannot be read: {error}") from error

    def _note(self, update: bytes, effective: bytes | None, summary: UpdateSummary) -> None:
        """Invariant 2: what the update promised has arrived, nothing is pending."""
        brought = (
            {}
            if effective is None
            else summary.clients
            if effective == update
            else inspect_update(effective).clients
        )
        for client, span in summary.clients.items():
            known = self._clocks.get(client, 0)
            if span.end <= known:
                continue
            if client not in brought or brought[client] != (known, span.end):
                raise self._poison("an accepted update stayed pending")
            self._clocks[client] = span.end

    def _guarded(self, call: Callable[[], ResultT]) -> ResultT:
        """Run native code; whatever it raises but a refusal poisons the replica.

        A Rust panic arrives as `PanicException`, a BaseException that cannot be imported.
        """
        try:
            return call()
        except UpdateRefused:
            raise
        except BaseException as error:
            if isinstance(error, Exception) or type(error).__name__ == "PanicException":
                raise self._poison(str(error)) from error
            raise

    def _poison(self, reason: str) -> ReplicaPoisoned:
        self._poisoned = True
        return ReplicaPoisoned(f"the document must be rebuilt: {reason}")

    def _check_alive(self) -> None:
        if self._poisoned:
            raise ReplicaPoisoned("the document must be rebuilt")


def draw_client_id(entropy: Entropy) -> int:
    """A random Yjs client id, 1 … 2^53-1; never store it."""
    return int.from_bytes(entropy(7), "big") % INTEGER_MAX + 1


def merge_updates(updates: Sequence[bytes]) -> bytes:
    """One update with the effect of all, without a document.

    Raises:
        UpdateRefused: one of them is refused, or between them there is a hole: then
            they are kept as they are.
    """
    for update in updates:
        inspect_update(update)
    if len(updates) < 2:
        return updates[0] if updates else EMPTY_UPDATE
    try:
        merged = pycrdt.merge_updates(*updates)
    except BaseException as error:
        if isinstance(error, Exception) or type(error).__name__ == "PanicException":
            raise UpdateRefused(f"the updates cannot be merged: {error}") from error
        raise
    inspect_update(merged)
    return merged


def _require(summary: UpdateSummary, clocks: Mapping[int, int]) -> None:
    missing = {
        client: clock for client, clock in summary.dependencies.items() if clocks.get(client, 0) < clock
    }
    if missing:
        raise UpdateGap(missing)
