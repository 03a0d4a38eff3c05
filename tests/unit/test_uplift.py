"""What a campaign does: totals that add up, strata, and when there is no interval."""

from __future__ import annotations

import math
from decimal import Decimal

import pytest

from edge_agent.domain.decisions import CONTROL, TREATED
from edge_agent.domain.uplift import (
    UNITS_MIN,
    ArmFigures,
    ArmTotals,
    effect_of,
    margin_of,
    uplifts_of,
    variance_of,
)
from edge_agent.sync.uplift_told import UNBALANCED, document_of, texts_of


def totals(n: int, n_buyers: int, each: str = "1") -> ArmTotals:
    """Returns an arm of n units of which some brought so much each."""
    amount = Decimal(each)
    return ArmTotals(n=n, total=n_buyers * amount, squares=n_buyers * amount * amount)


def figures(arm: str, n: int, n_buyers: int, *, share: str = "0.5") -> ArmFigures:
    """Returns what a store tells of one arm of campaign 18."""
    return ArmFigures(campaign="18", share=share, arm=arm, totals={"bought": totals(n, n_buyers)})


def test_the_margin_is_the_normal_mixtures() -> None:
    """Worked out by hand for n 1,000: 3.04 standard errors, where one look would do with 1.96."""
    r = (-2 * math.log(0.05) + math.log(1 - 2 * math.log(0.05))) / 1_000
    by_hand = math.sqrt(
        2 * (1_000 * r + 1) / (1_000**2 * r) * math.log(20 * math.sqrt(1_000 * r + 1))
    )
    assert margin_of(1_000, 1 / 1_000) == pytest.approx(by_hand)
    assert margin_of(1_000, 1 / 1_000) == pytest.approx(3.04 / 1_000**0.5, rel=0.01)


def test_days_and_stores_add_up_to_the_same_interval() -> None:
    """Totals of parts give what the totals of the whole give."""
    parts = [figures(TREATED, 40, 9), figures(CONTROL, 45, 4)] * 3
    (added,) = uplifts_of(parts)
    (whole,) = uplifts_of([figures(TREATED, 120, 27), figures(CONTROL, 135, 12)])
    assert added == whole
    assert (added.n_treated, added.n_control) == (120, 135)


def test_an_arm_that_nobody_bought_in_is_not_without_variance() -> None:
    """One buyer in a hundred treated units is no proof against thirty without one."""
    treated, control = totals(500, 10), totals(UNITS_MIN, 0)
    effect = effect_of([(treated, control)])
    assert effect is not None
    assert effect.verdict == "unsure"
    assert variance_of(treated, control) > control.deviation / control.n


def test_a_real_difference_is_found_and_its_sign_is_told() -> None:
    """The verdict is `more` for more and `less` for less."""
    many, few = totals(5_000, 600), totals(5_000, 400)
    found = [effect_of([pair]) for pair in ((many, few), (few, many))]
    assert [each.verdict for each in found if each is not None] == ["more", "less"]


def test_below_so_many_units_there_is_no_interval() -> None:
    """Means are told, and that they say nothing yet."""
    effect = effect_of([(totals(400, 40), totals(UNITS_MIN - 1, 0))])
    assert effect is not None
    assert (effect.low, effect.high, effect.verdict) == (None, None, "too_few")


def test_nothing_that_varies_has_no_interval() -> None:
    """Nobody bought anything in either arm: that proves no equality."""
    effect = effect_of([(totals(400, 0), totals(400, 0))])
    assert effect is not None
    assert effect.verdict == "too_few"


def test_a_larger_share_on_better_days_is_no_effect() -> None:
    """Pooled, the arms would differ by 12 points though within each share they are alike."""
    quiet = [figures(TREATED, 9_000, 900, share="0.1"), figures(CONTROL, 1_000, 100, share="0.1")]
    busy = [figures(TREATED, 1_000, 300, share="0.9"), figures(CONTROL, 9_000, 2_700, share="0.9")]
    (found,) = uplifts_of(quiet + busy)
    assert found.effects["bought"].difference == pytest.approx(0)
    assert found.effects["bought"].verdict == "unsure"


def test_a_share_hardly_met_yet_takes_no_interval_away() -> None:
    """A change of share begins a new stratum; the one before goes on."""
    before = [figures(TREATED, 500, 50), figures(CONTROL, 500, 50)]
    after = [figures(TREATED, 5, 1, share="0.2"), figures(CONTROL, 2, 0, share="0.2")]
    (found,) = uplifts_of(before + after)
    assert found.effects["bought"].verdict == "unsure"


def test_arms_that_chance_does_not_make_are_told_as_such() -> None:
    """What decides who is counted may be all of the difference; a few units off it is not."""
    for n_control, is_well in ((500, True), (430, True), (300, False)):
        (found,) = uplifts_of([figures(TREATED, 500, 80), figures(CONTROL, n_control, 20)])
        assert found.is_balanced is is_well
        words = {texts_of(found)[5], texts_of(found)[9]} - {"-"}
        assert (words == {UNBALANCED}) is not is_well
        assert document_of(found)["is_balanced"] is is_well


def test_without_a_control_group_there_is_no_uplift() -> None:
    """Treated units alone compare with nothing."""
    assert uplifts_of([figures(TREATED, 500, 50)]) == ()
