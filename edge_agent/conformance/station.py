"""The agent's side of a store's broker: says what an agent says, and hears what everybody says.

The one file of this package that speaks MQTT. The link's thread only notes what comes; whoever
waits does so on a condition with a deadline.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import TYPE_CHECKING, Final, Self, TypeVar

from pydantic import ValidationError

from edge_agent import __version__
from edge_agent.conformance.transcript import Concern, Heard, Place
from edge_agent.domain.time import datetime_from_ms
from edge_agent.errors import BrokerError, ConfigError
from edge_agent.shell.clock import SystemClock
from edge_agent.shell.mqtt_client import (
    NO_SUBSCRIBERS,
    REFUSED,
    MqttLink,
    Subscription,
    Will,
    connect_or_raise,
)
from edge_agent.wire import topics
from edge_agent.wire.notices import AgentState, ClockTick

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import TracebackType

    from edge_agent.shell.mqtt_client import Incoming, LinkSettings

CONNECT_S: Final = 10.0
# A broker answers a PUBLISH or SUBSCRIBE within milliseconds; this is for one that is busy.
ANSWER_S: Final = 10.0
# A wait looks up this often, so that a key pressed at the terminal is heeded.
TURN_S: Final = 0.25
EVERYTHING: Final = "#"
# Below the agent's own level, where nobody listens: only the broker's answer is of interest.
_NOBODYS: Final = "store/{store}/agent/conformance"
# What the tool keeps in mind at most: a broker that others use too must not fill the memory.
HEARD_MAX: Final = 100_000

M = TypeVar("M", AgentState, ClockTick)


@dataclass(slots=True)
class _Sent:
    """A message whose acknowledgement is waited for."""

    answered: threading.Event = field(default_factory=threading.Event)
    reason: int = 0


class Station:
    """An agent's place at a broker, from entering the block to leaving it.

    Args:
        settings: The broker, and as whom to log in.
        place: Where the store's topics are.
        concern: What of all that is heard is kept in mind.
        is_replay: Whether a replay's ticks are the store's time.

    Raises:
        BrokerError: On entering: the broker is not there.
        ConfigError: On entering: an agent is online in this store already.
    """

    def __init__(
        self,
        settings: LinkSettings,
        place: Place,
        *,
        concern: Concern,
        is_replay: bool = False,
    ) -> None:
        self._settings = settings
        self._place = place
        self._concern = concern
        self._clock = SystemClock()
        self._changed = threading.Condition()
        self._heard: list[Heard] = []
        self._others_state: AgentState | None = None
        self._now: datetime | None = None
        self._is_replay = is_replay
        self._kept: set[str] = set()
        self._state_topic = topics.agent_state(place.store)
        self.hears_everything = True
        state_filter = place.at_broker(self._state_topic)
        self._link = MqttLink(
            settings_with_will(settings, place),
            subscriptions=(Subscription(topic_filter=state_filter, no_local=True),),
            on_message=self._on_message,
            on_answered=_note_answer,
        )

    def __enter__(self) -> Self:
        connect_or_raise(self._link, self._settings, timeout_s=CONNECT_S)
        try:
            # The broker sends what it had kept before it acknowledges anything that comes later.
            self.say(_NOBODYS.format(store=self._place.store), b"{}")
            self._refuse_company()
            self.say(self._state_topic, _state(self._place, "online"), retain=True)
        except BaseException:
            self._link.stop()
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._link.connected:
            for topic in sorted(self._kept):
                self._link.publish(self._place.at_broker(topic), b"", retain=True)
        self._link.stop()

    # --- hearing ------------------------------------------------------------------------------

    def hear_everything(self) -> None:
        """Hears from now on whatever the broker lets us hear, our own messages left out."""
        self._subscribe((EVERYTHING,))
        if self._link.last_error:
            # A broker that grants no such filter may grant those of the contract.
            self.hears_everything = False
            own = (each.format(store=self._place.store) for each in topics.OWN_FILTERS)
            self._subscribe(tuple(map(self._place.at_broker, own)))

    def _subscribe(self, filters: tuple[str, ...]) -> None:
        wanted = tuple(
            Subscription(
                topic_filter=each, no_local=True, retain_handling=2, retain_as_published=True
            )
            for each in filters
        )
        if not self._link.subscribe_to(wanted).wait(ANSWER_S):
            raise BrokerError(
                "the broker does not answer a subscription", hint="look at the broker's log"
            )

    @property
    def heard(self) -> tuple[Heard, ...]:
        """Everything that was heard so far."""
        with self._changed:
            return tuple(self._heard)

    def wait(self, is_so: Callable[[tuple[Heard, ...]], bool], *, until_s: float) -> bool:
        """Returns whether something is true of what is heard before a time of `monotonic_s`."""
        seen = -1
        while True:
            heard = self.heard
            if len(heard) != seen and is_so(heard):
                return True
            seen = len(heard)
            left_s = until_s - self.monotonic_s()
            if left_s <= 0:
                return False
            with self._changed:
                if len(self._heard) == seen:
                    self._changed.wait(min(left_s, TURN_S))

    def pause(self, seconds: float) -> None:
        """Lets time go by, hearing."""
        self.wait(lambda _heard: False, until_s=self.monotonic_s() + seconds)

    # --- time ---------------------------------------------------------------------------------

    def monotonic_s(self) -> float:
        """Returns seconds that only ever grow."""
        return self._clock.monotonic_s()

    def now(self) -> datetime:
        """Returns the store's time."""
        now = self._now if self._is_replay else None
        return datetime_from_ms(self._clock.now_ms()) if now is None else now

    # --- saying -------------------------------------------------------------------------------

    def say(
        self,
        topic: str,
        payload: bytes,
        *,
        retain: bool = False,
        expiry_s: int | None = None,
        correlation: bytes | None = None,
    ) -> bool:
        """Publishes and waits for the broker; returns whether anybody is there to hear it.

        Args:
            topic: As the contract names it.
            payload: What is said.
            retain: Whether the broker keeps it; it is taken back when the station leaves.
            expiry_s: Seconds until the broker drops it.
            correlation: A request's correlation data.

        Raises:
            BrokerError: The broker does not take it.
        """
        sent = _Sent()
        if retain:
            (self._kept.add if payload else self._kept.discard)(topic)
        self._link.publish(
            self._place.at_broker(topic),
            payload,
            retain=retain,
            expiry_s=expiry_s,
            correlation=correlation,
            token=sent,
        )
        if not sent.answered.wait(ANSWER_S):
            raise BrokerError(
                f"the broker at {self._settings.host}:{self._settings.port} acknowledges nothing",
                hint="look at the broker's log",
            )
        if sent.reason >= REFUSED:
            raise BrokerError(
                f"the broker refuses what an agent publishes on {topic}",
                hint="log in with an account of the role agent:"
                " edge-agent-enrol add conformance --role agent --password",
            )
        return sent.reason != NO_SUBSCRIBERS

    # --- inside -------------------------------------------------------------------------------

    def _refuse_company(self) -> None:
        state = self._others_state
        if state is not None and state.status == "online":
            raise ConfigError(
                f"an agent is online in store {self._place.store} on this broker:"
                " its messages would mix with these",
                hint="stop it, or use a store's name of your own, such as --store bench",
            )

    def _on_message(self, message: Incoming) -> None:
        topic = self._place.in_contract(message.topic)
        if topic == self._state_topic and message.retain:
            self._others_state = _read(AgentState, message.payload)
        if topic == topics.clock(self._place.store) and self._is_replay:
            tick = _read(ClockTick, message.payload)
            self._now = self._now if tick is None else tick.now
            return
        if not self._concern.has(topic, message.payload):
            return
        response_topic = message.response_topic
        heard = Heard(
            at_s=self.monotonic_s(),
            at=self.now(),
            topic=topic,
            payload=message.payload,
            qos=message.qos,
            retain=message.retain,
            response_topic=response_topic and self._place.in_contract(response_topic),
            correlation=message.correlation,
        )
        with self._changed:
            if len(self._heard) < HEARD_MAX:
                self._heard.append(heard)
            self._changed.notify_all()


def settings_with_will(settings: LinkSettings, place: Place) -> LinkSettings:
    """Returns a login whose last will says that the agent is gone, as an agent's does."""
    topic = place.at_broker(topics.agent_state(place.store))
    return replace(settings, will=Will(topic=topic, payload=_state(place, "offline")))


def _state(place: Place, status: str) -> bytes:
    state = {"status": status, "store": place.store, "version": __version__, "health": "good"}
    return AgentState.model_validate(state).model_dump_json(exclude_none=True).encode()


def _read(model: type[M], payload: bytes) -> M | None:
    try:
        return model.model_validate_json(payload)
    except ValidationError:
        return None


def _note_answer(token: object, reason: int) -> None:
    if isinstance(token, _Sent):
        token.reason = reason
        token.answered.set()
