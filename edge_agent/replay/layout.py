"""The simulated supermarket: its zones, screens and registers.

Real are the departments, which come from the data set's product table and decide which zone sells
what. Simulated is the building: which departments share a zone, the order in which people walk
past them, a screen in each of them, the tills. Nothing here depends on the day replayed, so one
configuration of the agent serves every day.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Final

from edge_agent.domain.ids import RegisterId, ScreenId, ZoneId

ENTRANCE: Final = ZoneId("entrance")
SERVICE_DESK: Final = ZoneId("service-desk")
N_REGISTERS: Final = 8
"""So many tills that, on every day of December 2017, few sales have to wait; see `simulate`."""
FLOOR_TEAM: Final = "floor"
LONG_DWELL_S: Final = 240
LONG_DWELL_GROCERY_S: Final = 600
"""Two lines of three are groceries, so a long stay there says less."""

OUTSIDE_DEPARTMENTS: Final = frozenset({"FUEL"})
"""Sold on the forecourt: nobody walks to a zone for it."""

# Zone, name, departments of the data set; in the order in which the aisles lead past them.
_SALES_ZONES: Final = (
    ("produce", "Fruit and vegetables", ("PRODUCE",)),
    ("floral", "Flowers and garden", ("FLORAL", "GARDEN CENTER")),
    ("bakery", "Bakery", ("PASTRY",)),
    ("deli", "Deli and salad bar", ("DELI", "CHEF SHOPPE", "SALAD BAR", "RESTAURANT")),
    ("seafood", "Fish and seafood", ("SEAFOOD", "SEAFOOD-PCKGD")),
    ("meat", "Meat counter", ("MEAT",)),
    ("meat-packaged", "Packaged meat", ("MEAT-PCKGD",)),
    ("nutrition", "Health food", ("NUTRITION",)),
    ("grocery", "Groceries", ("GROCERY", "FROZEN GROCERY")),
    ("spirits", "Wine and spirits", ("SPIRITS",)),
    (
        "drugstore",
        "Drugstore and household",
        ("DRUG GM", "TOYS", "AUTOMOTIVE", "ELECT &PLUMBING", "HOUSEWARES"),
    ),
    ("cosmetics", "Cosmetics", ("COSMETICS",)),
    (
        "service-desk",
        "Service desk",
        (
            "MISCELLANEOUS",
            "COUPON",
            "TRAVEL & LEISURE",
            "PHOTO & VIDEO",
            "POSTAL CENTER",
            "CHARITABLE CONT",
            "CNTRL/STORE SUP",
            "PROD-WHS SALES",
            "GM MERCH EXP",
        ),
    ),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Zone:
    """A part of the shop floor.

    Attributes:
        departments: What it sells, as the data set names it; empty where nothing is sold.
        is_entrance: Visits begin here.
        is_exit: Visits end here.
        long_dwell_s: From how long a stay on a person may need help; None where nobody looks.
        team: Whom to tell.
    """

    id: ZoneId
    name: str
    departments: tuple[str, ...] = ()
    is_entrance: bool = False
    is_exit: bool = False
    long_dwell_s: int | None = None
    team: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Screen:
    """A screen, and the zone it hangs in."""

    id: ScreenId
    zone: ZoneId
    audience: str = "public"


@dataclass(frozen=True, slots=True, kw_only=True)
class Register:
    """A till, and the zone in which its one customer stands."""

    id: RegisterId
    zone: ZoneId


@dataclass(frozen=True, slots=True, kw_only=True)
class Layout:
    """The whole store.

    Attributes:
        zones: The entrance, the sales zones in walking order, one checkout zone for each till.
        screens: One for each sales zone.
        registers: The tills.
    """

    zones: tuple[Zone, ...]
    screens: tuple[Screen, ...]
    registers: tuple[Register, ...]

    @property
    def sales_zones(self) -> tuple[Zone, ...]:
        """The zones that sell something, in walking order."""
        return tuple(zone for zone in self.zones if zone.departments)

    def zone_of(self, department: str) -> ZoneId | None:
        """Returns where a department is sold.

        None means outside the building; what no zone names is sold at the service desk.
        """
        if department in OUTSIDE_DEPARTMENTS:
            return None
        for zone in self.zones:
            if department in zone.departments:
                return zone.id
        return SERVICE_DESK


def store_layout(*, n_registers: int = N_REGISTERS) -> Layout:
    """Returns the simulated supermarket."""
    entrance = Zone(id=ENTRANCE, name="Entrance", is_entrance=True, is_exit=True)
    sales = tuple(
        Zone(
            id=ZoneId(zone),
            name=name,
            departments=departments,
            long_dwell_s=LONG_DWELL_GROCERY_S if zone == "grocery" else LONG_DWELL_S,
            team=FLOOR_TEAM,
        )
        for zone, name, departments in _SALES_ZONES
    )
    registers = tuple(
        Register(id=RegisterId(f"pos-{n}"), zone=ZoneId(f"checkout-{n}"))
        for n in range(1, n_registers + 1)
    )
    checkouts = tuple(
        Zone(id=register.zone, name=f"Checkout {n}")
        for n, register in enumerate(registers, start=1)
    )
    screens = tuple(Screen(id=ScreenId(f"{zone.id}-1"), zone=zone.id) for zone in sales)
    return Layout(zones=(entrance, *sales, *checkouts), screens=screens, registers=registers)


def layout_toml(layout: Layout) -> str:
    """Returns the sections `[zones.*]`, `[screens.*]` and `[registers.*]` of the agent's file."""
    blocks = [_zone_toml(zone) for zone in layout.zones]
    blocks += [
        f"[screens.{screen.id}]\nzone = {_text(screen.zone)}\n"
        f"audience = {_text(screen.audience)}\n"
        for screen in layout.screens
    ]
    blocks += [
        f"[registers.{register.id}]\nzone = {_text(register.zone)}\n"
        for register in layout.registers
    ]
    return "\n".join(blocks)


def _zone_toml(zone: Zone) -> str:
    lines = [f"[zones.{zone.id}]", f"name = {_text(zone.name)}"]
    if zone.departments:
        lines.append(f"departments = [{', '.join(map(_text, zone.departments))}]")
    if zone.is_entrance:
        lines.append("entrance = true")
    if zone.is_exit:
        lines.append("exit = true")
    if zone.long_dwell_s is not None:
        lines.append(f"long_dwell_s = {zone.long_dwell_s}")
    if zone.team is not None:
        lines.append(f"team = {_text(zone.team)}")
    return "\n".join(lines) + "\n"


def _text(value: str) -> str:
    # A JSON string of printable characters is a TOML basic string as well.
    return json.dumps(value, ensure_ascii=False)
