"""Errors as RFC 9457 problem documents.

Every expected error has one status here; `detail` is the error's own text, which is
written for people. Anything unexpected becomes a plain 500 by the server.
"""

from __future__ import annotations

import logging
from http import HTTPStatus
from typing import Final

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, Response
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect

from sheaf.core.base.errors import (
    Busy,
    NotAllowed,
    NotFound,
    ProtocolViolation,
    SheafError,
    StorageFailure,
    TooMuchWork,
    TransportFailure,
    UsageError,
)
from sheaf.core.base.ids import IdError

_log = logging.getLogger("sheaf.api")

MEDIA_TYPE: Final = "application/problem+json"

_STATUS: Final[tuple[tuple[type[Exception], int, str], ...]] = (
    (NotFound, 404, "Not here"),
    (NotAllowed, 403, "Not allowed"),
    (TooMuchWork, 422, "Too much work"),
    (UsageError, 422, "That does not work"),
    (ProtocolViolation, 422, "Refused"),
    (Busy, 503, "Busy"),
    (StorageFailure, 503, "Not saved"),
    (TransportFailure, 502, "No connection"),
    (SheafError, 500, "Something went wrong"),
)
"""Most specific first."""


def problem(status: int, title: str, detail: str | None = None) -> JSONResponse:
    """A problem document; `type` is about:blank, so `status` and `title` say what kind it is."""
    body: dict[str, str | int] = {"type": "about:blank", "title": title, "status": status}
    if detail:
        body["detail"] = detail
    return JSONResponse(body, status_code=status, media_type=MEDIA_TYPE)


def problem_of(error: SheafError) -> JSONResponse:
    """The answer for an expected error."""
    for kind, status, title in _STATUS:
        if isinstance(error, kind):
            return problem(status, title, str(error))
    raise AssertionError("SheafError is in the table")


def install(app: FastAPI) -> None:
    """Make `app` answer every expected error with a problem document."""

    async def on_sheaf_error(_request: Request, error: Exception) -> JSONResponse:
        assert isinstance(error, SheafError)
        return problem_of(error)

    async def on_bad_id(_request: Request, error: Exception) -> JSONResponse:
        return problem(404, "Not here", f"{str(error)[:1].upper()}{str(error)[1:]}.")

    async def on_http_error(_request: Request, error: Exception) -> JSONResponse:
        assert isinstance(error, HTTPException)
        answer = problem(error.status_code, HTTPStatus(error.status_code).phrase, error.detail)
        answer.headers.update(error.headers or {})
        return answer

    async def on_invalid(_request: Request, error: Exception) -> JSONResponse:
        assert isinstance(error, RequestValidationError)
        return problem(422, "The request does not fit", _explain(error))

    async def on_broken_off(request: Request, _error: Exception) -> Response:
        """An upload whose sender left: nobody reads the answer (starlette's ClientDisconnect)."""
        _log.info("upload broken off", extra={"method": request.method, "path": request.url.path})
        return Response(status_code=HTTPStatus.BAD_REQUEST)

    app.add_exception_handler(ClientDisconnect, on_broken_off)
    app.add_exception_handler(SheafError, on_sheaf_error)
    app.add_exception_handler(IdError, on_bad_id)
    app.add_exception_handler(HTTPException, on_http_error)
    app.add_exception_handler(RequestValidationError, on_invalid)


def _explain(error: RequestValidationError) -> str:
    """What is wrong with each field; never the value, which may be somebody's text or token."""
    return "; ".join(
        f"{'.'.join(str(part) for part in item['loc'])}: {item['msg']}" for item in error.errors()[:8]
    )
