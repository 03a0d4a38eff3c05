"""The names that a condition of `policy.toml` may use: what each is, and whose it is.

Conditions look at a moment. Its facts are a mapping of these very names; one that is not known
at that moment is left out of it, and makes what asks for it false. What comes from somebody's
history is left out before a public screen, so that no condition there can rest on it.
"""

from __future__ import annotations

from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Mapping

TEXT: Final = "text"
INT: Final = "int"
BOOL: Final = "bool"
TEXTS: Final = "list of texts"
MAP: Final = "map"

PYTHON_TYPES: Final[Mapping[str, tuple[type, ...]]] = MappingProxyType(
    {TEXT: (str,), INT: (int,), BOOL: (bool,), TEXTS: (list, tuple), MAP: (dict,)}
)
"""What a fact of each type may be in the mapping: plain values; an expression takes no others."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FactName:
    """One name.

    Attributes:
        type: One of the types above; a map is from text to text, number or bool.
        about: What it says, for people.
        values: All that it may be; empty where that is no short list.
        span: Least and greatest of an int that has both.
        is_personal: It rests on who somebody is or did before this visit, and is never known
            before a public screen.
    """

    type: str
    about: str
    values: tuple[str, ...] = ()
    span: tuple[int, int] | None = None
    is_personal: bool = False


FACT_NAMES: Final[Mapping[str, FactName]] = MappingProxyType(
    {
        "moment": FactName(
            type=TEXT,
            about="what asks for a decision",
            values=(
                "zone_entered",
                "item_handled",
                "basket_line",
                "request",
                "company",
                "store_default",
            ),
        ),
        "channel": FactName(
            type=TEXT,
            about="where it is answered",
            values=("screen", "receipt", "reply"),
        ),
        "audience": FactName(
            type=TEXT, about="who sees it", values=("public", "semi_private", "private")
        ),
        "screen": FactName(type=TEXT, about="the screen; unknown elsewhere"),
        "register": FactName(type=TEXT, about="the till; unknown elsewhere"),
        "zone": FactName(type=TEXT, about="the zone; unknown where there is none"),
        "day": FactName(type=TEXT, about="store-local day, such as `2026-12-01`"),
        "hour": FactName(type=INT, about="store-local hour, 0 to 23", span=(0, 23)),
        "minute": FactName(
            type=INT, about="store-local minute of the hour, 0 to 59", span=(0, 59)
        ),
        "weekday": FactName(
            type=INT, about="store-local weekday: 0 is Monday, 6 is Sunday", span=(0, 6)
        ),
        "dwell_s": FactName(type=INT, about="whole seconds in this zone so far"),
        "basket_size": FactName(type=INT, about="goods in hand or basket in this visit"),
        "basket": FactName(type=TEXTS, about="which products these are"),
        "basket_departments": FactName(type=TEXTS, about="the departments of these, each once"),
        "basket_value": FactName(
            type=INT,
            about=(
                "what the goods in hand or basket cost in all by the catalogue, in the currency's"
                " smallest unit: 1999 is 19.99; unknown where any of their prices is"
            ),
        ),
        "item": FactName(
            type=TEXT, about="the product just lifted, scanned or added; unknown elsewhere"
        ),
        "item_price": FactName(
            type=INT,
            about=(
                "what one of it costs by the catalogue, in the currency's smallest unit;"
                " unknown where its price is"
            ),
        ),
        "queue": FactName(type=INT, about="length of the zone's queue, as last measured"),
        "occupancy": FactName(type=INT, about="people in the zone, as last counted"),
        "present": FactName(type=INT, about="visitors known to be in the zone now"),
        "identified": FactName(
            type=BOOL, about="whether it is somebody known who agreed to that", is_personal=True
        ),
        "segments": FactName(
            type=TEXTS, about="the segments he is in; empty where known of none", is_personal=True
        ),
        "interests": FactName(
            type=TEXTS, about="departments he mostly buys in, strongest first", is_personal=True
        ),
        "stage": FactName(
            type=TEXT,
            about="his stage as a customer, by when he bought",
            values=("new", "occasional", "regular", "lapsed"),
            is_personal=True,
        ),
        "answered": FactName(
            type=TEXTS, about="channels on which he took up something before", is_personal=True
        ),
        "fact": FactName(
            type=MAP,
            about='what HQ sends with a time to live: `fact.weather == "rain"`',
        ),
    }
)


def markdown_rows() -> list[str]:
    """Returns the README's table of names, row by row."""
    return [
        f"| `{name}` | {each.type} | {_told(each)}{' *' if each.is_personal else ''} |"
        for name, each in FACT_NAMES.items()
    ]


def _told(name: FactName) -> str:
    values = ", ".join(f"`{value}`" for value in name.values)
    return f"{name.about}: {values}" if values else name.about
