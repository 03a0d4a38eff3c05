"""The scripted sale: what the cashier is asked to do, and what must be told of it. Pure."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from edge_agent.conformance.reading import Told
    from edge_agent.conformance.till_record import TillReading
    from edge_agent.conformance.transcript import Heard

ALL: Final = "all"


@dataclass(frozen=True, slots=True, kw_only=True)
class Since:
    """What the till has said for the first time since a step began."""

    told: tuple[Told, ...]
    n_requests: int

    def count(self, kind: str) -> int:
        """Returns how many events of a type there are."""
        return sum(each.type == kind for each in self.told)


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One thing to do at the till.

    Attributes:
        text: What to do.
        moves_on: Whether what was told is enough to go on.
        holds: Whether what was told is right; by default the same.
        is_optional: Whether many tills cannot do it, so that silence says nothing.
        is_told_later: Whether some tills tell it with the sale alone.
    """

    name: str
    text: str
    moves_on: Callable[[Since], bool]
    holds: Callable[[Since], bool] | None = None
    is_optional: bool = False
    is_told_later: bool = False

    def is_told(self, since: Since) -> bool:
        """Returns whether it was told as it must be."""
        return (self.holds or self.moves_on)(since)


def since(reading: TillReading, from_s: float, to_s: float | None = None) -> Since:
    """Returns what was said for the first time within a span of the monotonic clock."""

    def is_within(heard: Heard) -> bool:
        return heard.at_s > from_s and (to_s is None or heard.at_s <= to_s)

    return Since(
        told=tuple(each for each in reading.first if is_within(each.heard)),
        n_requests=sum(is_within(each.heard) for each in reading.requests),
    )


def _of(kind: str, *, least: int = 1) -> Callable[[Since], bool]:
    return lambda since: since.count(kind) >= least


def _has_weight(since: Since) -> bool:
    return any(
        each.type == "basket.item_added" and _is_broken(number(_data(each).get("quantity")))
        for each in since.told
    )


def _has_discount(since: Since) -> bool:
    return any(
        number(line.get("discount")) > 0
        for each in since.told
        for line in (_data(each), *_lines(each))
    )


def _data(told: Told) -> dict[str, Any]:
    data = told.raw.get("data")
    return data if isinstance(data, dict) else {}


def _lines(told: Told) -> list[dict[str, Any]]:
    lines = _data(told).get("lines")
    return [each for each in lines if isinstance(each, dict)] if isinstance(lines, list) else []


def number(value: object) -> Decimal:
    """Returns a number as JSON holds it, 0 when it is none.

    Example:
        >>> number("0.482") + number(None) + number("NaN")
        Decimal('0.482')
    """
    try:
        found = Decimal(str(value))
    except InvalidOperation:
        return Decimal(0)
    return found if found.is_finite() else Decimal(0)


def _is_broken(amount: Decimal) -> bool:
    # No remainder: of what is too large for one there is none.
    return amount != amount.to_integral_value()


STEPS: Final = (
    Step(name="open", text="Open a new basket.", moves_on=_of("basket.opened")),
    Step(
        name="card-before",
        text="Read a loyalty card.",
        moves_on=_of("loyalty.scanned"),
    ),
    Step(
        name="add",
        text="Scan two different products.",
        moves_on=_of("basket.item_added", least=2),
    ),
    Step(
        name="weighed",
        text="Weigh a product, such as 0.482 kg of tomatoes.",
        moves_on=_of("basket.item_added"),
        holds=_has_weight,
    ),
    Step(name="void", text="Void one of the lines.", moves_on=_of("basket.item_voided")),
    Step(
        name="discount",
        text="Scan a product with a discount.",
        moves_on=_of("basket.item_added"),
        holds=_has_discount,
        is_told_later=True,
    ),
    Step(
        name="ask",
        text="Have the till ask for a recommendation.",
        moves_on=lambda since: since.n_requests > 0,
        is_optional=True,
    ),
    Step(name="complete", text="Take the payment.", moves_on=_of("sale.completed")),
    Step(
        name="card-after",
        text="Read a loyalty card for the basket that was just paid.",
        moves_on=_of("loyalty.scanned"),
        is_optional=True,
    ),
    Step(
        name="cancel",
        text="Cancel the sale that was just paid.",
        moves_on=_of("sale.voided"),
        is_optional=True,
    ),
    Step(name="return", text="Take one product back.", moves_on=_of("sale.returned")),
)


def steps_of(text: str) -> tuple[Step, ...] | str:
    """Returns the steps that are named, in the order of the script; or the name that is unknown.

    Example:
        >>> [each.name for each in steps_of("complete,open")]
        ['open', 'complete']
        >>> steps_of("dance")
        'dance'
    """
    names = [each.strip() for each in text.split(",") if each.strip()]
    known = {each.name for each in STEPS}
    if ALL in names:
        return STEPS
    unknown = next((each for each in names if each not in known), None)
    if unknown is not None or not names:
        return unknown or ""
    return tuple(each for each in STEPS if each.name in names)
