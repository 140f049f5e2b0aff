"""What a server refuses before it looks at a request: strangers, other sites, bodies too large."""

from __future__ import annotations

import hmac
from collections.abc import Awaitable, Callable
from typing import Any
from urllib.parse import urlsplit

from fastapi import HTTPException
from fastapi.responses import JSONResponse

from deft_llm.service.address import is_local
from deft_llm.service.limits import Limits
from deft_llm.service.openai_errors import error_response

Asgi = Callable[[Any, Any, Any], Awaitable[None]]
_OPEN = "/healthz"  # answers without a key
_UPLOADS = "/v1/files"
# What a request has beside the clip: the conversation, or the form around an upload.
_BESIDE = 2_000_000


class Guard:
    """ASGI middleware with these checks."""

    def __init__(self, app: Asgi, limits: Limits, key: str | None, local: bool) -> None:
        """Set what is let through.

        Args:
            app: The application behind it.
            limits: Sizes of uploads and of clips inside requests.
            key: What clients must send as a bearer token; None asks for none.
            local: Whether the server is for this machine only, so that it goes by no other name.
        """
        self.app, self.key, self.local = app, key, local
        # Base64 writes three bytes as four letters.
        self.most = {True: limits.file_bytes, False: limits.inline_bytes * 4 // 3}

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Answer a refused request; pass on any other."""
        # The start and end of the server itself.
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        headers = {
            name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]
        }
        most = self.most[scope["path"] == _UPLOADS] + _BESIDE
        refusal = self._refusal(scope["path"], headers, most)
        if refusal is not None:
            await refusal(scope, receive, send)
        else:
            await self.app(scope, _counted(receive, most), send)

    def _refusal(self, path: str, headers: dict[str, str], most: int) -> JSONResponse | None:
        # A foreign name that points to loopback (DNS rebinding), or a page of another site.
        host, origin = headers.get("host", ""), headers.get("origin")
        if self.local and not is_local(_name(f"//{host}")):
            return error_response(f"host {host!r}: this server is for this machine only", 403)
        # Programs send no origin; a browser always does for a page of another site.
        if origin is not None and origin.partition("://")[2] != host:
            return error_response(f"origin {origin!r}: no other site may use this server", 403)
        if self.key is not None and path != _OPEN:
            # The bytes as they were sent: a key may hold letters beyond ASCII.
            given = headers.get("authorization", "").encode("latin-1")
            # In a time that tells nothing of how much of the key is right.
            if not hmac.compare_digest(given, f"Bearer {self.key}".encode()):
                message = "no key, or a wrong one; send the header Authorization: Bearer KEY"
                return error_response(message, 401, "invalid_api_key")
        length = headers.get("content-length", "0")
        # Not ``isdigit``, which takes "²" as well.
        if not length.isdecimal() or int(length) > most:
            return error_response(_too_large(most), 413)
        return None


def _name(url: str) -> str:
    """The host of an address without its port; empty if there is none."""
    try:
        return urlsplit(url).hostname or ""
    except ValueError:  # half a bracket
        return ""


def _too_large(most: int) -> str:
    return f"request too large: at most {most / 1e6:.0f} MB here"


def _counted(receive: Any, most: int) -> Any:
    """``receive`` that ends a body without a stated length once it is too large."""
    seen = 0

    async def counted() -> Any:
        nonlocal seen
        message = await receive()
        seen += len(message.get("body", b""))
        if seen > most:
            # Raised where the application reads, so that its handler answers.
            raise HTTPException(413, _too_large(most))
        return message

    return counted
