"""From a run off the wire to verified envelopes (PROTOCOL §3, "Ingest order").

shape → known log → contiguous (else held) → chain of ids → one signature for the run →
control heads known (else held) and growing → author allowed in the view of those heads
(else the log is frozen) → stored → released when its dependencies and key are here.

Pure: the caller stores what comes back. What is held is bounded by `limits.HELD_*` over
the whole space; what does not fit is forgotten and named in `want`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from sheaf.core.base.errors import ProtocolViolation
from sheaf.core.base.ids import EpochId, LogId, OpId
from sheaf.core.base.limits import LOGS_MAX
from sheaf.core.crypto.key_schedule import SpaceKeys
from sheaf.core.space.chain import is_signed, verify_chain
from sheaf.core.space.control_dag import ControlDag
from sheaf.core.space.envelope import Envelope, envelope_id
from sheaf.core.space.held_runs import HeldRuns
from sheaf.core.space.log_genesis import decode_log_genesis
from sheaf.core.space.log_set import LogHead, LogSet
from sheaf.core.space.membership import Membership
from sheaf.core.space.release import Entry, Releaser
from sheaf.core.space.run import Fork, IngestResult, LogState, Run


class _Work:
    """What one call has found so far."""

    def __init__(self) -> None:
        self.entries: list[Entry] = []
        self.released: list[Entry] = []
        self.new_logs: list[LogId] = []
        self.changed: dict[LogId, None] = {}
        self.want: dict[LogId, int] = {}
        self.need_ops = False
        self.refused: str | None = None
        self.frozen: list[LogId] = []
        self.forks: list[Fork] = []
        self.reopen = False


class Ingest:
    """The way in for other devices' envelopes; one per space.

    Args:
        control: the control plane's history.
        logs: the heads; advanced here.
        membership_at: cached evaluation at a set of heads.
        keys_of: keys of an epoch, None while unknown.
    """

    def __init__(
        self,
        *,
        control: ControlDag,
        logs: LogSet,
        membership_at: Callable[[tuple[OpId, ...]], Membership],
        keys_of: Callable[[EpochId], SpaceKeys | None],
    ) -> None:
        self._control = control
        self._logs = logs
        self._membership_at = membership_at
        self.releaser = Releaser(logs, keys_of)
        self._held = HeldRuns()

    @property
    def held(self) -> int:
        """Envelopes kept in memory only."""
        return self._held.envelopes

    def run(self, run: Run) -> IngestResult:
        """Take in one run; idempotent, in any order of runs."""
        work = _Work()
        self._take(run, work)
        self._take_unblocked(run.log_id, work)
        return self._finish(work)

    def retry_held(self) -> IngestResult:
        """Try what was held again, after control ops or keys came."""
        work = _Work()
        for log_id in self._held.logs():
            self._take_unblocked(log_id, work)
        return self._finish(work)

    def reopen(self, rows: Sequence[tuple[LogId, int, bytes]]) -> IngestResult:
        """Release what can be of envelopes that were stored unopened."""
        self.releaser.reload(rows)
        return self._finish(_Work())

    # ------------------------------------------------------------ one run

    def _take(self, run: Run, work: _Work) -> None:
        head = self._logs.get(run.log_id)
        if head is None:
            head = self._new_head(run, work)
        if head is None:
            return
        if head.frozen:
            work.frozen.append(head.log_id)
            return
        if run.first_seq > head.next_seq:
            self._hold(run, head.next_seq, work)
            return
        known = head.next_seq - run.first_seq
        self._look_for_fork(head, run, known, work)
        fresh = run.envelopes[known:]
        if fresh and not head.frozen:
            self._append(head, run, fresh, work)

    def _new_head(self, run: Run, work: _Work) -> LogHead | None:
        """The head of a log not seen before; None when it cannot begin (yet)."""
        if run.genesis is None:
            work.want[run.log_id] = 1
            return None
        try:
            genesis = decode_log_genesis(run.genesis)
        except ProtocolViolation as error:
            work.refused = str(error)
            return None
        if genesis.log_id != run.log_id or genesis.space_id != self._logs.space_id:
            work.refused = "log genesis of another log or space"
        elif not self._control.knows(genesis.auth):
            work.need_ops = True
            self._hold(run, 1, work)
        elif not self._membership_at(genesis.auth).can_write(genesis.certificate.device):
            work.refused = "log of a device that may not write"
        elif len(self._logs) >= LOGS_MAX:
            work.refused = "the space has too many logs"
        else:
            return LogHead(genesis)
        return None

    def _append(self, head: LogHead, run: Run, fresh: Sequence[bytes], work: _Work) -> None:
        chain, problem = verify_chain(head, fresh)
        if problem is not None:
            work.refused = problem
        allowed, auth, is_blocked = self._authorised(head, chain, work)
        if allowed:
            self._store(head, chain[:allowed], auth, work)
        if is_blocked:
            rest = run.envelopes[len(run.envelopes) - len(fresh) + allowed :]
            self._hold(Run(run.log_id, head.next_seq, run.genesis, rest), head.next_seq, work)

    def _store(
        self, head: LogHead, chain: Sequence[tuple[Envelope, bytes]], auth: tuple[OpId, ...], work: _Work
    ) -> None:
        if head.log_id not in self._logs:
            self._logs.add(head)
            work.new_logs.append(head.log_id)
        entries = []
        for seq, (envelope, env_id) in enumerate(chain, head.next_seq):
            entries.append(Entry(head, seq, env_id, envelope))
            if envelope.epoch is not None:
                head.epoch = envelope.epoch
        head.append([env_id for _, env_id in chain])
        head.auth = self._logs.intern(auth)
        work.entries += entries
        work.changed[head.log_id] = None
        self.releaser.add(entries)
        self._drain(work)

    def _drain(self, work: _Work) -> None:
        released, changed, needs_reload = self.releaser.drain()
        work.released += released
        work.changed |= changed
        work.reopen |= needs_reload

    # ------------------------------------------------------------ authority

    def _authorised(
        self, head: LogHead, chain: Sequence[tuple[Envelope, bytes]], work: _Work
    ) -> tuple[int, tuple[OpId, ...], bool]:
        """How many of the chain may be stored, the heads then in force, and whether the
        next one waits for control ops. Freezes the log at what breaks the rules."""
        auth = head.auth
        has_epoch = head.epoch is not None
        for count, (envelope, _) in enumerate(chain):
            has_epoch = has_epoch or envelope.epoch is not None
            if not has_epoch:
                self._freeze(head, "an envelope before any epoch", work)
                return count, auth, False
            if envelope.auth is None:
                continue
            if not self._control.knows(envelope.auth):
                work.need_ops = True
                return count, auth, True
            reason = self._authority_problem(head, auth, envelope.auth)
            if reason is not None:
                self._freeze(head, reason, work)
                return count, auth, False
            auth = envelope.auth
        return len(chain), auth, False

    def _authority_problem(self, head: LogHead, old: tuple[OpId, ...], new: tuple[OpId, ...]) -> str | None:
        past = self._control.mask(new)
        for op_id in old:
            position = self._control.position(op_id)
            if position is None or not past >> position & 1:
                return "its author's control heads went backwards"
        if not self._membership_at(new).can_write(head.device_id):
            return "its author may not write any more, and knew"
        return None

    def _freeze(self, head: LogHead, reason: str, work: _Work) -> None:
        head.frozen = reason
        work.frozen.append(head.log_id)
        if head.log_id in self._logs:
            work.changed[head.log_id] = None

    def _look_for_fork(self, head: LogHead, run: Run, known: int, work: _Work) -> None:
        """Compare what overlaps with the ids still remembered."""
        for index in range(max(0, known - len(head.recent) // 32), min(known, len(run.envelopes))):
            seq = run.first_seq + index
            raw = run.envelopes[index]
            expected, previous = head.recent_id(seq), head.previous_of(seq)
            if expected is None or previous is None:
                continue
            if envelope_id(head.prefix, seq, previous, raw) == expected:
                continue
            if is_signed(head, seq, previous, raw):
                work.forks.append(Fork(head.log_id, seq, raw))
                self._freeze(head, "its author signed two envelopes for one position", work)
            else:
                work.refused = "another envelope at a known position"
            return

    # ------------------------------------------------------------ holding

    def _hold(self, run: Run, next_seq: int, work: _Work) -> None:
        """Keep a run that cannot go on yet; name what to ask for again."""
        is_kept = self._held.keep(run)
        if run.first_seq > next_seq or not is_kept:
            work.want[run.log_id] = next_seq

    def _take_unblocked(self, log_id: LogId, work: _Work) -> None:
        """Take the held runs of a log whose gap has closed; name the gap that is left."""
        while not work.need_ops:
            head = self._logs.get(log_id)
            next_seq = 1 if head is None else head.next_seq
            run = self._held.take(log_id, next_seq)
            if run is None:
                if log_id in self._held:
                    work.want[log_id] = next_seq
                return
            work.want.pop(log_id, None)
            self._take(run, work)

    # ------------------------------------------------------------ the result

    def _finish(self, work: _Work) -> IngestResult:
        self._drain(work)
        results = {id(entry): entry.result() for entry in work.entries}
        released = [results.get(id(entry)) or entry.result() for entry in work.released]
        states: list[LogState] = []
        for log_id in work.changed:
            head = self._logs.get(log_id)
            if head is not None:
                states.append(head.state())
        return IngestResult(
            accepted=tuple(results.values()),
            opened=tuple(r for r, e in zip(released, work.released, strict=True) if id(e) not in results),
            released=tuple(released),
            new_logs=tuple(work.new_logs),
            log_states=tuple(states),
            held=self._held.envelopes,
            want=tuple(work.want.items()),
            need_ops=work.need_ops,
            refused=work.refused,
            frozen=tuple(work.frozen),
            forks=tuple(work.forks),
            reopen=work.reopen,
        )
