"""`python -m sheaf.api.openapi > webui/openapi.json`: the API description, for generated clients."""

from __future__ import annotations

import json
import sys

from sheaf.api.app import make_api


def description() -> str:
    """The OpenAPI document as JSON text, the same for the same source."""
    return json.dumps(make_api().openapi(), indent=2, ensure_ascii=False, sort_keys=True) + "\n"


if __name__ == "__main__":
    sys.stdout.write(description())
