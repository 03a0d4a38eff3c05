"""What came of a campaign's arms, unit by unit, and what of it may leave the store.

The rule of the outcome. A unit is counted once, by the first moment at which the campaign could
have been said to it, in the arm that it was in then, whatever it saw. From then on a window runs:
what is bought within it counts, of the products that the campaign offered then, and of all
products where it offered none. A sale that was voided does not count, goods brought back later
do. An identified person's purchases under every carrier that he was met with are his. A time slot
is one unit too: what comes of it is the mean over the visitors who were met in it, each within a
window of his own.

Of each arm the number of units leaves, and for both measures the sum and the sum of squares over
the units: `bought` is 1 for who bought and 0 for who did not, `spend` is what he paid. An arm
leaves with the other arm or not at all, and only with k visitors behind each: one arm alone would
make HQ's comparison one of stores. What may not leave waits for the next days' units.
"""

from __future__ import annotations

import json
from collections import defaultdict
from dataclasses import dataclass, replace
from decimal import Decimal
from typing import TYPE_CHECKING, Final

from edge_agent.domain.decisions import CONTROL, TREATED
from edge_agent.domain.time import SECOND_MS, datetime_from_ms
from edge_agent.domain.uplift import ArmFigures, ArmTotals
from edge_agent.sync.privacy import RawCell
from edge_agent.wire.summaries import Summary, SummaryCell

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from datetime import tzinfo

KIND: Final = "uplift"
_MILLIONTH: Final = Decimal("0.000001")
# What is larger may be somebody's number, and does not pass the gate to HQ.
_SUM_MAX: Final = Decimal(10**11)


@dataclass(frozen=True, slots=True, kw_only=True)
class Exposed:
    """A visitor's first moment that counts for a campaign.

    Attributes:
        is_person: Whether the unit is an identified person, and not a time slot.
        member: The identified person behind the visitor, where one was known.
        share: Share of the control group then, 0..1.
        products: What the campaign offered then; empty where it offered nothing to buy.
    """

    campaign: str
    unit: str
    is_person: bool
    visitor: str
    member: str | None
    arm: str
    share: float
    products: frozenset[str]
    at_ms: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Bought:
    """One line of a sale."""

    carrier: str
    at_ms: int
    product: str
    amount: Decimal


@dataclass(frozen=True, slots=True, kw_only=True)
class UnitOutcome:
    """What came of one unit of one campaign.

    Attributes:
        of_visitors: For each visitor in it whether he bought (1 or 0) and what he paid.
    """

    campaign: str
    unit: str
    arm: str
    share: float
    of_visitors: Mapping[str, tuple[int, Decimal]]

    @property
    def cell(self) -> str:
        """The key of the cell that it is counted in."""
        return cell_key(self.campaign, self.share, self.arm)

    @property
    def bought(self) -> Decimal:
        """Share of its visitors who bought, in millionths."""
        n_buyers = sum(bought for bought, _ in self.of_visitors.values())
        return (Decimal(n_buyers) / len(self.of_visitors)).quantize(_MILLIONTH)

    @property
    def spend(self) -> Decimal:
        """What its visitors paid on average, in millionths."""
        paid = sum((spend for _, spend in self.of_visitors.values()), Decimal(0))
        return (paid / len(self.of_visitors)).quantize(_MILLIONTH)


def outcomes_of(
    exposed: Iterable[Exposed], bought: Iterable[Bought], *, window_ms: int
) -> tuple[UnitOutcome, ...]:
    """Returns what came of each unit, by campaign and unit.

    Args:
        exposed: All exposures of the units.
        bought: All lines of the sales that may fall into a window.
        window_ms: How long after the first moment a purchase counts.
    """
    by_carrier: dict[str, list[Bought]] = defaultdict(list)
    for line in bought:
        by_carrier[line.carrier].append(line)
    units: dict[tuple[str, str], list[Exposed]] = defaultdict(list)
    for each in exposed:
        units[each.campaign, each.unit].append(each)
    return tuple(
        _outcome(sorted(units[key], key=lambda e: (e.at_ms, e.visitor)), by_carrier, window_ms)
        for key in sorted(units)
    )


def arm_cells(outcomes: Iterable[UnitOutcome]) -> tuple[RawCell, ...]:
    """Returns a cell for each campaign, share and arm."""
    cells: dict[str, list[UnitOutcome]] = defaultdict(list)
    for each in outcomes:
        cells[each.cell].append(each)
    return tuple(_cell(key, cells[key]) for key in sorted(cells))


def cell_key(campaign: str, share: float, arm: str) -> str:
    """Returns the name of a cell; two arms of one campaign and share differ in the end alone."""
    return json.dumps([campaign, share_text(share), arm], ensure_ascii=False)


def share_text(share: float) -> str:
    """Returns a share as it is told.

    Example:
        >>> share_text(0.5), share_text(0.05)
        ('0.5', '0.05')
    """
    return f"{share:.6f}".rstrip("0").rstrip(".")


def paired(cells: Iterable[RawCell], *, k: int) -> tuple[tuple[RawCell, ...], int]:
    """Returns the cells that may leave, both arms of each, and how many wait.

    Args:
        cells: One for each campaign, share and arm.
        k: Smallest number of distinct visitors behind an arm.
    """
    arms: dict[tuple[str, str], dict[str, RawCell]] = defaultdict(dict)
    for cell in cells:
        campaign, share, arm = json.loads(cell.key)
        arms[campaign, share][arm] = cell
    kept: list[RawCell] = []
    n_waiting = 0
    for _, pair in sorted(arms.items()):
        is_whole = set(pair) == {TREATED, CONTROL}
        if is_whole and all(cell.n_visitors >= k for cell in pair.values()):
            kept += _comparable(pair[CONTROL], pair[TREATED])
        else:
            n_waiting += len(pair)
    return tuple(kept), n_waiting


def uplift_summary_of(
    kept: Iterable[RawCell],
    *,
    n_waiting: int,
    store: str,
    start_ms: int,
    end_ms: int,
    zone: tzinfo,
    revision: int,
    k: int,
) -> Summary:
    """Returns the message of the units that one day's summary tells of.

    Args:
        kept: The cells that may leave, in pairs.
        n_waiting: How many may not yet.
        store: This store.
        start_ms: The day's first instant; units of days before that had to wait are in it too.
        end_ms: The first instant after the day.
        zone: The store's time zone.
        revision: 1 for the first, higher for each that replaces it.
        k: Smallest number of visitors behind a cell.
    """
    return Summary(
        summary_id=f"{store}.{KIND}.{start_ms // SECOND_MS}.{revision}",
        store=store,
        kind=KIND,
        period_start=datetime_from_ms(start_ms).astimezone(zone),
        period_end=datetime_from_ms(end_ms).astimezone(zone),
        revision=revision,
        k=k,
        n_suppressed_cells=n_waiting,
        cells=tuple(_wire_cell(cell) for cell in kept),
    )


def figures_of(cells: Iterable[SummaryCell]) -> tuple[ArmFigures, ...]:
    """Returns cells of such summaries as what `domain.uplift` adds up."""
    return tuple(
        arm_figures(
            campaign=cell.keys["campaign"],
            share=cell.keys["share"],
            arm=cell.keys["arm"],
            counts=cell.counts,
            sums={name: Decimal(text) for name, text in cell.sums.items()},
        )
        for cell in cells
    )


def arm_figures(
    *, campaign: str, share: str, arm: str, counts: Mapping[str, int], sums: Mapping[str, Decimal]
) -> ArmFigures:
    """Returns one arm's figures by the names that they have on the wire."""
    none = Decimal(0)
    totals = {
        "bought": ArmTotals(
            n=counts.get("units", 0),
            total=sums.get("bought", none),
            squares=sums.get("bought_squares", none),
        )
    }
    if counts.get("spend_units"):
        totals["spend"] = ArmTotals(
            n=counts["spend_units"],
            total=sums.get("spend", none),
            squares=sums.get("spend_squares", none),
        )
    return ArmFigures(campaign=campaign, share=share, arm=arm, totals=totals)


def _outcome(
    rows: list[Exposed], by_carrier: Mapping[str, list[Bought]], window_ms: int
) -> UnitOutcome:
    first = rows[0]
    if first.is_person:
        carriers = {row.visitor for row in rows} | {row.member for row in rows if row.member}
        of_visitors = {first.unit: _bought_by(carriers, first, by_carrier, window_ms)}
    else:
        of_visitors = {
            row.visitor: _bought_by({row.visitor}, row, by_carrier, window_ms) for row in rows
        }
    return UnitOutcome(
        campaign=first.campaign,
        unit=first.unit,
        arm=first.arm,
        share=first.share,
        of_visitors=of_visitors,
    )


def _bought_by(
    carriers: set[str], first: Exposed, by_carrier: Mapping[str, list[Bought]], window_ms: int
) -> tuple[int, Decimal]:
    until_ms = first.at_ms + window_ms
    amounts = [
        line.amount
        for carrier in sorted(carriers)
        for line in by_carrier.get(carrier, ())
        if first.at_ms <= line.at_ms < until_ms
        and (not first.products or line.product in first.products)
    ]
    return (1 if amounts else 0), sum(amounts, Decimal(0))


def _cell(key: str, outcomes: list[UnitOutcome]) -> RawCell:
    parts = {
        visitor: f"{each.unit} {bought} {spend}"
        for each in outcomes
        for visitor, (bought, spend) in each.of_visitors.items()
    }
    n = len(outcomes)
    sums = _sums("bought", [each.bought for each in outcomes])
    sums |= _sums("spend", [each.spend for each in outcomes])
    return RawCell(key=key, parts=parts, counts={"units": n, "spend_units": n}, sums=sums)


def _comparable(control: RawCell, treated: RawCell) -> tuple[RawCell, RawCell]:
    """Returns both arms without their money where one's is too large to leave."""
    amounts = (*control.sums.values(), *treated.sums.values())
    if all(abs(amount) < _SUM_MAX for amount in amounts):
        return control, treated
    return _without_money(control), _without_money(treated)


def _without_money(cell: RawCell) -> RawCell:
    return replace(
        cell,
        counts={name: n for name, n in cell.counts.items() if not name.startswith("spend")},
        sums={name: n for name, n in cell.sums.items() if not name.startswith("spend")},
    )


def _sums(name: str, values: list[Decimal]) -> dict[str, Decimal]:
    squares = ((value * value).quantize(_MILLIONTH) for value in values)
    return {name: sum(values, Decimal(0)), f"{name}_squares": sum(squares, Decimal(0))}


def _wire_cell(cell: RawCell) -> SummaryCell:
    campaign, share, arm = json.loads(cell.key)
    return SummaryCell(
        keys={"campaign": campaign, "share": share, "arm": arm},
        n_visitors=cell.n_visitors,
        counts=dict(sorted(cell.counts.items())),
        sums={name: f"{amount:f}" for name, amount in sorted(cell.sums.items())},
    )
