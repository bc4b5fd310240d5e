"""What `sheaf up` loads."""

from __future__ import annotations

import subprocess
import sys


def test_the_daemon_does_without_rich() -> None:
    code = (
        "import sys\nfrom sheaf.cli import up\nup._skip_rich()\nimport sheaf.compose\n"
        "print(*(name for name, module in sys.modules.items() if name.startswith('rich') and module))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True
    )
    assert done.stdout.split() == []
