"""What the end-to-end tests share."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.world import Town, town


@pytest.fixture
def here(tmp_path: Path) -> Iterator[Town]:
    """Daemons on this machine; all ended with the test."""
    with town(tmp_path) as made:
        yield made
