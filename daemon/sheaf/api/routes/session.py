"""Signing a browser in and out, launch links, the scripts' token."""

from __future__ import annotations

from fastapi import APIRouter, Response

from sheaf.api.access import cookie_name
from sheaf.api.auth import SESSION_AGE_S
from sheaf.api.context import Context, GrantDep
from sheaf.api.problems import problem
from sheaf.api.schemas import LaunchLink, SessionIn, Token

router = APIRouter(tags=["session"])


@router.post("/session", status_code=204, response_class=Response)
async def sign_in(body: SessionIn, context: Context) -> Response:
    """Exchange the one-time token of a launch link for a session cookie."""
    secret = context.auth.redeem(body.token)
    if secret is None:
        return problem(
            401,
            "The link does not work",
            "It was used before or is too old. Get a new one with `sheaf open`.",
        )
    answer = Response(status_code=204)
    answer.set_cookie(
        cookie_name(context.port),
        secret,
        max_age=int(SESSION_AGE_S),
        path="/",
        httponly=True,
        samesite="strict",
    )
    return answer


@router.delete("/session", status_code=204, response_class=Response)
async def sign_out(context: Context, grant: GrantDep) -> Response:
    """End this session; its open tabs are cut off."""
    if grant is not None and grant.is_session:
        context.auth.revoke(grant)
    answer = Response(status_code=204)
    answer.delete_cookie(cookie_name(context.port), path="/", httponly=True, samesite="strict")
    return answer


@router.delete("/sessions", status_code=204, response_class=Response)
async def sign_everybody_out(context: Context) -> Response:
    """End every browser session."""
    context.auth.revoke_all()
    return Response(status_code=204)


@router.post("/launch", status_code=201)
async def launch(context: Context) -> LaunchLink:
    """A link that signs one browser in, once, within five minutes."""
    return LaunchLink(link=context.launch_link())


@router.post("/token", status_code=201)
async def rotate_token(context: Context) -> Token:
    """Replace the bearer token; the old one stops working at once."""
    return Token(token=context.auth.rotate_bearer())
