"""docs/network-scenes.md shows the scenes that are played, and the paths that the test asks for."""

from pathlib import Path

from tests.support import scene_table
from tests.support.scene_table import Outcome


def test_the_page_has_one_line_for_each_scene_with_the_path_it_must_end_on() -> None:
    advice = "play them: SHEAF_UPDATE_SCENES=1 make netns ARGS=tests/e2e/test_scenes.py"
    assert scene_table.described() == scene_table.expected(), advice


def test_the_test_writes_the_page(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    scene_table.write([Outcome("a scene", 0.25, "relay", "webrtc", 3.14, 1.5)], page)
    lines = page.read_text().splitlines()
    assert "| a scene | 0.2 s | relay | webrtc | 3.1 s | 1.5 s |" in lines
    assert max(map(len, lines)) <= 120
