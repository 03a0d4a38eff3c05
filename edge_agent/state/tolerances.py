"""How far a device may be off before it is told: its silence, its drift, its clock.

What the store's configuration says of a device goes before what it says of the device's mapping,
and that before what holds for all; what nobody says is one of the defaults here.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from types import MappingProxyType

Said = Mapping[str, int | float]
_NOTHING: Said = MappingProxyType({})


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What is still well of one device.

    Attributes:
        silent_after_s: It is missed after so much silence; 0 is never, None by its own rhythm.
        drift_people: So many who came in and were not seen to leave are no drift: some leave by
            a door without a counter.
        drift_share: Nor is this share of all who passed: good counters are right for 95 of 100.
        clock_ahead_s: No clock that follows NTP is ever so far ahead; a sensor without it gains
            some seconds a day.
        clock_behind_s: A counter tells of an interval when it is over, by its beginning, and of an
            hour at the longest.
    """

    silent_after_s: int | None = None
    drift_people: int = 5
    drift_share: float = 0.05
    clock_ahead_s: float = 120.0
    clock_behind_s: float = 5_400.0

    def is_off(self, inside: int, n: int) -> bool:
        """Returns whether entries less exits are too many, of so many."""
        return abs(inside) > max(self.drift_people, self.drift_share * n)

    def clock_share(self, skew_s: float) -> float:
        """Returns how much of its allowance a clock has used up; above 1 it is wrong.

        Example:
            >>> Limits().clock_share(240.0), Limits().clock_share(-2_700.0)
            (2.0, 0.5)
        """
        return skew_s / self.clock_ahead_s if skew_s >= 0 else -skew_s / self.clock_behind_s


DEFAULT = Limits()


@dataclass(frozen=True, slots=True, kw_only=True)
class Tolerances:
    """What the store's configuration says of its devices.

    Attributes:
        everywhere: What holds for all, and for the store as a whole.
        sources: By the device's name, what of it is said.
        mappings: By the mapping that reads it.
    """

    everywhere: Limits = DEFAULT
    sources: Mapping[str, Said] = field(default_factory=dict)
    mappings: Mapping[str, Said] = field(default_factory=dict)

    def of(self, source: str, mapping: str = "") -> Limits:
        """Returns a device's limits."""
        said = {**self.mappings.get(mapping, _NOTHING), **self.sources.get(source, _NOTHING)}
        # Names and types are those of the configuration's own model.
        return replace(self.everywhere, **said) if said else self.everywhere  # type: ignore[arg-type] # said above
