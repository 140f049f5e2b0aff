"""Errors of a server in the form of OpenAI's API."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from fastapi import Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException

from deft_llm.errors import UserError
from deft_llm.service.limits import public

_ROUTES = "POST /v1/chat/completions, POST /v1/files, GET /v1/models and GET /healthz"


class ApiError(Exception):
    """A request that is refused, in OpenAI's terms."""

    def __init__(
        self, message: str, status: int = 400, code: str | None = None, param: str | None = None
    ) -> None:
        super().__init__(message)
        self.status, self.code, self.param = status, code, param


def error_response(
    message: str, status: int, code: str | None = None, param: str | None = None
) -> JSONResponse:
    """An error in OpenAI's form."""
    kinds = {401: "authentication_error", 429: "rate_limit_error"}
    kind = "server_error" if status >= 500 else kinds.get(status, "invalid_request_error")
    error = {"message": message, "type": kind, "param": param, "code": code}
    # Clients of OpenAI wait so many seconds and try again by themselves.
    headers = {401: {"WWW-Authenticate": "Bearer"}, 429: {"Retry-After": "5"}}.get(status)
    return JSONResponse({"error": error}, status, headers=headers)


async def _refused(_: Request, error: Any) -> JSONResponse:
    return error_response(str(error), error.status, error.code, error.param)


async def _user_error(_: Request, error: Any) -> JSONResponse:
    return error_response(public(error), 400)


async def _malformed(_: Request, error: Any) -> JSONResponse:
    # Fields that are wrong together are mended one by one, as with any other client.
    first = error.errors()[0]
    if first["type"] == "json_invalid":
        reason = f"{first['ctx']['error']} at character {first['loc'][-1] + 1}"
        return error_response(f"body: not JSON ({reason})", 400)
    place = ".".join(str(name) for name in first["loc"] if name != "body")
    message = f"{place or 'body'}: {first['msg']}; expected JSON as OpenAI's chat API has it"
    return error_response(message, 400, param=place or None)


async def _http_error(request: Request, error: Any) -> JSONResponse:
    if error.status_code in (404, 405):
        message = f"{request.method} {request.url.path}: not here; there are {_ROUTES}"
        return error_response(message, error.status_code)
    return error_response(str(error.detail), error.status_code)


async def _fault(_: Request, error: Any) -> JSONResponse:
    # Its text may name files of this machine; the log has it.
    return error_response("internal error; the server's log says more", 500)


HANDLERS: dict[type[Exception], Callable[..., Any]] = {
    ApiError: _refused,
    UserError: _user_error,
    RequestValidationError: _malformed,
    HTTPException: _http_error,
    Exception: _fault,
}
