"""Finding a Chromium: the order of places, and the loud end when there is none."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support import browser


@pytest.fixture(autouse=True)
def bare_machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Pretend a machine with nothing on its PATH and nothing downloaded; yield the folder on its PATH."""
    commands = tmp_path / "bin"
    commands.mkdir()
    monkeypatch.delenv("E2E_CHROMIUM", raising=False)
    monkeypatch.setenv("PATH", str(commands))
    monkeypatch.setenv("PLAYWRIGHT_BROWSERS_PATH", str(tmp_path / "downloads"))
    monkeypatch.setattr(browser, "_run", lambda *command: None)
    browser.chromium.cache_clear()
    yield commands
    browser.chromium.cache_clear()


def executable(path: Path) -> Path:
    """Make an empty program at `path`."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("#!/bin/sh\n")
    path.chmod(0o755)
    return path


def test_the_named_browser_goes_first(bare_machine: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    executable(bare_machine / "chromium")
    named = executable(bare_machine.parent / "my-chromium")
    monkeypatch.setenv("E2E_CHROMIUM", str(named))
    assert browser.chromium() == named


def test_a_wrong_name_is_an_error_and_not_a_hint(bare_machine: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    executable(bare_machine / "chromium")
    monkeypatch.setenv("E2E_CHROMIUM", "/nowhere/chromium")
    with pytest.raises(browser.NoChromiumError, match="/nowhere/chromium"):
        browser.chromium()


def test_the_headless_shell_goes_before_a_whole_browser(bare_machine: Path) -> None:
    executable(bare_machine / "google-chrome")
    shell = executable(bare_machine / "chromium-headless-shell")
    assert browser.chromium() == shell


def test_what_playwright_downloaded_is_used(bare_machine: Path) -> None:
    downloads = bare_machine.parent / "downloads"
    path = executable(downloads / "chromium_headless_shell-1200" / "chrome-linux" / "headless_shell")
    assert browser.chromium() == path


def test_debians_package_is_installed_when_that_is_possible(
    bare_machine: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    executable(bare_machine / "apt-get")
    tried: list[tuple[str, ...]] = []

    def run(*command: str) -> None:
        tried.append(command)
        if "chromium-headless-shell" in command:
            executable(bare_machine / "chromium-headless-shell")

    monkeypatch.setattr(browser, "_run", run)
    monkeypatch.setattr("os.geteuid", lambda: 0)
    assert browser.chromium() == bare_machine / "chromium-headless-shell"
    assert [command[0] for command in tried] == ["apt-get", "apt-get"]


def test_without_root_playwright_is_asked_and_failing_that_it_is_said_loudly(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    tried: list[tuple[str, ...]] = []
    monkeypatch.setattr(browser, "_run", lambda *command: tried.append(command))
    monkeypatch.setattr("os.geteuid", lambda: 1000)
    with pytest.raises(browser.NoChromiumError, match="E2E_CHROMIUM"):
        browser.chromium()
    assert [command[1:4] for command in tried] == [("-m", "playwright", "install")]


def test_the_flags_keep_the_browser_from_talking_to_anybody() -> None:
    assert shutil.which("chromium") is None
    assert {"--disable-background-networking", "--disable-sync", "--headless"} <= set(browser.FLAGS)
