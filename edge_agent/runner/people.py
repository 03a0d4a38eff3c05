"""Identifiers to pseudonyms, with the right day's key: the edge that nothing raw gets past."""

from __future__ import annotations

import hmac
from typing import TYPE_CHECKING, Final

from edge_agent.domain.time import HOUR_MS, local_day_end_ms, local_time
from edge_agent.domain.visitor import IDENTIFIED_KINDS
from edge_agent.identify.pseudonyms import Pseudonymiser

if TYPE_CHECKING:
    from datetime import tzinfo

    from edge_agent.domain.ids import BasketId
    from edge_agent.domain.visitor import Subject
    from edge_agent.ports import Keys
    from edge_agent.wire.base import VisitorRef

# Tells the key of units from everything else that the store's key is used for.
_UNITS: Final = b"edge-agent units 1"
_OFFERS: Final = b"edge-agent codes of offers 1"
# A visit may run past midnight: the day's key lives that much longer, and no more.
KEY_GRACE_MS: Final = 2 * HOUR_MS


class People:
    """Holds the pseudonymiser of the days that have a key."""

    def __init__(self, keys: Keys, zone: tzinfo) -> None:
        self._keys = keys
        self._zone = zone
        self._days = keys.day_keys()
        # A rotation does not change what it is made from, so nobody changes his arm by one.
        self.unit_key = hmac.digest(keys.store_key(), _UNITS, "sha256")
        # Nor does one make a code worthless that is out.
        self.offer_key = hmac.digest(keys.store_key(), _OFFERS, "sha256")
        self.rekeyed()

    def rekeyed(self) -> None:
        """Takes up the store's keys after they were rotated."""
        self._ids_key = self._keys.ids_key()
        self._refresh()

    def subject(self, reference: VisitorRef | None, *, day: str, now_ms: int) -> Subject | None:
        """Returns an identifier's pseudonym; None for nobody, and when its day's key is gone."""
        if reference is None:
            return None
        self._ensure(day, now_ms)
        return self._pseudonymiser.subject(reference, day=day)

    def basket(self, number: str | None, *, day: str, now_ms: int) -> BasketId | None:
        """Returns a basket's pseudonym; None when there is none or its day's key is gone."""
        if number is None:
            return None
        self._ensure(day, now_ms)
        return self._pseudonymiser.basket(number, day=day)

    def uncovered(self, subject: Subject) -> str:
        """Returns what of a pseudonym a rotation of the store's key does not change."""
        return self._pseudonymiser.uncovered(subject)

    def known_as(self, reference: VisitorRef) -> tuple[Subject, ...]:
        """Returns what an identifier is known as now: under the store's key, or each day's."""
        days = ("",) if reference.kind in IDENTIFIED_KINDS else tuple(sorted(self._days))
        found = (self._pseudonymiser.subject(reference, day=day) for day in days)
        return tuple(subject for subject in found if subject is not None)

    def case(self, number: str) -> str:
        """Returns a complaint case's keyed hash."""
        return self._pseudonymiser.case(number)

    def today_key(self, now_ms: int) -> bytes:
        """Returns the key of the present day, which is destroyed when the day is over."""
        day = local_time(now_ms, self._zone).day
        self._ensure(day, now_ms)
        return self._days[day]

    def key_of(self, at_ms: int) -> bytes | None:
        """Returns the key of an instant's day; None when it is destroyed."""
        return self._days.get(local_time(at_ms, self._zone).day)

    def destroy_past_keys(self, now_ms: int) -> tuple[str, ...]:
        """Destroys the keys of days that are over, but for the grace; returns which."""
        over = [day for day in self._days if now_ms >= self._end_ms(day) + KEY_GRACE_MS]
        if not over:
            return ()
        today = local_time(now_ms - KEY_GRACE_MS, self._zone).day
        destroyed = self._keys.destroy_before(today)
        self._days = self._keys.day_keys()
        self._refresh()
        return destroyed

    def _ensure(self, day: str, now_ms: int) -> None:
        if day in self._days or now_ms >= self._end_ms(day):
            # A key that was destroyed is never made again: its day stays forgotten.
            return
        self._days[day] = self._keys.make_day_key(day)
        self._refresh()

    def _end_ms(self, day: str) -> int:
        return local_day_end_ms(day, self._zone)

    def _refresh(self) -> None:
        self._pseudonymiser = Pseudonymiser(
            store_key=self._keys.store_key(),
            day_keys=self._days,
            permutation=self._keys.permutation(),
            ids_key=self._ids_key,
        )
