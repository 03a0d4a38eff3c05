"""The gate on the link to HQ: the one place from which anything is published there.

What is sent passes `sync.egress` first; what does not pass is never sent, but counted and told in
the log by its kind and field. What left today is counted in the database; the newest texts are
kept in memory alone, because a customer's may be among them.
"""

from __future__ import annotations

import json
import logging
from collections import deque
from typing import TYPE_CHECKING, Any, Final

from edge_agent.domain.time import local_time, rfc3339_from_ms
from edge_agent.sync.egress import Refused, checked

if TYPE_CHECKING:
    from collections import Counter
    from datetime import tzinfo

    from edge_agent.ports import Link, UnitOfWork
    from edge_agent.sync.egress import Names

log = logging.getLogger(__name__)

# In `meta`: what left on the day of the last sending.
META_KEY: Final = "egress"
TEXTS_KEPT: Final = 200
# Refused rows are deleted with the next commit; until then they are not told again.
REFUSED_KEPT: Final = 1_000


class HqGate:
    """Sends to HQ what may leave, and keeps the day's account of it."""

    def __init__(
        self,
        link: Link,
        names: Names,
        zone: tzinfo,
        *,
        counters: Counter[str],
        saved: str | None,
    ) -> None:
        """Sets up the gate.

        Args:
            link: The connection to HQ.
            names: The store's own words.
            zone: The store's, for the day.
            counters: Where refusals are counted.
            saved: The day's account as it was saved last.

        Raises:
            ValueError, KeyError, TypeError: What was saved is no account.
        """
        self._link = link
        self._names = names
        self._zone = zone
        self._counters = counters
        self._day = _account_in(saved)
        self._texts: deque[dict[str, str]] = deque(maxlen=TEXTS_KEPT)
        self._refused: deque[str] = deque(maxlen=REFUSED_KEPT)
        self._is_changed = False

    @property
    def connected(self) -> bool:
        """Whether HQ can be reached."""
        return self._link.connected

    def send(self, message_id: str, topic: str, payload: bytes, *, now_ms: int) -> bool:
        """Sends a message if it may leave; returns whether it may."""
        if message_id in self._refused:
            return False
        found = checked(topic, payload, self._names)
        account = self._account(found.kind, now_ms)
        self._is_changed = True
        if isinstance(found, Refused):
            self._refused.append(message_id)
            account["refused"] += 1
            self._counters["egress_refused"] += 1
            fields = {"kind": found.kind, "reason": found.reason}
            log.error("egress_refused", extra={"fields": fields})
            return False
        account["sent"] += 1
        account["bytes"] += len(payload)
        account["fields"] = sorted({*account["fields"], *found.fields})
        text = {"at": rfc3339_from_ms(now_ms), "topic": topic, "text": payload.decode()}
        self._texts.append(text)
        self._link.publish(topic, payload)
        return True

    def save(self, unit: UnitOfWork) -> None:
        """Queues the day's account if it changed."""
        if self._is_changed:
            self._is_changed = False
            unit.add("meta", (META_KEY, json.dumps(self._day, sort_keys=True)))

    def told(self, n_texts: int, *, now_ms: int) -> dict[str, Any]:
        """Returns what left on the present day, and the newest messages as they were sent."""
        day = self._day_of(now_ms)
        kinds = self._day["kinds"] if self._day["day"] == day else {}
        return {
            "day": day,
            "kinds": kinds,
            "texts": list(self._texts)[-n_texts:] if n_texts else [],
        }

    def forget_texts(self) -> None:
        """Forgets the texts: somebody who is forgotten may be among them."""
        self._texts.clear()

    def _account(self, kind: str, now_ms: int) -> dict[str, Any]:
        day = self._day_of(now_ms)
        if self._day["day"] != day:
            self._day = {"day": day, "kinds": {}}
        fresh = {"sent": 0, "bytes": 0, "refused": 0, "fields": []}
        account: dict[str, Any] = self._day["kinds"].setdefault(kind, fresh)
        return account

    def _day_of(self, now_ms: int) -> str:
        return local_time(now_ms, self._zone).day


def _account_in(saved: str | None) -> dict[str, Any]:
    """Returns the account that was saved; an empty one where none was."""
    found: dict[str, Any] = json.loads(saved) if saved else {"day": "", "kinds": {}}
    fields = {"sent", "bytes", "refused", "fields"}
    is_whole = isinstance(found["day"], str) and isinstance(found["kinds"], dict)
    if not is_whole or any(not fields <= set(each) for each in found["kinds"].values()):
        raise ValueError("this is no account of what left")
    return found
