"""What every request must pass and every answer carries: host, origin, type, size, headers.

The pages may stand in a store's network, where any device's browser can be made to call them.
So a host name that is not ours is refused (that is how a foreign site would get in by DNS),
only our own pages may post, and no answer can load or run anything from elsewhere.
"""

from __future__ import annotations

import ipaddress
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import PlainTextResponse

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

BODY_BYTES_MAX: Final = 2_048
SECURITY_HEADERS: Final = {
    "content-security-policy": (
        "default-src 'self'; base-uri 'none'; object-src 'none'; form-action 'none'; "
        "frame-ancestors 'self'; script-src 'self'; style-src 'self'; connect-src 'self'"
    ),
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "permissions-policy": "camera=(), geolocation=(), microphone=()",
    "referrer-policy": "no-referrer",
    "x-content-type-options": "nosniff",
    "x-frame-options": "SAMEORIGIN",
}
_MISDIRECTED: Final = 421


class Guard:
    """Refuses requests for other hosts and adds the security headers to every answer."""

    def __init__(self, app: ASGIApp, *, allowed_hosts: frozenset[str]) -> None:
        self._app = app
        self._allowed_hosts = allowed_hosts

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serves one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in SECURITY_HEADERS.items():
                    headers[name] = value
                headers.setdefault("cache-control", "no-store")
            await send(message)

        host = Headers(scope=scope).get("host", "")
        if may_be_called(host, self._allowed_hosts):
            await self._app(scope, receive, send_with_headers)
            return
        refusal = PlainTextResponse("not a name of these pages; see --allow-host", _MISDIRECTED)
        await refusal(scope, receive, send_with_headers)


def may_be_called(host: str, allowed: frozenset[str]) -> bool:
    """Tells whether a Host header names us: an address, or one of our names.

    Example:
        >>> may_be_called("192.168.1.5:8480", frozenset())
        True
        >>> may_be_called("evil.example:8480", frozenset({"gateway.local"}))
        False
    """
    try:
        name = urlsplit(f"//{host}").hostname or ""
    except ValueError:
        return False
    if name in {"localhost", *allowed}:
        return True
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True


def refusal_of_post(request: Request) -> str | None:
    """Returns why a post is not one of our own pages', or None when it is."""
    origin = request.headers.get("origin", "")
    host = request.headers.get("host", "")
    if not host or urlsplit(origin).netloc != host:
        return "another origin"
    if request.headers.get("sec-fetch-site", "same-origin") != "same-origin":
        return "another site"
    content_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if content_type != "application/json":
        return "not application/json"
    return None


async def body_of(request: Request) -> bytes | None:
    """Returns a request's body, or None as soon as it is larger than any answer of a page."""
    body = b""
    async for part in request.stream():
        body += part
        if len(body) > BODY_BYTES_MAX:
            return None
    return body
