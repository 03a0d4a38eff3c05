"""What the pages are sent: plain values, ready to be shown, with no decision left to the browser.

Prices go as amount and currency, so that the browser writes them in the reader's manner; lengths
of time go in real milliseconds, so that no page depends on its own clock being right.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from edge_agent.web.board import (
    AGENT_KEY,
    STORE_KEY,
    items_at,
    notice_at,
    screen_key,
    team_key,
)

if TYPE_CHECKING:
    from datetime import datetime

    from pydantic import JsonValue

    from edge_agent.web.board import AlertState, Board, Content
    from edge_agent.wire.screens import Offer, Recommendation, RecommendedItem
    from edge_agent.wire.staff import AlertContext

# A replay's content changes faster than anybody reads; its pages keep each for at least this long.
REPLAY_HOLD_MS: Final = 1_400
_MS_PER_S: Final = 1_000
_S_PER_H: Final = 3_600


def screen_view(board: Board, screen: str) -> dict[str, JsonValue]:
    """Returns what one screen shows, what it falls back to, and for how long."""
    state = board.screens.get(screen)
    current = None if state is None else state.current
    default = None if state is None else state.default
    content = current.recommendation if current is not None else default
    return {
        "screen": screen,
        "content": None if content is None else _content(board, content),
        "fallback": None if default is None else _content(board, default),
        "hold_ms": REPLAY_HOLD_MS if board.clock.is_replay else 0,
        **_time_left(board, current),
    }


def _time_left(board: Board, current: Content | None) -> dict[str, JsonValue]:
    if current is None:
        return {"left_ms": None, "whole_ms": None}
    shown = current.recommendation
    left_s = board.clock.left_s(shown.valid_until, end=current.end)
    whole_s = (shown.valid_until - shown.issued).total_seconds() / board.clock.rate
    return {
        "left_ms": max(0, round(left_s * _MS_PER_S)),
        "whole_ms": max(1, round(max(whole_s, left_s) * _MS_PER_S)),
    }


def _content(board: Board, recommendation: Recommendation) -> dict[str, JsonValue]:
    now = board.clock.now()
    notice = notice_at(recommendation, now)
    return {
        "decision": recommendation.decision,
        "audience": recommendation.audience,
        "locale": recommendation.locale,
        "items": [_item(each, now) for each in items_at(recommendation, now)],
        "notice": None if notice is None else {"kind": notice.kind, "text": notice.text},
    }


def _item(item: RecommendedItem, now: datetime | None) -> JsonValue:
    price: JsonValue = None
    if item.price is not None:
        price = {"amount": str(item.price.amount), "currency": item.price.currency}
    return {
        "product": item.product,
        "title": item.title,
        "price": price,
        "reason": {"code": item.reason.code, "text": item.reason.text},
        "offer": None if item.offer is None else _offer(item.offer, now),
    }


def _offer(offer: Offer, now: datetime | None) -> JsonValue:
    """Returns an offer; its time in whole hours, so that no page is drawn anew for it."""
    left_s = 0.0 if now is None else (offer.valid_until - now).total_seconds()
    return {"text": offer.text, "code": offer.code, "left_h": int(left_s // _S_PER_H)}


def summary_view(board: Board, screen: str) -> dict[str, JsonValue]:
    """Returns a screen as the overview shows it; what is not for everybody's eyes is left out."""
    view = screen_view(board, screen)
    state = board.screens.get(screen)
    current = None if state is None else state.current
    is_private = current is not None and current.recommendation.audience != "public"
    return {
        "screen": screen,
        "is_private": is_private,
        "is_default": current is None,
        "content": None if is_private else _without_codes(view["content"]),
        "left_ms": view["left_ms"],
        "whole_ms": view["whole_ms"],
        "n_received": 0 if state is None else state.n_received,
    }


def _without_codes(content: Any) -> JsonValue:
    """Returns a content for whoever looks over the store: a code is for who stands before it."""
    if content is None:
        return None
    items = [
        {**each, "offer": each["offer"] and {**each["offer"], "code": None}}
        for each in content["items"]
    ]
    return {**content, "items": items}


def team_view(board: Board, team: str) -> dict[str, JsonValue]:
    """Returns a team's alerts, newest first."""
    alerts = reversed(board.teams.get(team, {}).values())
    return {
        "team": team,
        "rate": board.clock.rate,
        "alerts": [_alert(board, each) for each in alerts],
    }


def _alert(board: Board, state: AlertState) -> JsonValue:
    alert = state.alert
    return {
        "decision": alert.decision,
        "kind": alert.kind,
        "zone": alert.zone,
        "text": alert.text,
        "age_s": round(board.clock.age_s(alert.issued)),
        "outcome": state.outcome,
        "dwell_s": alert.dwell_s,
        "left_s": _answer_within(board, state),
        "escalated_from": alert.escalated_from,
        "escalated_to": alert.escalated_to,
        "context": None if alert.context is None else _context(alert.context),
    }


def _answer_within(board: Board, state: AlertState) -> JsonValue:
    """Returns how long it is until the next team is called; None where nobody else is."""
    by = state.alert.acknowledge_by
    if by is None or state.outcome != "open":
        return None
    end = board.clock.end_of(issued=state.alert.issued, valid_until=by)
    return max(0, round(board.clock.left_s(by, end=end) * board.clock.rate))


def _context(context: AlertContext) -> JsonValue:
    customer = context.customer
    return {
        "departments": list(context.departments),
        "product": context.title or context.product,
        "lifts_and_returns": context.lifts_and_returns,
        "queue_length": context.queue_length,
        "presses": context.presses,
        "customer": None
        if customer is None
        else {"reference": customer.reference, "interests": list(customer.interests)},
    }


def _overview_of(view: dict[str, Any]) -> dict[str, JsonValue]:
    """Returns a team's alerts as the overview shows them: each at one team, and naming nobody."""
    alerts = [
        {**each, "context": each["context"] and {**each["context"], "customer": None}}
        for each in view["alerts"]
        if each["escalated_to"] is None or each["outcome"] != "open"
    ]
    return {**view, "alerts": alerts}


def store_view(board: Board, changed: frozenset[str] | None = None) -> dict[str, JsonValue]:
    """Returns the overview, or of it what changed."""
    screens = [
        each for each in sorted(board.screens) if changed is None or screen_key(each) in changed
    ]
    teams = [each for each in sorted(board.teams) if changed is None or team_key(each) in changed]
    view: dict[str, JsonValue] = {
        "screens": [summary_view(board, each) for each in screens],
        "teams": [_overview_of(team_view(board, each)) for each in teams],
    }
    if changed is None or changed & {AGENT_KEY, STORE_KEY}:
        view["agent"] = _agent(board)
        view["counters"] = _counters(board)
    return view


def _agent(board: Board) -> JsonValue:
    agent = board.agent
    if agent is None:
        return None
    return {
        "status": agent.status,
        "health": agent.health,
        "version": agent.version,
        "problems": list(agent.problems),
    }


def _counters(board: Board) -> JsonValue:
    now = board.clock.now()
    return {
        "recommendations": board.n_recommendations,
        "refused": board.n_refused,
        "per_minute": list(board.per_minute()),
        "now": None if now is None else now.isoformat(),
    }
