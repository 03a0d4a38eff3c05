"""The HTTP way in: who may post, how much, and what is answered.

200 means that the broker has the message; every other answer means that it may not have it, and
503 that the sender shall repeat it. Answers and logs hold reasons, never what was posted.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response

from edge_agent.bridge import templates, vendors
from edge_agent.bridge.publisher import Answer
from edge_agent.bridge.settings import HEALTH_PATH, is_loopback
from edge_agent.bridge.signatures import Asked, Refusal, Signed, Told, Unguarded
from edge_agent.errors import ConfigError
from edge_agent.shell.links import secret_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from starlette.types import Receive, Scope, Send

    from edge_agent.bridge.publisher import Publisher
    from edge_agent.bridge.settings import BridgeConfig, HookSection, HttpSection
    from edge_agent.bridge.tally import Tally
    from edge_agent.ports import Clock

# What is read of a body that is too large, so that its sender hears why instead of a broken pipe.
DRAINED_BYTES_MAX: Final = 8_388_608
SECRET_CHARACTERS_MIN: Final = 8
MS_PER_S: Final = 1_000
_OK, _BAD, _UNAUTHORISED, _NOT_FOUND, _NOT_ALLOWED = 200, 400, 401, 404, 405
_TIMEOUT, _TOO_LARGE, _UNSUPPORTED, _UNAVAILABLE = 408, 413, 415, 503


@dataclass(frozen=True, slots=True, kw_only=True)
class Hook:
    """One path that may be posted to."""

    name: str
    pattern: templates.Pattern
    topic: templates.TopicTemplate
    rule: vendors.Rule
    max_bytes: int
    challenge: str | None = None

    @property
    def part(self) -> str:
        """How counts and logs call it."""
        return f"hook {self.name}"


class Hooks:
    """The ASGI application of all hooks, and of `/health`."""

    def __init__(
        self,
        hooks: tuple[Hook, ...],
        http: HttpSection,
        publisher: Publisher,
        *,
        tally: Tally,
        clock: Clock,
        health: Callable[[], dict[str, object]],
    ) -> None:
        self._hooks = hooks
        self._http = http
        self._publisher = publisher
        self._tally = tally
        self._clock = clock
        self._health = health

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serves one request."""
        if scope["type"] != "http":
            return
        request = Request(scope, receive)
        try:
            response = await self._response(request)
        except ClientDisconnect:
            return
        response.headers["cache-control"] = "no-store"
        await response(scope, receive, send)

    async def _response(self, request: Request) -> Response:
        path = request.scope["path"]
        if path == HEALTH_PATH:
            return self._health_response(request)
        for hook in self._hooks:
            fields = hook.pattern.match(path)
            if fields is not None:
                return await self._hooked(request, hook, fields)
        self._tally.complain("request_refused", "http", "unknown_path")
        return _refused(_NOT_FOUND, "unknown_path")

    async def _hooked(self, request: Request, hook: Hook, fields: dict[str, str]) -> Response:
        headers = _joined(request)
        refused = self._unfit(request, hook)
        if refused is None and not hook.rule.needs_body:
            refused = self._refusal(request, hook, headers, b"")
        if refused is not None:
            return refused
        body = await self._body(request, hook)
        if isinstance(body, Response):
            return body
        refused = self._refusal(request, hook, headers, body) if hook.rule.needs_body else None
        if refused is not None:
            return refused
        topic = hook.topic.filled(fields, headers)
        if topic is None or not body:
            reason = "no_body" if topic is not None else "no_topic"
            self._complain(hook, reason)
            return _refused(_BAD, reason)
        return await self._published(hook, topic, body)

    def _unfit(self, request: Request, hook: Hook) -> Response | None:
        if request.method != "POST":
            self._complain(hook, "not_a_post")
            return _refused(_NOT_ALLOWED, "not_a_post", {"allow": "POST"})
        if request.headers.get("content-encoding", "identity").lower() != "identity":
            self._complain(hook, "compressed")
            return _refused(_UNSUPPORTED, "compressed")
        return None

    def _refusal(
        self, request: Request, hook: Hook, headers: dict[str, str], body: bytes
    ) -> Response | None:
        now_s = self._clock.now_ms() / MS_PER_S
        asked = Asked(headers=headers, query=request.url.query, body=body, now_s=now_s)
        refusal = hook.rule.refusal(asked)
        if refusal is None:
            return None
        if refusal is Refusal.PROBE:
            self._tally.add(hook.part, refusal)
            return Response(status_code=_OK)
        self._complain(hook, refusal, bytes=len(body))
        shown = None if hook.challenge is None else {"www-authenticate": hook.challenge}
        # Which of them it was is for the operator's log.
        reason = "timestamp_stale" if refusal is Refusal.STALE else "not_authorised"
        return _refused(_UNAUTHORISED, reason, shown)

    async def _body(self, request: Request, hook: Hook) -> bytes | Response:
        """The body, or the answer to one that is too large or does not come."""
        told = request.headers.get("content-length", "0")
        size = int(told) if told.isdecimal() else 0
        try:
            async with asyncio.timeout(self._http.read_within_s):
                body = b"" if size > DRAINED_BYTES_MAX else await _read(request, hook.max_bytes)
        except TimeoutError:
            self._complain(hook, "too_slow")
            return _refused(_TIMEOUT, "too_slow", {"connection": "close"})
        if body is None or size > hook.max_bytes:
            self._complain(hook, "too_large", limit=hook.max_bytes)
            return _refused(_TOO_LARGE, "too_large", {"connection": "close"})
        return body

    async def _published(self, hook: Hook, topic: str, body: bytes) -> Response:
        waiting = asyncio.wrap_future(self._publisher.offer(topic, body))
        done, _ = await asyncio.wait({waiting}, timeout=self._publisher.answer_within_s)
        answer = waiting.result() if done else Answer.LATE
        if answer is Answer.DELIVERED:
            self._tally.add(hook.part, answer)
            return Response(status_code=_OK)
        if answer is Answer.TOO_LARGE:
            self._complain(hook, answer)
            return _refused(_TOO_LARGE, answer)
        self._complain(hook, answer, topic=hook.topic.text)
        retry = {"retry-after": str(self._http.retry_after_s)}
        return _refused(_UNAVAILABLE, answer, retry)

    def _health_response(self, request: Request) -> Response:
        client = request.client
        if client is None or not is_loopback(client.host):
            return _refused(_NOT_FOUND, "unknown_path")
        if request.method not in {"GET", "HEAD"}:
            return _refused(_NOT_ALLOWED, "not_a_get", {"allow": "GET, HEAD"})
        health = self._health()
        return JSONResponse(health, _OK if health["status"] == "ok" else _UNAVAILABLE)

    def _complain(self, hook: Hook, reason: str, **fields: object) -> None:
        self._tally.complain("request_refused", hook.part, str(reason), **fields)


def hooks_of(config: BridgeConfig) -> tuple[Hook, ...]:
    """Returns the hooks of a configuration, with their secrets.

    Raises:
        ConfigError: A secret cannot be read, or is too short to be one.
    """
    made = []
    for name, section in config.hooks.items():
        pattern = templates.path_pattern(section.path)
        made.append(
            Hook(
                name=name,
                pattern=pattern,
                topic=templates.topic_template(section.topic, pattern.fields, has_headers=True),
                rule=_rule(section, _secrets(name, section)),
                max_bytes=section.max_body_bytes or config.http.max_body_bytes,
                challenge={"bearer": "Bearer", "basic": 'Basic realm="bridge"'}.get(section.kind),
            )
        )
    # A path that is written out goes before one with a field in its place.
    return tuple(sorted(made, key=lambda hook: (len(hook.pattern.fields), hook.name)))


def _secrets(name: str, section: HookSection) -> tuple[bytes, ...]:
    if section.secret_file is None:
        return ()
    key = f"hooks.{name}.secret_file"
    secrets = [line.strip() for line in secret_of(Path(section.secret_file), key).splitlines()]
    good = tuple(each.encode() for each in secrets if each)
    if any(len(each) < SECRET_CHARACTERS_MIN for each in good):
        raise ConfigError(
            f"{key}: a secret has {SECRET_CHARACTERS_MIN} characters or more",
            hint="one secret a line; several are good while one is being replaced",
        )
    return good


def _rule(section: HookSection, secrets: tuple[bytes, ...]) -> vendors.Rule:
    match section.kind:
        case "square":
            return vendors.square(secrets, url=section.url or "")
        case "shopify" | "lightspeed" | "loyverse" | "zettle" | "disruptive":
            return vendors.BY_KIND[section.kind](secrets)
        case "hmac":
            return _hmac(section, secrets)
        case "bearer" | "basic" | "url_token":
            return Told(
                secrets=secrets,
                scheme=section.kind,
                user=section.user or "",
                parameter=section.parameter,
            )
        case "none":
            return Unguarded()


def _hmac(section: HookSection, secrets: tuple[bytes, ...]) -> Signed:
    stamp = section.timestamp_header
    return Signed(
        secrets=secrets,
        header=(section.header or "").lower(),
        algorithm=section.algorithm,
        encoding=section.encoding,
        prefix=section.prefix,
        signed=section.signed,
        timestamp_header=None if stamp is None else stamp.lower(),
        tolerance_s=section.tolerance_s,
    )


def _joined(request: Request) -> dict[str, str]:
    joined: dict[str, str] = {}
    for name, value in request.headers.items():
        joined[name] = f"{joined[name]}, {value}" if name in joined else value
    return joined


async def _read(request: Request, limit: int) -> bytes | None:
    """The body, or None when it is larger; a larger one is read and thrown away, to a bound."""
    parts: list[bytes] = []
    size = 0
    async for part in request.stream():
        size += len(part)
        if size <= limit:
            parts.append(part)
        elif size > DRAINED_BYTES_MAX:
            return None
        else:
            parts.clear()
    return b"".join(parts) if size <= limit else None


def _refused(status: int, reason: str, headers: dict[str, str] | None = None) -> Response:
    return JSONResponse({"error": str(reason)}, status, headers=headers)
