"""A small package index on loopback, for tests of what pip does beside newer releases.

Implements the simple repository API (PEP 503) for wheels made in memory. It notes every file that is fetched.
"""

from __future__ import annotations

import hashlib
import io
import threading
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


@dataclass(frozen=True, slots=True)
class Release:
    """One version of a pure-Python distribution that consists of one module."""

    name: str
    version: str
    requires: Sequence[str] = ()
    """`Requires-Dist` lines, with extras and markers."""
    extras: Sequence[str] = ()
    module: str = ""
    """The text of the module, which has the distribution's name."""

    @property
    def filename(self) -> str:
        """The wheel's file name."""
        return f"{self.name}-{self.version}-py3-none-any.whl"

    def wheel(self) -> bytes:
        """Return the wheel; the same release always gives the same bytes."""
        info = f"{self.name}-{self.version}.dist-info"
        metadata = ["Metadata-Version: 2.1", f"Name: {self.name}", f"Version: {self.version}"]
        metadata += [f"Provides-Extra: {extra}" for extra in self.extras]
        metadata += [f"Requires-Dist: {requirement}" for requirement in self.requires]
        tags = "Wheel-Version: 1.0\nGenerator: tests\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
        members = {
            f"{self.name}.py": self.module,
            f"{info}/METADATA": "\n".join(metadata) + "\n",
            f"{info}/WHEEL": tags,
        }
        record = "".join(f"{member},,\n" for member in [*members, f"{info}/RECORD"])
        buffer = io.BytesIO()
        with zipfile.ZipFile(buffer, "w") as archive:
            for member, text in {**members, f"{info}/RECORD": record}.items():
                archive.writestr(zipfile.ZipInfo(member), text)
        return buffer.getvalue()

    def pin(self) -> str:
        """Return the line of a lock file that allows exactly this wheel."""
        digest = hashlib.sha256(self.wheel()).hexdigest()
        return f"{self.name}=={self.version} \\\n    --hash=sha256:{digest}\n"


@dataclass(slots=True)
class Index:
    """A running index."""

    url: str
    fetched: list[str] = field(default_factory=list)
    """File names, in the order in which they were fetched."""


@contextmanager
def serve_index(releases: Sequence[Release]) -> Iterator[Index]:
    """Serve `releases` until the context ends."""
    files = {release.filename: release.wheel() for release in releases}
    names = {release.filename: release.name for release in releases}
    fetched: list[str] = []
    with ThreadingHTTPServer(("127.0.0.1", 0), _handler(files, names, fetched)) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        try:
            yield Index(url=f"http://127.0.0.1:{server.server_port}/simple/", fetched=fetched)
        finally:
            server.shutdown()
            thread.join()


def _handler(
    files: Mapping[str, bytes], names: Mapping[str, str], fetched: list[str]
) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            folder, _, name = self.path.strip("/").partition("/")
            body = None
            if folder == "simple":
                found = [file for file, owner in names.items() if owner == name]
                links = "".join(f'<a href="/files/{file}">{file}</a>' for file in found)
                body = f"<!DOCTYPE html><html><body>{links}</body></html>".encode() if found else None
            elif name in files:
                fetched.append(name)
                body = files[name]
            self.send_response(404 if body is None else 200)
            self.send_header("Content-Type", "text/html" if folder == "simple" else "application/zip")
            self.end_headers()
            self.wfile.write(body or b"")

        def log_message(self, format: str, *args: object) -> None:
            """Say nothing: the test looks at `fetched`."""

    return Handler
