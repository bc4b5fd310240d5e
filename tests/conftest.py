"""What every test shares: hypothesis profiles, a printed seed, no quiet way around a missing privilege."""

import os
import random
from collections.abc import Generator

import pytest
from hypothesis import settings

settings.register_profile("dev", deadline=None, print_blob=True)
settings.register_profile("ci", deadline=None, print_blob=True, derandomize=True)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE") or ("ci" if os.environ.get("CI") else "dev"))

SEED = int(os.environ.get("SHEAF_SEED") or random.SystemRandom().getrandbits(32))


def pytest_report_header() -> str:
    """Say how to repeat this run's random choices."""
    return f"seed: SHEAF_SEED={SEED} (hypothesis profile: {settings.get_current_profile_name()})"


@pytest.fixture
def seeded_random(request: pytest.FixtureRequest) -> random.Random:
    """Return a generator of its own per test, repeatable with the SHEAF_SEED that the header prints."""
    return random.Random(f"{SEED}:{request.node.nodeid}")


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Fail, rather than skip, a network-namespace test that was asked for without root."""
    if item.get_closest_marker("netns") and os.geteuid() != 0:
        pytest.fail("needs root: sudo make netns", pytrace=False)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Where SHEAF_NO_SKIPS is set (.ci/run sets it), a skipped test is a failed one."""
    report = yield
    is_skip = report.skipped and not hasattr(report, "wasxfail")
    if is_skip and os.environ.get("SHEAF_NO_SKIPS"):
        report.outcome = "failed"
        report.longrepr = f"skipped where nothing may be skipped: {report.longrepr}"
    return report
