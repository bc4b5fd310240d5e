"""What the end-to-end tests share."""

from collections.abc import Generator, Iterator
from pathlib import Path

import pytest

from tests.support.acquaintance import Acquaintance, make_acquaintance
from tests.support.guide_walk import copy_checkout, install_wheel
from tests.support.relay import RelayProcess
from tests.support.world import Town, town


@pytest.fixture
def here(tmp_path: Path) -> Iterator[Town]:
    """Daemons on this machine; all ended with the test."""
    with town(tmp_path) as made:
        yield made


@pytest.fixture
def relay(tmp_path: Path) -> Iterator[RelayProcess]:
    """A relay on this machine; ended with the test."""
    process = RelayProcess(tmp_path / "relay").start()
    try:
        yield process
    finally:
        process.kill()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item,
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """The daemons' logs belong to the report of a failure: on another machine nothing else is left of it."""
    report = yield
    inhabited = getattr(item, "funcargs", {}).get("here")
    if report.failed and isinstance(inhabited, Town):
        report.sections += [(f"log of {each.data_dir.name}", each.log()) for each in inhabited.daemons]
    return report


@pytest.fixture(scope="session")
def acquaintance(tmp_path_factory: pytest.TempPathFactory) -> Acquaintance:
    """Two people who joined earlier, both offline now."""
    return make_acquaintance(tmp_path_factory.mktemp("earlier"))


@pytest.fixture(scope="session")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a checkout that the walks may write into."""
    return copy_checkout(tmp_path_factory.mktemp("checkout"))


@pytest.fixture(scope="session")
def program(checkout: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the command that the checkout's wheel installs."""
    return install_wheel(checkout, tmp_path_factory.mktemp("pipx") / "sheafd")
