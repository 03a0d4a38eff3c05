"""A vendor's screen that keeps the contract, or breaks it in one way that is asked for."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from edge_agent.conformance.person import Answer, nothing
from edge_agent.conformance.screen_cases import MARKUP
from edge_agent.wire import topics
from tests.vendor_world import World

PAINT_S = 0.05
Json = dict[str, Any]


@dataclass
class VendorScreen:
    """A screen with a picture, fingers, and a plug; it is its own `Person` as well.

    Attributes:
        fault: What is wrong with it; empty for nothing.
        kept: What the broker keeps, by topic.
    """

    world: World
    store: str
    screen: str
    fault: str = ""
    shown: Json | None = None
    is_on: bool = True
    kept: dict[str, bytes] = field(default_factory=dict)
    _n_told: int = 0
    _is_deaf: bool = False
    _arrivals: list[datetime] = field(default_factory=list)
    _newest_issued: str = ""
    _last_items: Any = None

    # --- messages -----------------------------------------------------------------------------

    @property
    def is_subscribed(self) -> bool:
        """Whether it hears what it is sent."""
        return self.is_on and self.fault != "hears nothing"

    def hear(self, topic: str, payload: bytes) -> None:
        """Takes a message, as a good screen does, but for its fault."""
        if topic != topics.recommendation(self.store, self.screen):
            return
        if self._is_deaf and b"decision" in payload:
            self._is_deaf = False
            return
        if not payload:
            self._clear()
            return
        try:
            self._take(json.loads(payload))
        except (ValueError, TypeError, RecursionError):
            self._is_deaf = self.fault == "stunned by broken messages"
        except KeyError:
            return

    def _clear(self) -> None:
        self._is_deaf = self.fault == "stunned by clearing" and self.shown is not None
        if self.fault != "keeps what is cleared":
            self.shown = None

    def _take(self, said: Any) -> None:
        if not isinstance(said, dict):
            raise TypeError
        is_known = said["schema_version"] == 1 or self.fault == "any version"
        if not is_known or not said["items"] or self._is_over(said) or self._is_passed_over(said):
            return
        is_again = self.shown is not None and self.shown["decision"] == said["decision"]
        self.shown = said
        if is_again and self.fault != "tells repeats again":
            return
        delay_s = 5.5 if self.fault == "slow" else PAINT_S
        self.world.later(delay_s, lambda: self._paint(said))

    def _is_over(self, said: Json) -> bool:
        if self.fault == "needs no end":
            said.setdefault("valid_until", "2999-01-01T00:00:00Z")
        text = said["valid_until"]
        if self.fault == "takes what is over" and text.endswith("Z"):
            return False
        if self.fault == "forgets eastern offsets":
            text = re.sub(r"\+\d\d:\d\d$", "Z", text)
        if self.fault == "knows no offsets" and not text.endswith("Z"):
            return True
        return datetime.fromisoformat(text) <= self.world.now()

    def _is_passed_over(self, said: Json) -> bool:  # noqa: C901, PLR0911, PLR0912 - a table of faults
        items, now = said["items"], self.world.now()
        first = items[0]
        self._arrivals = [at for at in self._arrivals if (now - at).total_seconds() < 0.01] + [now]
        match self.fault:
            case "shows nothing":
                return True
            case "needs a price":
                return first.get("price", 1) is None
            case "needs all fields":
                return "image" not in first
            case "one offer":
                return sum(each.get("offer") is not None for each in items) > 1
            case "short titles":
                return len(first["title"]) > 1_000
            case "ten items":
                return len(items) > 10
            case "strict fields":
                return "layout" in said
            case "no markup":
                return "</script>" in first["title"]
            case "compares items":
                same, self._last_items = items == self._last_items, items
                return bool(same)
            case "few at once":
                return len(self._arrivals) > 4
            case "newest issued":
                is_older = said["issued"] < self._newest_issued
                self._newest_issued = max(self._newest_issued, said["issued"])
                return bool(is_older) and "older" in said["decision"]
            case _:
                return False

    def _paint(self, said: Json) -> None:
        if self.shown is not said or not self.is_on:
            if self.fault == "dismisses what is replaced":
                self._tell("dismissed", said["decision"])
            return
        decision = said["decision"]
        self._tell("shown", decision)
        if self.fault == "dismisses what is replaced" and "reads" in decision:
            self._tell("dismissed", decision)
        if self.fault == "tells plain twice" and decision.endswith("-plain"):
            self._tell("shown", decision, salt="again")
        if self.fault == "tells of others":
            self._tell("shown", "nobody's")
        if "valid_until" in said:
            ends = datetime.fromisoformat(said["valid_until"])
            left_s = (ends - self.world.now()).total_seconds()
            self.world.later(left_s, lambda: self._end(said))

    def _end(self, said: Json) -> None:
        if self.shown is said and self.fault != "keeps what is over":
            self.shown = None
        if self.fault == "cycles on":
            self.world.later(2.0, lambda: self._tell("shown", said["decision"]))
        if self.fault == "dismisses what ends":
            self._tell("dismissed", said["decision"])

    def _tell(self, kind: str, decision: str, *, salt: str = "") -> None:
        if self.fault == "tells repeats again":
            self._n_told += 1
            salt = str(self._n_told)
        event_id = hashlib.sha256(f"{kind} {decision} {salt}".encode()).hexdigest()[:24]
        if self.fault == "one id for all":
            event_id = "id-1"
        at = self.world.now() + timedelta(hours=self.fault == "an hour ahead")
        said: Json = {
            "specversion": "1.0",
            "id": event_id,
            "source": self.screen,
            "type": f"screen.{kind}",
            "time": at.astimezone(UTC).isoformat().replace("+00:00", "Z"),
            "data": {"decision": decision, "screen": self.screen},
        }
        if self.fault == "no specversion":
            del said["specversion"]
        if self.fault == "local time":
            said["time"] = said["time"][:19]
        if self.fault == "another screen's name":
            said["data"]["screen"] = "wine-1"
        if self.fault == "unknown product":
            said["data"]["product"] = "none"
        topic = topics.feedback(self.store, self.screen)
        if self.fault == "another topic":
            topic = f"shop/{self.store}/{self.screen}"
        qos, retain = int(self.fault != "qos 0"), self.fault == "retained"
        self.world.publish(topic, json.dumps(said).encode(), qos=qos, retain=retain)

    # --- somebody in front of it --------------------------------------------------------------

    @property
    def is_there(self) -> bool:
        """Whether anybody can be asked."""
        return True

    def note(self, text: str) -> None:
        """Hears it."""

    def does(self, task: str, text: str, *, meanwhile: Callable[[], None] = nothing) -> Answer:  # noqa: ARG002 - names suffice
        """Touches the screen, or its plug."""
        shown = self.shown
        if task in {"tapped", "dismissed"}:
            if shown is not None and self.fault != f"tells no {task}":
                self._tell(task, shown["decision"])
            return "yes"
        self.is_on = task == "switch-on"
        self.shown, self._is_deaf = None, False
        if self.is_on and self.fault != "forgets over a restart":
            topic = topics.recommendation(self.store, self.screen)
            self.hear(topic, self.kept.get(topic, b""))
        return "yes"

    def sees(self, question: str, text: str) -> Answer:  # noqa: ARG002 - names suffice
        """Looks at the screen."""
        match question:
            case "reads-exactly":
                return _yes(self._title() == MARKUP)
            case "offer-over":
                return _yes(self._offer_text() is None)
            case _:
                return _yes("Gone" not in self._title())

    def _title(self) -> str:
        if self.shown is None:
            return ""
        title = str(self.shown["items"][0]["title"])
        return re.sub(r"<[^>]*>", "", title) if self.fault == "markup" else title

    def _offer_text(self) -> str | None:
        offer = None if self.shown is None else self.shown["items"][0]["offer"]
        if offer is None:
            return None
        is_over = datetime.fromisoformat(offer["valid_until"]) <= self.world.now()
        return None if is_over and self.fault != "keeps offers" else str(offer["text"])


def _yes(is_so: bool) -> Answer:  # noqa: FBT001 - what is to be said
    return "yes" if is_so else "no"
