"""The store: what it is made of, and the little that is known of it right now."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Final

from edge_agent.domain.ids import (
    DecisionId,
    ProductId,
    RegisterId,
    ScreenId,
    SourceId,
    TeamId,
    VisitorId,
    ZoneId,
)
from edge_agent.domain.rules import FactValue

FLOOR_TEAM: Final = TeamId("floor")
# Who may see a screen, by how much may not be said there: the first bears the least.
AUDIENCES: Final = ("public", "semi_private", "private")


@dataclass(frozen=True, slots=True, kw_only=True)
class Zone:
    """A part of the store.

    Attributes:
        departments: Names of the catalogue's departments sold here.
        is_exit: Leaving this zone ends a visit that has paid.
        long_dwell_s: Dwell without a lifted item after which `team` is told; None: never.
    """

    id: ZoneId
    name: str
    departments: tuple[str, ...] = ()
    is_exit: bool = False
    long_dwell_s: int | None = None
    team: TeamId = FLOOR_TEAM


@dataclass(frozen=True, slots=True, kw_only=True)
class Screen:
    """A screen and who can see it."""

    id: ScreenId
    zone: ZoneId
    audience: str = "public"


@dataclass(frozen=True, slots=True, kw_only=True)
class Register:
    """A till and the zone in which its customer stands."""

    id: RegisterId
    zone: ZoneId | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Layout:
    """Zones, screens and registers, as the configuration says."""

    zones: Mapping[ZoneId, Zone] = field(default_factory=lambda: MappingProxyType({}))
    screens: Mapping[ScreenId, Screen] = field(default_factory=lambda: MappingProxyType({}))
    registers: Mapping[RegisterId, Register] = field(default_factory=lambda: MappingProxyType({}))
    receipt_sources: frozenset[SourceId] = frozenset()
    audiences: Mapping[SourceId, str] = field(default_factory=lambda: MappingProxyType({}))
    channels: Mapping[SourceId, str] = field(default_factory=lambda: MappingProxyType({}))
    screens_by_zone: Mapping[ZoneId, tuple[Screen, ...]] = field(
        default_factory=lambda: MappingProxyType({})
    )
    personal_screens: tuple[Screen, ...] = field(init=False)

    def __post_init__(self) -> None:
        """Finds the screens that may say what is for one person's eyes."""
        found = (each for each in self.screens.values() if each.audience != "public")
        object.__setattr__(self, "personal_screens", tuple(found))

    def audience_of(self, source: SourceId) -> str:
        """Returns who can see what a source is answered; `public` unless it is configured."""
        return self.audiences.get(source, "public")

    def tightened(self, audiences: Mapping[ScreenId, str]) -> Layout:
        """Returns the layout with screens that more people see; never one that fewer would."""
        if not audiences:
            return self
        screens = {
            name: replace(screen, audience=_wider(screen.audience, audiences.get(name)))
            for name, screen in self.screens.items()
        }
        by_zone = {
            zone: tuple(screens[each.id] for each in there)
            for zone, there in self.screens_by_zone.items()
        }
        return replace(
            self,
            screens=MappingProxyType(screens),
            screens_by_zone=MappingProxyType(by_zone),
        )


def _wider(one: str, other: str | None) -> str:
    return one if other is None else min(one, other, key=AUDIENCES.index)


@dataclass(frozen=True, slots=True, kw_only=True)
class Product:
    """What a screen needs to show a product.

    Attributes:
        minimum_age: Years from which one may be sold it; 0 where anybody may.
    """

    id: ProductId
    title: str
    price: str | None = None
    currency: str | None = None
    department: str | None = None
    image: str | None = None
    brand: str | None = None
    minimum_age: int = 0

    def price_in(self, currency: str) -> str | None:
        """Returns its price; None where none is known, or only one in another currency."""
        return self.price if self.currency in {None, currency} else None


@dataclass(frozen=True, slots=True, kw_only=True)
class Showing:
    """What a screen shows, for whom, until when.

    Attributes:
        visitor: None for the store's default and for an answer to several.
        audience: Who may see it: it was decided before them.
        is_shared: Whether it answers several people together.
    """

    screen: ScreenId
    decision: DecisionId
    visitor: VisitorId | None
    valid_until_ms: int
    audience: str = "private"
    is_shared: bool = False

    @property
    def is_personal(self) -> bool:
        """Whether it may say what is for its visitor's eyes alone."""
        return self.visitor is not None and self.audience != "public"


@dataclass(frozen=True, slots=True, kw_only=True)
class Level:
    """How many a sensor last counted in a zone, and when: an old number is not believed.

    Attributes:
        at_ms: Event time of the measurement.
    """

    value: int
    at_ms: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Fact:
    """Something that HQ says of the day, such as the weather.

    Attributes:
        valid_until_ms: The instant from which it is not true any more.
    """

    name: str
    value: FactValue
    valid_until_ms: int


@dataclass(frozen=True, slots=True, kw_only=True)
class AtRegister:
    """Somebody who stands, or stood, in a register's zone."""

    visitor: VisitorId
    entered_at_ms: int
    left_at_ms: int | None
