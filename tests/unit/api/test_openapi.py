"""The API description that clients are generated from."""

from __future__ import annotations

import json
import subprocess
import sys

from sheaf.api.openapi import description


def test_the_module_prints_the_same_document_every_time() -> None:
    printed = subprocess.run(
        [sys.executable, "-m", "sheaf.api.openapi"], capture_output=True, text=True, check=True
    ).stdout
    assert printed == description()


def test_every_operation_has_a_name_a_summary_and_a_shape() -> None:
    paths = json.loads(description())["paths"]
    operations = [(path, verb, operation) for path, item in paths.items() for verb, operation in item.items()]
    assert len(operations) >= 28
    for path, verb, operation in operations:
        assert operation["description"], (verb, path)
        success = [status for status in operation["responses"] if status.startswith("2")]
        assert success, (verb, path)


def test_what_later_work_brings_is_not_promised() -> None:
    paths = json.loads(description())["paths"]
    assert not any("search" in path or "history" in path or "blobs" in path for path in paths)
    assert set(paths["/api/v1/spaces/{space_id}/members"]) == {"get"}
