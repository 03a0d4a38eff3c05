"""The routes: pages, their files, their streams of server-sent events, and what they may post."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Final, TypeVar

from pydantic import ValidationError
from starlette.applications import Starlette
from starlette.responses import (
    HTMLResponse,
    JSONResponse,
    PlainTextResponse,
    Response,
    StreamingResponse,
)
from starlette.routing import Route

from edge_agent.web import pages, views
from edge_agent.web.board import STORE_KEY, screen_key, team_key
from edge_agent.web.feedback import ScreenAnswer, StaffAnswer, screen_event
from edge_agent.web.guard import Guard, body_of, refusal_of_post
from edge_agent.wire import topics
from edge_agent.wire.staff import StaffFeedback

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from pydantic import JsonValue
    from starlette.requests import Request

    from edge_agent.web.board import Board
    from edge_agent.web.feedback import Ledger
    from edge_agent.web.streams import Listeners

# A quiet stream repeats its state this often, so that a page knows the link is alive and its
# time bar is right; a page that hears nothing for three of them calls itself offline.
BEAT_S: Final = 5.0
# The overview collects what changed for this long: a busy store is not redrawn at every event.
STORE_PAUSE_S: Final = 0.25
LINK_KEY: Final = "link"
_RETRY_MS: Final = 1_000
_FORBIDDEN: Final = 403
_NOT_FOUND: Final = 404
_TOO_LARGE: Final = 413
_UNPROCESSABLE: Final = 422
_FULL: Final = 503

Answer = TypeVar("Answer", ScreenAnswer, StaffAnswer)


class Pages:
    """All handlers; they share one board and run in one event loop."""

    def __init__(
        self,
        board: Board,
        ledger: Ledger,
        listeners: Listeners,
        *,
        locale: str,
        publish: Callable[[str, bytes], None],
        is_linked: Callable[[], bool],
    ) -> None:
        self._board = board
        self._ledger = ledger
        self._listeners = listeners
        self._locale = locale
        self._publish = publish
        self._is_linked = is_linked
        self._files = pages.static_files()
        self._build = pages.build_id()

    def application(self, *, allowed_hosts: frozenset[str]) -> Guard:
        """Returns the ASGI application, guarded."""
        routes = [
            Route("/", self.index),
            Route("/store", self.store),
            Route("/screen/{screen}", self.screen),
            Route("/screen/{screen}/feedback", self.screen_feedback, methods=["POST"]),
            Route("/staff/{team}", self.staff),
            Route("/staff/{team}/feedback", self.staff_feedback, methods=["POST"]),
            Route("/stream/screen/{screen}", self.screen_stream),
            Route("/stream/staff/{team}", self.staff_stream),
            Route("/stream/store", self.store_stream),
            Route("/static/{name}", self.static),
            Route("/health", self.health),
        ]
        return Guard(Starlette(routes=routes), allowed_hosts=allowed_hosts)

    # --- pages ------------------------------------------------------------------------------

    async def index(self, _request: Request) -> Response:
        """The screens and teams of the store."""
        view = self._view(None, {"page": "index"})
        return HTMLResponse(pages.store_page(self._board.store, self._locale, view, is_index=True))

    async def store(self, _request: Request) -> Response:
        """The dashboard."""
        view = self._view(None, {"page": "dashboard"})
        return HTMLResponse(
            pages.store_page(self._board.store, self._locale, view, is_index=False)
        )

    async def screen(self, request: Request) -> Response:
        """One screen; any name has a page, which shows the default until content comes."""
        screen = request.path_params["screen"]
        return HTMLResponse(pages.screen_page(screen, self._locale, self._screen_view(screen)))

    async def staff(self, request: Request) -> Response:
        """One team's alerts."""
        team = request.path_params["team"]
        view = self._framed(views.team_view(self._board, team))
        return HTMLResponse(pages.staff_page(self._board.store, team, self._locale, view))

    async def static(self, request: Request) -> Response:
        """A style, a script, the font or the icon."""
        found = self._files.get(request.path_params["name"])
        if found is None:
            return PlainTextResponse("no such file", _NOT_FOUND)
        headers = {"cache-control": "no-cache", "etag": f'"{self._build}"'}
        if request.headers.get("if-none-match") == headers["etag"]:
            return Response(status_code=304, headers=headers)
        return Response(found[0], media_type=found[1], headers=headers)

    async def health(self, _request: Request) -> Response:
        """What a watchdog asks for."""
        return JSONResponse(
            {
                "is_linked": self._is_linked(),
                "screens": len(self._board.screens),
                "listeners": len(self._listeners),
                "recommendations": self._board.n_recommendations,
                "refused": self._board.n_refused,
            }
        )

    # --- streams ----------------------------------------------------------------------------

    async def screen_stream(self, request: Request) -> Response:
        """What a screen shows, as it changes."""
        screen = request.path_params["screen"]
        keys = frozenset({screen_key(screen), LINK_KEY})
        return self._stream(keys, lambda _changed: self._screen_view(screen))

    async def staff_stream(self, request: Request) -> Response:
        """A team's alerts, as they change."""
        team = request.path_params["team"]
        keys = frozenset({team_key(team), LINK_KEY})
        return self._stream(
            keys, lambda _changed: self._framed(views.team_view(self._board, team))
        )

    async def store_stream(self, _request: Request) -> Response:
        """The overview: first all of it, then what changed."""
        return self._stream(None, lambda changed: self._view(changed, {}), pause_s=STORE_PAUSE_S)

    def _stream(
        self,
        keys: frozenset[str] | None,
        view: Callable[[frozenset[str] | None], dict[str, JsonValue]],
        *,
        pause_s: float = 0.0,
    ) -> Response:
        if self._listeners.is_full or self._listeners.is_closed:
            return PlainTextResponse("too many pages are open", _FULL)
        return StreamingResponse(
            self._updates(keys, view, pause_s=pause_s), media_type="text/event-stream"
        )

    async def _updates(
        self,
        keys: frozenset[str] | None,
        view: Callable[[frozenset[str] | None], dict[str, JsonValue]],
        *,
        pause_s: float,
    ) -> AsyncIterator[str]:
        with self._listeners.listening(keys) as mailbox:
            yield f"retry: {_RETRY_MS}\n\n{_sse(view(None))}"
            while True:
                changed = await mailbox.take(timeout_s=BEAT_S)
                if self._listeners.is_closed:
                    return
                # The counters of the overview move on with the minutes, news or none.
                yield _sse(view(changed or frozenset({STORE_KEY})))
                if pause_s:
                    await asyncio.sleep(pause_s)

    def _view(
        self, changed: frozenset[str] | None, more: dict[str, JsonValue]
    ) -> dict[str, JsonValue]:
        return self._framed({**views.store_view(self._board, changed), **more})

    def _screen_view(self, screen: str) -> dict[str, JsonValue]:
        for each in self._board.contents(screen):
            self._ledger.sent(screen, each)
        return self._framed(views.screen_view(self._board, screen))

    def _framed(self, view: dict[str, JsonValue]) -> dict[str, JsonValue]:
        return {**view, "is_linked": self._is_linked(), "build": self._build}

    # --- posts ------------------------------------------------------------------------------

    async def screen_feedback(self, request: Request) -> Response:
        """Publishes that a decision was shown, tapped or dismissed; each once."""
        answer = await _parsed(request, ScreenAnswer)
        if isinstance(answer, Response):
            return answer
        screen = request.path_params["screen"]
        match self._ledger.judge(screen, answer):
            case "unknown":
                return PlainTextResponse("not shown here", _NOT_FOUND)
            case "repeat":
                return Response(status_code=204)
            case "news":
                event = screen_event(self._board.store, screen, answer, at=self._board.clock.now())
                self._publish(
                    topics.feedback(self._board.store, screen),
                    event.model_dump_json(exclude_none=True).encode(),
                )
        if answer.kind == "dismissed":
            self._listeners.tell(self._board.dismiss(screen, answer.decision))
        return Response(status_code=204)

    async def staff_feedback(self, request: Request) -> Response:
        """Publishes what became of an alert; each outcome once."""
        answer = await _parsed(request, StaffAnswer)
        if isinstance(answer, Response):
            return answer
        team = request.path_params["team"]
        if answer.decision not in self._board.teams.get(team, {}):
            return PlainTextResponse("no such alert", _NOT_FOUND)
        if self._board.answer(team, answer.decision, answer.outcome):
            feedback = StaffFeedback(
                decision=answer.decision, outcome=answer.outcome, at=self._board.clock.now()
            )
            self._publish(
                topics.staff_feedback(self._board.store, team),
                feedback.model_dump_json(exclude_none=True).encode(),
            )
            self._listeners.tell({team_key(team), STORE_KEY})
        return Response(status_code=204)


async def _parsed(request: Request, model: type[Answer]) -> Answer | Response:
    refusal = refusal_of_post(request)
    if refusal is not None:
        return PlainTextResponse(refusal, _FORBIDDEN)
    body = await body_of(request)
    if body is None:
        return PlainTextResponse("too large", _TOO_LARGE)
    try:
        return model.model_validate_json(body)
    except ValidationError:
        return PlainTextResponse("not understood", _UNPROCESSABLE)


def _sse(view: dict[str, JsonValue]) -> str:
    # JSON has no raw line breaks, so one data line always suffices.
    return f"event: update\ndata: {json.dumps(view, separators=(',', ':'))}\n\n"
