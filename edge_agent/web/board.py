"""What every screen of a store shows now, its alerts and its agent's state, from the broker alone.

The board belongs to one thread. It is bounded in all directions: screens, teams and alerts have
a maximum, and what is beyond it is counted and left out. Messages that are no valid model, or
speak for another screen or team than their topic, are counted and change nothing.
"""

from __future__ import annotations

from collections import OrderedDict, deque
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final, Literal

from pydantic import ValidationError

from edge_agent.wire import topics
from edge_agent.wire.notices import AgentState, ClockTick
from edge_agent.wire.screens import Notice, Recommendation
from edge_agent.wire.staff import StaffAlert

if TYPE_CHECKING:
    from edge_agent.web.store_clock import StoreClock
    from edge_agent.wire.screens import RecommendedItem

SCREENS_MAX: Final = 500
TEAMS_MAX: Final = 100
ALERTS_PER_TEAM_MAX: Final = 40
# Bars of the dashboard's sparkline, one a minute of the store's time.
MINUTES_KEPT: Final = 60
# The largest message worth parsing: 20 items with the longest texts stay well below it.
PAYLOAD_BYTES_MAX: Final = 262_144
# Such content rests on nobody, so it may stand in whenever nothing better is valid.
DEFAULT_REASONS: Final = frozenset({"store_default", "popular", "popular_now"})
# `store/{store}/screen/{screen}/…` and `store/{store}/staff/{team}/…`.
_NAME_LEVEL: Final = 3
_RECOMMENDATION: Final = topics.last_level(topics.recommendation("s", "s"))

Outcome = Literal["open", "acknowledged", "helped", "not_needed", "gone", "expired"]
# What ends an alert: nothing that comes after it changes that.
ENDED: Final = frozenset({"helped", "not_needed", "gone"})
AGENT_KEY: Final = "agent"
STORE_KEY: Final = "store"


def screen_key(screen: str) -> str:
    """Returns the name under which a screen's changes are told."""
    return f"screen:{screen}"


def team_key(team: str) -> str:
    """Returns the name under which a team's changes are told."""
    return f"team:{team}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Content:
    """A recommendation and its end on the monotonic clock (None: the replay's ticks end it)."""

    recommendation: Recommendation
    end: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class ScreenState:
    """What one screen shows; without `current` it is `default`, and without that the built-in."""

    current: Content | None = None
    default: Recommendation | None = None
    n_received: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class AlertState:
    """An alert, what became of it, and its end on the monotonic clock."""

    alert: StaffAlert
    end: float | None
    outcome: Outcome = "open"


class Board:
    """The store as its screens know it."""

    def __init__(
        self,
        store: str,
        clock: StoreClock,
        *,
        screens: tuple[str, ...] = (),
        teams: tuple[str, ...] = (),
    ) -> None:
        self.store = store
        self.clock = clock
        self.screens: dict[str, ScreenState] = {each: ScreenState() for each in screens}
        self.teams: dict[str, OrderedDict[str, AlertState]] = {
            each: OrderedDict() for each in teams
        }
        self.agent: AgentState | None = None
        self.n_recommendations = 0
        self.n_refused = 0
        self._minutes: deque[tuple[int, int]] = deque(maxlen=MINUTES_KEPT)

    # --- from the broker --------------------------------------------------------------------

    def take(
        self, topic: str, payload: bytes, *, is_retained: bool = False, n_replaced: int = 0
    ) -> set[str]:
        """Applies one message and returns the keys that changed.

        Args:
            topic: Where it was published.
            payload: Its bytes, of whatever quality.
            is_retained: Whether the broker had kept it, so that it is no news.
            n_replaced: Earlier contents of the same screen that this one overtook.
        """
        if n_replaced and topics.last_level(topic) == _RECOMMENDATION:
            self._count(n_replaced)
        if len(payload) > PAYLOAD_BYTES_MAX:
            self.n_refused += 1
            return set()
        try:
            return self._take_known(topic, payload, is_retained=is_retained)
        except ValidationError:
            self.n_refused += 1
            return set()

    def _take_known(self, topic: str, payload: bytes, *, is_retained: bool) -> set[str]:
        name = topics.level(topic, _NAME_LEVEL)
        if topic == topics.recommendation(self.store, name):
            return self._take_recommendation(name, payload, is_retained=is_retained)
        if topic == topics.alert(self.store, name):
            return self._take_alert(name, StaffAlert.model_validate_json(payload))
        if topic == topics.agent_state(self.store):
            self.agent = AgentState.model_validate_json(payload) if payload else None
            return {AGENT_KEY}
        if topic == topics.clock(self.store) and self.clock.is_replay:
            self.clock.tick(ClockTick.model_validate_json(payload).now)
            return self.expire()
        self.n_refused += 1
        return set()

    def _take_recommendation(self, screen: str, payload: bytes, *, is_retained: bool) -> set[str]:
        if not payload:
            return self._clear(screen)
        recommendation = Recommendation.model_validate_json(payload)
        known = screen in self.screens
        if recommendation.screen != screen or not (known or len(self.screens) < SCREENS_MAX):
            self.n_refused += 1
            return set()
        state = self.screens.get(screen, ScreenState())
        if not is_retained:
            self._count(1)
            state = replace(state, n_received=state.n_received + 1)
        self.screens[screen] = self._with_content(state, recommendation)
        return {screen_key(screen), STORE_KEY}

    def _with_content(self, state: ScreenState, recommendation: Recommendation) -> ScreenState:
        if is_default(recommendation):
            state = replace(state, default=recommendation)
        end = self.clock.end_of(
            issued=recommendation.issued, valid_until=recommendation.valid_until
        )
        if self.clock.left_s(recommendation.valid_until, end=end) <= 0:
            return state
        return replace(state, current=Content(recommendation=recommendation, end=end))

    def _clear(self, screen: str) -> set[str]:
        state = self.screens.get(screen)
        if state is None or state.current is None:
            return set()
        self.screens[screen] = replace(state, current=None)
        return {screen_key(screen), STORE_KEY}

    def _take_alert(self, team: str, alert: StaffAlert) -> set[str]:
        known = team in self.teams
        if alert.team != team or not (known or len(self.teams) < TEAMS_MAX):
            self.n_refused += 1
            return set()
        alerts = self.teams.setdefault(team, OrderedDict())
        before = alerts.get(alert.decision)
        end = self.clock.end_of(issued=alert.issued, valid_until=alert.valid_until)
        after = _followed(before, AlertState(alert=alert, end=end))
        if after is None or after == before:
            return set()
        alerts[alert.decision] = after
        while len(alerts) > ALERTS_PER_TEAM_MAX:
            alerts.popitem(last=False)
        return {team_key(team), STORE_KEY}

    def contents(self, screen: str) -> tuple[Recommendation, ...]:
        """Returns what a page of the screen may show by itself: its content and its default."""
        state = self.screens.get(screen, ScreenState())
        current = () if state.current is None else (state.current.recommendation,)
        return (*current, *(() if state.default is None else (state.default,)))

    # --- with time --------------------------------------------------------------------------

    def expire(self) -> set[str]:
        """Takes off what is over and returns the keys that changed."""
        changed: set[str] = set()
        for screen, state in self.screens.items():
            content = state.current
            if content is not None and self._is_over(content):
                changed |= self._clear(screen)
        for team, alerts in self.teams.items():
            for decision, each in alerts.items():
                is_over = self.clock.left_s(each.alert.valid_until, end=each.end) <= 0
                if each.outcome == "open" and is_over:
                    alerts[decision] = replace(each, outcome="expired")
                    changed |= {team_key(team), STORE_KEY}
        return changed

    def _is_over(self, content: Content) -> bool:
        return self.clock.left_s(content.recommendation.valid_until, end=content.end) <= 0

    # --- from the pages ---------------------------------------------------------------------

    def dismiss(self, screen: str, decision: str) -> set[str]:
        """Takes a decision's content off its screen and returns the keys that changed."""
        state = self.screens.get(screen)
        if state is None or state.current is None:
            return set()
        if state.current.recommendation.decision != decision:
            return set()
        return self._clear(screen)

    def answer(self, team: str, decision: str, outcome: Outcome) -> bool:
        """Notes what became of an alert; returns whether that is news."""
        alerts = self.teams.get(team, OrderedDict())
        state = alerts.get(decision)
        if state is None or state.outcome in ENDED | {outcome}:
            return False
        alerts[decision] = replace(state, outcome=outcome)
        return True

    # --- counters ---------------------------------------------------------------------------

    def _count(self, n: int) -> None:
        self.n_recommendations += n
        minute = self._minute()
        if self._minutes and self._minutes[-1][0] == minute:
            self._minutes[-1] = (minute, self._minutes[-1][1] + n)
        else:
            self._minutes.append((minute, n))

    def _minute(self) -> int:
        now = self.clock.now() or datetime.fromtimestamp(0, tz=UTC)
        return int(now.timestamp() // 60)

    def per_minute(self) -> tuple[int, ...]:
        """Returns recommendations in each of the store's last minutes, oldest first."""
        newest = self._minute()
        counts = dict(self._minutes)
        return tuple(counts.get(newest - back, 0) for back in range(MINUTES_KEPT - 1, -1, -1))


def _followed(before: AlertState | None, told: AlertState) -> AlertState | None:
    """Returns an alert after one more message of its call; None where it has none to show.

    A call is told several times, each time whole. What staff said here of it holds until the call
    is over; of one that was over before anybody here saw it there is nothing to say.
    """
    alert = told.alert
    if alert.status in {"closed", "withdrawn"}:
        if before is None or before.outcome in ENDED:
            return before
        return replace(told, outcome=alert.outcome or "gone")
    if alert.status == "acknowledged":
        told = replace(told, outcome="acknowledged")
    if before is None:
        return told
    if before.outcome in ENDED or alert.status is None:
        # One without a status is not followed up: it is told once, and this is a repeat.
        return before
    if alert.kind == "complaint":
        # The story is told in the first message alone.
        told = replace(told, alert=alert.model_copy(update={"text": before.alert.text}))
    if before.outcome == "acknowledged":
        told = replace(told, outcome="acknowledged")
    return told


def is_default(recommendation: Recommendation) -> bool:
    """Tells whether content rests on nobody in particular, so that it may stand in later."""
    return recommendation.audience == "public" and all(
        item.reason.code in DEFAULT_REASONS for item in recommendation.items
    )


def items_at(recommendation: Recommendation, now: datetime | None) -> tuple[RecommendedItem, ...]:
    """Returns the items as they may be shown now: an offer that is over is left out."""
    return tuple(
        item.model_copy(update={"offer": None})
        if item.offer is not None and now is not None and item.offer.valid_until <= now
        else item
        for item in recommendation.items
    )


def notice_at(recommendation: Recommendation, now: datetime | None) -> Notice | None:
    """Returns the text beside the items if it may be shown now."""
    notice = recommendation.notice
    is_over = notice is not None and now is not None and notice.valid_until <= now
    return None if is_over else notice
