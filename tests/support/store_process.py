"""A process that commits to a store and says on standard output what is durable.

`python -m tests.support.store_process DATA_DIR FIRST [COUNT]`: commits numbers from FIRST
on, several at a time, one line per acknowledged number; the tests kill it. Each number is
one batch: an envelope with that sequence, a pending edit, the log's head, and the edit
before it done - the transaction of a keystroke.
"""

from __future__ import annotations

import asyncio
import itertools
import os
import subprocess
import sys
from pathlib import Path

from sheaf.core.base.errors import SheafError
from sheaf.ports import Store, WriteBatch
from sheaf.storage import DataDirBusy, open_store
from tests.support.repository import ROOT
from tests.support.store_rows import Rows, SystemClock

ROWS = Rows("process")
WRITERS = 4


def start(
    data_dir: Path, first: int = 0, count: int | None = None, *, failpoint: str = ""
) -> subprocess.Popen[str]:
    """Run this module as a process of its own."""
    command = [
        sys.executable,
        "-m",
        "tests.support.store_process",
        str(data_dir),
        str(first),
        *([str(count)] if count else []),
    ]
    environment = {**os.environ, "SHEAF_FAILPOINT": failpoint, "PYTHONPATH": str(ROOT)}
    return subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=ROOT, env=environment
    )


def batch(number: int) -> WriteBatch:
    """The transaction of keystroke `number`."""
    return WriteBatch(
        logs=[ROWS.log(next_seq=number + 1)],
        envelopes=[ROWS.envelope(number, docs=(number % 5,), size=300)],
        pending=[ROWS.pending(number + 1)],
        pending_done=[number],
    )


async def stored_numbers(store: Store) -> list[int]:
    """Which keystrokes a store holds, checked to be whole."""
    logs = await store.logs(ROWS.space_id)
    if not logs:
        return []
    run = await store.run(ROWS.space_id, ROWS.log_id(), 0, 10**9)
    count = len(run.envelopes)
    assert run.envelopes == tuple(ROWS.envelope(seq, size=300).raw for seq in range(count))
    assert logs == [ROWS.log(next_seq=count)]
    left = [row.pending_id for row in await store.pending(ROWS.space_id)]
    assert left == ([count] if count else [])
    return list(range(count))


async def _work(data_dir: Path, first: int, count: int | None) -> None:
    store = await open_store(data_dir, clock=SystemClock())
    if first == 0:
        await store.commit(ROWS.beginning())
    print("open", flush=True)
    numbers = itertools.islice(itertools.count(first), count)

    async def write() -> None:
        for number in numbers:
            await store.commit(batch(number))
            print(number, flush=True)

    await asyncio.gather(*(write() for _ in range(WRITERS)))
    await store.close()


def main() -> int:
    """Run until killed, or until `count` is reached."""
    data_dir, first, *count = sys.argv[1:]
    try:
        asyncio.run(_work(Path(data_dir), int(first), int(count[0]) if count else None))
    except DataDirBusy as error:
        print(error, file=sys.stderr)
        return error.exit_code
    except SheafError as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
