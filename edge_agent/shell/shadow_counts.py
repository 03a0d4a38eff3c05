"""What a policy that runs muted beside the real one is told by: sums per zone, and nobody's data.

Of every compared decision: whether both policies put the same first, whether they say the same,
what each expects of it, whether each says anything, and, once its visitor paid, whether he bought
something that each told of.
"""

from __future__ import annotations

import json
from collections import defaultdict
from dataclasses import dataclass
from math import sqrt
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Mapping

    from edge_agent.domain.ids import CampaignId, ProductId

NO_ZONE: Final = "no zone"
DIGITS: Final = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class Said:
    """What a policy says at a moment.

    Attributes:
        products: Best first; empty is silence, or a text alone.
        campaigns: Whose words are among it.
        value: What it is expected to bring: each item's probability times its value, summed.
    """

    products: tuple[ProductId, ...] = ()
    campaigns: tuple[CampaignId, ...] = ()
    value: float = 0.0

    @property
    def is_contact(self) -> bool:
        """Whether it says anything."""
        return bool(self.products or self.campaigns)

    def is_first_as(self, other: Said) -> bool:
        """Returns whether the same stands first."""
        return _first(self) == _first(other)

    def is_same_as(self, other: Said) -> bool:
        """Returns whether the same is said, in whatever order."""
        products = frozenset(self.products) == frozenset(other.products)
        return products and frozenset(self.campaigns) == frozenset(other.campaigns)


def _first(said: Said) -> str | None:
    return next(iter((*said.products, *said.campaigns)), None)


class ShadowCounts:
    """The sums, by zone."""

    def __init__(self, saved: Mapping[str, Mapping[str, float]] | None = None) -> None:
        self.zones: dict[str, dict[str, float]] = defaultdict(lambda: defaultdict(int))
        for zone, counts in (saved or {}).items():
            self.zones[zone].update(counts)

    def compared(self, zone: str, live: Said, other: Said | None) -> None:
        """Adds a decision; None of the other is one that nobody can tell."""
        counts = self.zones[zone]
        if other is None:
            counts["unknowable"] += 1
            return
        gained = other.value - live.value
        counts["compared"] += 1
        counts["same_first"] += live.is_first_as(other)
        counts["same_set"] += live.is_same_as(other)
        counts["live_contacts"] += live.is_contact
        counts["other_contacts"] += other.is_contact
        counts["live_value"] += live.value
        counts["other_value"] += other.value
        counts["gained_squared"] += gained * gained

    def paid(self, zone: str, *, live: bool, other: bool) -> None:
        """Adds a decision whose visitor paid: whether each policy told of something of it."""
        counts = self.zones[zone]
        counts["cases"] += 1
        counts["live_hits"] += live
        counts["other_hits"] += other

    def saved(self) -> dict[str, dict[str, float]]:
        """Returns the sums as plain values."""
        return {zone: dict(counts) for zone, counts in sorted(self.zones.items())}


def report_of(saved: str | None) -> dict[str, Any] | None:
    """Returns a comparison as an operator reads it, from what `saved` returned."""
    told = None if saved is None else json.loads(saved)
    if told is None or (told["version"], told["problem"]) == (None, None):
        return None
    left = told["left"]
    return {
        "version": told["version"],
        "digest": told["digest"],
        "problem": told["problem"],
        "stepped_out": told["stepped_out"],
        "left_out": left.get("skipped", 0),
        "failed": left.get("failed", 0),
        "zones": _zones(told["zones"]),
    }


def _zones(saved: Mapping[str, Mapping[str, float]]) -> list[dict[str, Any]]:
    return [{"zone": zone, **_told(counts)} for zone, counts in sorted(saved.items())]


def _told(counts: Mapping[str, float]) -> dict[str, Any]:
    n, cases = counts.get("compared", 0), counts.get("cases", 0)
    live, other = counts.get("live_value", 0.0), counts.get("other_value", 0.0)
    contacts = (counts.get("live_contacts", 0), counts.get("other_contacts", 0))
    return {
        "compared": n,
        "same_first": _share(counts.get("same_first", 0), n),
        "same_set": _share(counts.get("same_set", 0), n),
        "expected_value_live": round(live, DIGITS),
        "expected_value_shadow": round(other, DIGITS),
        "difference_per_decision": _share(other - live, n),
        "standard_error": _standard_error(n, other - live, counts.get("gained_squared", 0.0)),
        "contacts_live": contacts[0],
        "contacts_shadow": contacts[1],
        "silences_live": n - contacts[0],
        "silences_shadow": n - contacts[1],
        "cases_with_a_purchase": cases,
        "hits_live": counts.get("live_hits", 0),
        "hits_shadow": counts.get("other_hits", 0),
        "unknowable": counts.get("unknowable", 0),
    }


def _share(part: float, whole: float) -> float | None:
    # Minus nought would be told as a loss.
    return round(part / whole, DIGITS) + 0.0 if whole else None


def _standard_error(n: float, total: float, squared: float) -> float | None:
    """Returns the standard error of the mean difference; None of fewer than two."""
    if n < 2:  # noqa: PLR2004 - a spread takes two
        return None
    variance = max(squared - total * total / n, 0.0) / (n - 1)
    return round(sqrt(variance / n), DIGITS)
