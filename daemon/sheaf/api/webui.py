"""The web editor's files: the built bundle, and its index for every page address.

Assets have hashed names and may be kept for ever; everything else is `no-store` (the door
sees to it). When the bundle was not built, a page says how to get it.
"""

from __future__ import annotations

import html
from pathlib import Path
from typing import Final

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import FileResponse, HTMLResponse, Response
from starlette.routing import Route

_ASSETS: Final = "assets/"
_FOR_EVER: Final = "public, max-age=31536000, immutable"
_PAGE_PREFIXES: Final = ("d/", "s/")
_MEDIA_TYPES: Final = {
    ".webmanifest": "application/manifest+json",
    ".js": "text/javascript",
    ".wasm": "application/wasm",
}


class WebEditor:
    """Serves files below `directory` and the index for `/`, `/d/…`, `/s/…`."""

    def __init__(self, directory: Path | None) -> None:
        self._directory = directory.resolve() if directory is not None else None

    def routes(self) -> list[Route]:
        """To be mounted last: it answers whatever nobody else did."""
        return [Route("/{path:path}", self.serve, methods=["GET", "HEAD"], include_in_schema=False)]

    async def serve(self, request: Request) -> Response:
        """One file, or the index."""
        path = str(request.path_params["path"])
        if path == "" or path.startswith(_PAGE_PREFIXES):
            return self._index()
        file = self._find(path)
        if file is None:
            raise HTTPException(404)
        headers = {"Cache-Control": _FOR_EVER} if path.startswith(_ASSETS) else None
        return FileResponse(file, media_type=_MEDIA_TYPES.get(file.suffix), headers=headers)

    def _find(self, path: str) -> Path | None:
        """A regular file of the bundle; hidden files, links and steps outside are not found."""
        if self._directory is None or "\0" in path or any(part.startswith(".") for part in path.split("/")):
            return None
        try:
            file = (self._directory / path).resolve(strict=True)
        except OSError:
            return None
        return file if file.is_file() and file.is_relative_to(self._directory) else None

    def _index(self) -> Response:
        index = self._find("index.html")
        if index is not None:
            return FileResponse(index, media_type="text/html; charset=utf-8")
        return HTMLResponse(
            _NOT_BUILT.format(directory=html.escape(str(self._directory or "webui_dist"))), 503
        )


_NOT_BUILT: Final = """<!doctype html>
<html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<title>Sheaf</title>
<body style="font:16px/1.5 system-ui;max-width:40rem;margin:4rem auto;padding:0 1rem">
<h1>The web editor is not built</h1>
<p>The daemon runs, but there is no editor in <code>{directory}</code>.</p>
<p>Run <code>make run</code> in the source tree, or install Sheaf from its wheel, then reload this page.
The command line (<code>sheaf doc show</code>, <code>sheaf doc write</code>) works without it.</p>
</html>
"""
