"""What came of each unit, and which arms may leave: the rule of the outcome, line by line."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from decimal import Decimal

from hypothesis import given
from hypothesis import strategies as st

from edge_agent.domain.decisions import CONTROL, TREATED
from edge_agent.domain.uplift import uplifts_of
from edge_agent.sync.uplift import (
    Bought,
    Exposed,
    UnitOutcome,
    arm_cells,
    figures_of,
    outcomes_of,
    paired,
    uplift_summary_of,
)
from tests.factories import T0
from tests.fakes import NEW_YORK

WINDOW_MS = 10_000
ANNA = Exposed(
    campaign="18",
    unit="p1",
    is_person=True,
    visitor="card",
    member="card",
    arm=TREATED,
    share=0.5,
    products=frozenset({"d1"}),
    at_ms=T0,
)
STRANGER = replace(ANNA, unit="s1", is_person=False, visitor="phone-1", member=None, arm=CONTROL)


def bought(carrier: str, after_ms: int = 1, product: str = "d1", amount: str = "2.50") -> Bought:
    """Returns a line sold so long after the first moment."""
    return Bought(carrier=carrier, at_ms=T0 + after_ms, product=product, amount=Decimal(amount))


def outcome(*exposed: Exposed, lines: Sequence[Bought] = ()) -> UnitOutcome:
    """Returns what came of the one unit of these exposures."""
    (only,) = outcomes_of(exposed, lines, window_ms=WINDOW_MS)
    return only


def test_what_the_campaign_offered_counts_within_the_window() -> None:
    """From the first moment on, to before the window's end; other goods and other times do not."""
    cases = [
        (bought("card", 0), (1, "2.5")),
        (bought("card", WINDOW_MS - 1), (1, "2.5")),
        (bought("card", WINDOW_MS), (0, "0")),
        (bought("card", -1), (0, "0")),
        (bought("card", 1, product="d2"), (0, "0")),
        (bought("other"), (0, "0")),
    ]
    for line, (n, amount) in cases:
        found = outcome(ANNA, lines=[line])
        assert (int(found.bought), found.spend) == (n, Decimal(amount)), line


def test_a_campaign_that_offers_nothing_counts_all_goods() -> None:
    """A text, a service or a question is judged by the whole basket."""
    lines = [bought("card", product="d7", amount="1"), bought("card", product="d8", amount="2")]
    found = outcome(replace(ANNA, products=frozenset()), lines=lines)
    assert (found.bought, found.spend) == (Decimal(1), Decimal(3))


def test_a_person_is_one_unit_under_all_his_carriers() -> None:
    """The first moment and its arm hold; what he buys with another carrier is his."""
    later = replace(ANNA, visitor="phone-9", member="card", at_ms=T0 + 5_000, arm=CONTROL)
    lines = [bought("phone-9", 2_000), bought("card", 9_000)]
    found = outcome(later, ANNA, lines=lines)
    assert (found.arm, found.bought, found.spend) == (TREATED, Decimal(1), Decimal(5))
    assert set(found.of_visitors) == {"p1"}


def test_a_slot_is_one_unit_and_its_visitors_mean_is_its_outcome() -> None:
    """Three were met in it, each in a window of his own; one bought."""
    others = [replace(STRANGER, visitor=f"phone-{n}", at_ms=T0 + 6_000) for n in (2, 3)]
    lines = [bought("phone-1", 11_000), bought("phone-3", 11_000, amount="6")]
    found = outcome(STRANGER, *others, lines=lines)
    assert found.bought == Decimal("0.333333")
    assert found.spend == 2
    assert len(found.of_visitors) == 3


def crowd(arm: str, n: int, *, campaign: str = "18", share: float = 0.5) -> list[Exposed]:
    """Returns n identified people in one arm."""
    return [
        replace(
            ANNA, campaign=campaign, unit=f"p-{arm}-{i}", visitor=f"{arm}-{i}", arm=arm,
            share=share, member=None,
        )
        for i in range(n)
    ]  # fmt: skip


def kept_of(*exposed: Exposed, k: int = 10) -> tuple[list[tuple[str, int]], int]:
    """Returns arm and visitors of each cell that may leave, and how many wait."""
    cells, n_waiting = paired(arm_cells(outcomes_of(exposed, (), window_ms=1)), k=k)
    return [(cell.key, cell.n_visitors) for cell in cells], n_waiting


def test_an_arm_leaves_with_the_other_or_not_at_all() -> None:
    """Ten and ten leave; ten and nine wait, and so does an arm without the other."""
    assert kept_of(*crowd(TREATED, 10), *crowd(CONTROL, 10)) == (
        [('["18", "0.5", "control"]', 10), ('["18", "0.5", "treated"]', 10)],
        0,
    )
    assert kept_of(*crowd(TREATED, 500), *crowd(CONTROL, 9)) == ([], 2)
    assert kept_of(*crowd(TREATED, 500)) == ([], 1)


def test_ten_visitors_of_one_slot_are_ten_people_and_one_unit() -> None:
    """Behind a cell k people are counted, the statistics count units."""
    slots = [
        replace(STRANGER, unit=f"s-{arm}", arm=arm, visitor=f"{arm}-{n}")
        for arm in (TREATED, CONTROL)
        for n in range(10)
    ]
    cells, _ = paired(arm_cells(outcomes_of(slots, (), window_ms=1)), k=10)
    assert [(cell.n_visitors, cell.counts["units"]) for cell in cells] == [(10, 1), (10, 1)]


def test_two_shares_of_one_campaign_are_two_pairs() -> None:
    """A change of share begins a new comparison; the arms of one are never with the other's."""
    found, n_waiting = kept_of(
        *crowd(TREATED, 10), *crowd(CONTROL, 10, share=0.1), *crowd(TREATED, 10, campaign="19")
    )
    assert (found, n_waiting) == ([], 3)


@given(
    st.lists(
        st.tuples(
            st.sampled_from(("18", "19")),
            st.sampled_from((TREATED, CONTROL)),
            st.integers(0, 30),
        ),
        max_size=120,
    )
)
def test_nothing_under_k_ever_leaves(rows: list[tuple[str, str, int]]) -> None:
    """Whatever units there are: k visitors behind each cell, and both arms of each campaign."""
    exposed = [
        replace(STRANGER, campaign=c, arm=a, unit=f"s-{a}-{n % 7}", visitor=f"{a}-{n}")
        for c, a, n in rows
    ]
    cells, n_waiting = paired(arm_cells(outcomes_of(exposed, (), window_ms=1)), k=10)
    assert all(cell.n_visitors >= 10 for cell in cells)
    assert len(cells) % 2 == 0
    assert len(cells) + n_waiting == len({(c, a) for c, a, _ in rows})


def test_what_leaves_adds_up_to_the_same_uplift() -> None:
    """HQ reads from the message what the store worked out, to the millionth."""
    exposed = [*crowd(TREATED, 40), *crowd(CONTROL, 40)]
    lines = [bought(f"{TREATED}-{n}", amount="0.33") for n in range(13)]
    lines += [bought(f"{CONTROL}-{n}", amount="1.10") for n in range(4)]
    cells, n_waiting = paired(arm_cells(outcomes_of(exposed, lines, window_ms=WINDOW_MS)), k=10)
    summary = uplift_summary_of(
        cells, n_waiting=n_waiting, store="s1", start_ms=T0, end_ms=T0 + 1, zone=NEW_YORK,
        revision=1, k=10,
    )  # fmt: skip
    (found,) = uplifts_of(figures_of(summary.cells))
    assert (found.n_treated, found.n_control) == (40, 40)
    assert round(found.effects["bought"].difference, 9) == round(13 / 40 - 4 / 40, 9)
    assert round(found.effects["spend"].difference, 9) == round((13 * 0.33 - 4 * 1.10) / 40, 9)
    control, treated = summary.cells
    assert control.sums == {
        "bought": "4.000000", "bought_squares": "4.000000",
        "spend": "4.400000", "spend_squares": "4.840000",
    }  # fmt: skip
    assert treated.counts == {"spend_units": 40, "units": 40}


def test_money_too_large_for_the_gate_is_left_out_and_the_rest_leaves() -> None:
    """A sum of squares may look like somebody's number: buyers are told all the same."""
    exposed = [*crowd(TREATED, 10), *crowd(CONTROL, 10)]
    lines = [bought(f"{TREATED}-0", amount="9000000")]
    cells, _ = paired(arm_cells(outcomes_of(exposed, lines, window_ms=WINDOW_MS)), k=10)
    assert [set(cell.sums) for cell in cells] == [{"bought", "bought_squares"}] * 2
    assert [dict(cell.counts) for cell in cells] == [{"units": 10}] * 2
