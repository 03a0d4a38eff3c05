"""Laws of what leaves the store: no group under k, not by subtracting either; sums add up."""

from __future__ import annotations

from collections import Counter
from decimal import Decimal
from itertools import combinations, product

from hypothesis import given
from hypothesis import strategies as st

from edge_agent.sync.histograms import DWELL_EDGES_S, dwell_histogram, summed
from edge_agent.sync.privacy import (
    OTHER,
    REVISIONS_MAX,
    RawCell,
    digests_of,
    may_follow,
    may_revise,
    safe_cells,
)
from edge_agent.sync.summaries import dwell_cells, footfall_cells, sales_cells
from edge_agent.wire.summaries import SummaryCell
from tests.factories import T0

K = 3
DEPARTMENTS = ("DAIRY", "BAKERY", "WINE", "FISH")
HOUR_MS = 3_600_000

Sold = tuple[str, str, str, str, str]
"""Visitor, product (here its department), quantity, amount, discount."""

sold: st.SearchStrategy[Sold] = st.builds(
    lambda who, where, cents: (f"v{who}", where, "1", f"{cents / 100:.2f}", "0.00"),
    st.integers(0, 11),
    st.sampled_from(DEPARTMENTS),
    st.integers(1, 999),
)
days = st.lists(sold, max_size=25)


def cells_of(lines: list[Sold]) -> tuple[RawCell, ...]:
    """Returns the sales cells of lines."""
    return sales_cells(lines, department=lambda name: name)


def left_behind(lines: list[Sold]) -> dict[str, Counter[Sold]]:
    """Returns, by cell that leaves, the lines that are summed up in it."""
    kept, _ = safe_cells(cells_of(lines), k=K)
    alone = {cell.key for cell in kept}
    by_cell: dict[str, Counter[Sold]] = {cell.key: Counter() for cell in kept}
    for line in lines:
        key = line[1] if line[1] in alone else OTHER
        if key in by_cell:
            by_cell[key][line] += 1
    return by_cell


@given(days)
def test_no_cell_under_k_leaves(lines: list[Sold]) -> None:
    """Behind every cell that leaves stand at least k different visitors."""
    kept, n_dropped = safe_cells(cells_of(lines), k=K)
    assert all(cell.n_visitors >= K for cell in kept)
    assert n_dropped == 0 or kept == ()


@given(days)
def test_folding_loses_and_adds_nothing(lines: list[Sold]) -> None:
    """What leaves adds up to all that was sold, or nothing leaves at all."""
    kept, n_dropped = safe_cells(cells_of(lines), k=K)
    if n_dropped == 0:
        revenue = sum((cell.sums["revenue"] for cell in kept), Decimal(0))
        assert revenue == sum((Decimal(line[3]) for line in lines), Decimal(0))
        assert sum(cell.counts["lines"] for cell in kept) == len(lines)


@given(days)
def test_nobody_follows_from_subtracting_cells(lines: list[Sold]) -> None:
    """No sum or difference of the cells of one summary rests on fewer than k visitors."""
    _assert_nobody_singled_out(list(left_behind(lines).values()))


@given(days, days, st.lists(st.integers(0, 24), max_size=6))
def test_nobody_follows_from_subtracting_revisions(
    first: list[Sold], late: list[Sold], taken_back: list[int]
) -> None:
    """No difference of a revision and the one before rests on fewer than k visitors."""
    second = [line for n, line in enumerate(first) if n not in taken_back] + late[:4]
    one, _ = safe_cells(cells_of(first), k=K)
    other, _ = safe_cells(cells_of(second), k=K)
    if not may_revise(digests_of(one, salt="s"), digests_of(other, salt="s"), k=K):
        return
    _assert_nobody_singled_out([*left_behind(first).values(), *left_behind(second).values()])


@given(days, st.lists(st.tuples(days, st.lists(st.integers(0, 24), max_size=6)), max_size=3))
def test_nobody_follows_from_any_two_revisions(
    first: list[Sold], later: list[tuple[list[Sold], list[int]]]
) -> None:
    """Nor does anybody from a revision and one that left long before it."""
    lines, released = first, [first]
    for late, taken_back in later:
        lines = [line for n, line in enumerate(lines) if n not in taken_back] + late[:4]
        told = [digests_of(safe_cells(cells_of(each), k=K)[0], salt="s") for each in released]
        cells, _ = safe_cells(cells_of(lines), k=K)
        if may_follow(told, digests_of(cells, salt="s"), k=K):
            released.append(lines)
    for one, other in combinations(released, 2):
        _assert_nobody_singled_out([*left_behind(one).values(), *left_behind(other).values()])


def test_a_revision_is_held_against_all_before_it() -> None:
    """Enough changed since the last one, but beside the first it tells of two people."""

    def sales(changed: int) -> dict[str, list[str]]:
        lines = [
            (f"v{n}", "DAIRY", "1", "5.00" if n < changed else "1.00", "0.00") for n in range(9)
        ]
        return digests_of(safe_cells(cells_of(lines), k=K)[0], salt="s")

    assert may_follow([sales(0)], sales(9), k=K)
    assert may_follow([sales(9)], sales(2), k=K)
    assert not may_follow([sales(0), sales(9)], sales(2), k=K)


def test_a_period_is_settled_after_so_many_revisions() -> None:
    """However much changes, what can be subtracted from one another stays few."""
    days_sold = [[(f"v{n}", "DAIRY", "1", f"{r}.00", "0.00") for n in range(9)] for r in range(9)]
    told = [digests_of(safe_cells(cells_of(each), k=K)[0], salt="s") for each in days_sold]
    assert may_follow(told[: REVISIONS_MAX - 1], told[-1], k=K)
    assert not may_follow(told[:REVISIONS_MAX], told[-1], k=K)


def _assert_nobody_singled_out(released: list[Counter[Sold]]) -> None:
    for signs in product((-1, 0, 1), repeat=len(released)):
        total: Counter[Sold] = Counter()
        for sign, lines in zip(signs, released, strict=True):
            for line, n in lines.items():
                total[line] += sign * n
        people = {line[0] for line, n in total.items() if n != 0}
        assert len(people) == 0 or len(people) >= K, (signs, people)


@given(days)
def test_an_unchanged_period_may_be_told_again(lines: list[Sold]) -> None:
    """Where nothing changed nothing is held back."""
    kept, _ = safe_cells(cells_of(lines), k=K)
    digests = digests_of(kept, salt="s")
    assert may_revise(digests, digests, k=K)


def test_one_more_purchase_of_a_known_visitor_is_held_back() -> None:
    """The number of visitors stays, but the difference would be one person's purchase."""
    before = [(f"v{n}", "DAIRY", "1", "1.00", "0.00") for n in range(5)]
    after = [*before, ("v0", "DAIRY", "1", "7.50", "0.00")]
    one, other = (safe_cells(cells_of(lines), k=K)[0] for lines in (before, after))
    assert not may_revise(digests_of(one, salt="s"), digests_of(other, salt="s"), k=K)


def test_one_visitor_in_the_place_of_another_is_held_back() -> None:
    """A swap leaves the count as it was, and tells of both."""
    before = [(f"v{n}", "DAIRY", "1", f"{n}.00", "0.00") for n in range(5)]
    after = [*before[1:], ("v9", "DAIRY", "1", "9.00", "0.00")]
    one, other = (safe_cells(cells_of(lines), k=K)[0] for lines in (before, after))
    assert not may_revise(digests_of(one, salt="s"), digests_of(other, salt="s"), k=K)


def test_a_cell_that_outgrew_another_changes_nobody_in_the_folded_one() -> None:
    """Who added the same as before is not counted among those who changed."""
    before = [
        ("v0", "DAIRY", "1", "1.00", "0.00"),
        ("v2", "DAIRY", "1", "1.00", "0.00"),
        ("v2", "BAKERY", "1", "1.00", "0.00"),
        ("v3", "BAKERY", "1", "1.00", "0.00"),
    ]
    after = [
        *before,
        ("v0", "DAIRY", "1", "1.00", "0.00"),
        ("v1", "BAKERY", "1", "1.00", "0.00"),
    ]
    one, other = (safe_cells(cells_of(lines), k=K)[0] for lines in (before, after))
    assert [cell.key for cell in (*one, *other)] == [OTHER, OTHER]
    assert not may_revise(digests_of(one, salt="s"), digests_of(other, salt="s"), k=K)


def test_a_digest_tells_nothing_of_another_period() -> None:
    """The same visitor and purchase look different in the next period."""
    cells = cells_of([("v1", "DAIRY", "1", "1.00", "0.00")])
    assert digests_of(cells, salt="a")["DAIRY"] != digests_of(cells, salt="b")["DAIRY"]


@given(st.lists(st.tuples(sold, st.integers(0, 5)), max_size=30))
def test_periods_sum_up_to_the_day(lines: list[tuple[Sold, int]]) -> None:
    """Counts and sums of every period add up to those of the whole day."""
    whole = {cell.key: cell for cell in cells_of([line for line, _ in lines])}
    counts: Counter[str] = Counter()
    sums: Counter[str] = Counter()
    for hour in range(6):
        for cell in cells_of([line for line, at in lines if at == hour]):
            counts[cell.key] += cell.counts["lines"]
            sums[cell.key] += cell.sums["revenue"]  # type: ignore[assignment]  # Counter adds decimals as well
    assert dict(counts) == {key: cell.counts["lines"] for key, cell in whole.items()}
    assert dict(sums) == {key: cell.sums["revenue"] for key, cell in whole.items()}


durations = st.lists(st.floats(0, 10_000, allow_nan=False), max_size=30)


@given(durations, durations)
def test_histograms_sum_up_exactly(first: list[float], second: list[float]) -> None:
    """The histogram of both is the sum of the two, whatever the order."""
    both = dwell_histogram([*second, *first])
    assert summed(dwell_histogram(first), dwell_histogram(second)) == both
    assert sum(both) == len(first) + len(second)
    assert len(both) == len(DWELL_EDGES_S) + 1


@given(st.lists(st.tuples(st.integers(0, 9), st.integers(0, HOUR_MS)), max_size=20))
def test_dwell_adds_up_to_the_stays(stays: list[tuple[int, int]]) -> None:
    """A zone's cell holds every stay once, in its count, its sum and its histogram."""
    rows = [("dairy", f"v{who}", T0, T0 + dwell_ms) for who, dwell_ms in stays]
    cells = dwell_cells(rows)
    if not rows:
        assert cells == ()
        return
    (cell,) = cells
    assert cell.counts["stays"] == len(rows)
    assert cell.n_visitors == len({who for who, _ in stays})
    assert cell.sums["dwell_s"] == sum(Decimal(str(ms / 1_000)) for _, ms in stays)
    assert cell.histogram is not None
    assert sum(cell.histogram) == len(rows)


@given(st.lists(st.integers(0, 9), max_size=30))
def test_footfall_counts_visits_and_visitors_apart(visitors: list[int]) -> None:
    """Somebody who comes twice is two visits and one visitor."""
    (cell,) = footfall_cells(f"v{who}" for who in visitors)
    assert cell.counts["visits"] == len(visitors)
    assert cell.n_visitors == len(set(visitors))
    assert "visits" in SummaryCell(counts=dict(cell.counts)).counts
