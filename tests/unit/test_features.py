"""Features are pure, total and blind to what they must not see."""

from __future__ import annotations

import zlib
from dataclasses import replace

import numpy as np
import pytest

from edge_agent.shell.onnx_scorer import REASONS
from edge_agent.state.features import (
    CODES,
    FEATURES,
    HOUR_BINS,
    WEEKDAYS,
    Description,
    Neighbours,
    RankerTables,
    Situation,
    describe,
    surroundings,
)
from edge_agent.state.groups import Groups
from edge_agent.state.habits import LONG_AGO_DAYS, NO_RANK

N = 6
STORES = 2
WEEK = 49


def near(links: dict[int, list[tuple[int, float]]], n: int = N) -> Neighbours:
    """Returns neighbours of at most two per item."""
    index, weight = np.zeros((n, 2), np.uint16), np.zeros((n, 2), np.float16)
    for item, others in links.items():
        for place, (other, value) in enumerate(others):
            index[item, place], weight[item, place] = other, value
    return Neighbours(index=index, weight=weight)


@pytest.fixture
def tables() -> RankerTables:
    """Six items: 0 goes with 1, 2 is on display in store 0, 5 is the most popular.

    In store 0 one group of households buys 0 and 4, the other 1 and 3.
    """
    pop = np.array([0.1, 0.05, 0.05, 0.02, 0.01, 0.3], dtype=np.float32)
    plan = np.zeros(N, dtype=np.uint8)
    plan[2] = 1
    zeros = np.zeros(N, dtype=np.float32)
    lifts = np.zeros(CODES, dtype=np.float32)
    lifts[1] = 0.7
    return RankerTables(
        pop_all=pop,
        pop_recent=pop,
        pop_latest=pop,
        hour_lift=np.zeros((HOUR_BINS, N), np.float16),
        weekday_lift=np.zeros((WEEKDAYS, N), np.float16),
        store_starts=np.array([0, 1, 1]),
        store_items=np.array([3], dtype=np.int32),
        store_share=np.array([0.5], dtype=np.float32),
        store_weight=np.array([0.5, 0.0], dtype=np.float32),
        log_price=zeros,
        private=zeros,
        rebuy=zeros,
        usual_gap=np.full(N, 10.0, dtype=np.float32),
        own_lift=zeros,
        kind=np.array([0, 0, 1, 1, 2, 2], dtype=np.int32),
        category=np.zeros(N, dtype=np.int32),
        department=np.zeros(N, dtype=np.int32),
        maker=np.zeros(N, dtype=np.int32),
        kind_pop=np.ones(3, dtype=np.float32),
        basket_near=near({0: [(1, 0.5)], 1: [(0, 0.5)]}),
        household_near=near({0: [(2, 0.25)]}),
        kind_near=near({}, 3),
        groups=Groups(
            starts=np.array([0, 2, 4]),
            items=np.array([0, 4, 1, 3], dtype=np.uint16),
            share=np.array([0.5, 0.4, 0.5, 0.4], dtype=np.float16),
            store_starts=np.array([0, 2, 2]),
            store_groups=np.array([0, 1], dtype=np.int32),
            store_share=np.array([0.5, 0.5], dtype=np.float32),
        ),
        display_lift=lifts,
        mailer_lift=np.zeros(CODES, dtype=np.float32),
        plan_stores=np.array([0], dtype=np.int32),
        plans={(WEEK, 0): zlib.compress(plan.tobytes())},
        chain_plans={WEEK: np.zeros((2, N), dtype=np.uint8)},
    )


def situation(
    *,
    basket: tuple[int, ...] = (),
    bought: tuple[tuple[float, tuple[int, ...]], ...] = (),
    store: int | None = 0,
    allowed: tuple[int, ...] | None = None,
) -> Situation:
    """Returns a situation; `bought` lists (days ago, items) of earlier baskets."""
    mask = None
    if allowed is not None:
        mask = np.zeros(N, dtype=bool)
        mask[list(allowed)] = True
    return Situation(
        hour=12,
        weekday=2,
        week=WEEK,
        store=store,
        basket=np.array(basket, dtype=np.int64),
        bought=np.array([i for _, items in bought for i in items], dtype=np.int64),
        bought_basket=np.repeat(np.arange(len(bought)), [len(items) for _, items in bought]),
        ago_days=np.array([ago for ago, _ in bought], dtype=np.float64),
        allowed=mask,
    )


def described(tables: RankerTables, asked: Situation) -> Description:
    """Returns the description with surroundings worked out on the spot."""
    around = surroundings(
        tables, store=asked.store, week=asked.week, hour=asked.hour, weekday=asked.weekday
    )
    return describe(tables, asked, around)


def value(description: Description, item: int, feature: str) -> float:
    """Returns one cell of the matrix."""
    row = int(np.flatnonzero(description.items == item)[0])
    return float(description.matrix[row, FEATURES.index(feature)])


def test_matrix_has_one_row_for_each_candidate_and_one_column_for_each_feature(
    tables: RankerTables,
) -> None:
    """The matrix is float32, finite, and as wide as the list of names."""
    found = described(tables, situation(basket=(0,), bought=((3.0, (5, 1)),)))
    assert found.matrix.dtype == np.float32
    assert found.matrix.shape == (len(found.items), len(FEATURES))
    assert np.isfinite(found.matrix).all()
    assert len(set(FEATURES)) == len(FEATURES)


def test_same_situation_gives_same_bits(tables: RankerTables) -> None:
    """Nothing but the arguments enters the matrix."""
    asked = situation(basket=(0, 3), bought=((9.0, (1, 5)), (2.0, (1,))))
    assert described(tables, asked).matrix.tobytes() == described(tables, asked).matrix.tobytes()


def test_what_is_in_the_basket_is_no_candidate(tables: RankerTables) -> None:
    """An item already taken is never offered."""
    assert 0 not in described(tables, situation(basket=(0,))).items


def test_only_allowed_items_are_candidates(tables: RankerTables) -> None:
    """A zone's items bound the candidates, whatever the history says."""
    found = described(tables, situation(basket=(0,), bought=((1.0, (1, 5)),), allowed=(2, 5)))
    assert set(found.items.tolist()) <= {2, 5}


def test_companion_of_the_basket_gets_the_cosine(tables: RankerTables) -> None:
    """The link of 0 to 1 reaches 1's features, and nobody else's."""
    found = described(tables, situation(basket=(0,)))
    assert value(found, 1, "basket_cosine_sum") == pytest.approx(0.5)
    assert value(found, 5, "basket_cosine_sum") == 0.0


def test_history_counts_and_dates_each_item(tables: RankerTables) -> None:
    """Count, days since and share of the last baskets come from the earlier baskets."""
    found = described(tables, situation(bought=((30.0, (1,)), (10.0, (1, 5)))))
    assert value(found, 1, "history_count") == 2.0
    assert value(found, 1, "days_since_bought") == pytest.approx(10.0)
    assert value(found, 1, "gap_ratio") == pytest.approx(0.5)
    assert value(found, 2, "history_count") == 0.0
    assert value(found, 2, "days_since_bought") == LONG_AGO_DAYS


def test_order_within_history_of_same_age_does_not_matter(tables: RankerTables) -> None:
    """Two baskets of one day give the same features in either order."""
    one = described(tables, situation(bought=((4.0, (1,)), (4.0, (5,)))))
    other = described(tables, situation(bought=((4.0, (5,)), (4.0, (1,)))))
    assert np.allclose(one.matrix, other.matrix)


def test_display_of_this_store_and_week_lifts_its_item(tables: RankerTables) -> None:
    """The promotion plan is read for the asking store only."""
    assert value(described(tables, situation()), 2, "display_lift") == pytest.approx(0.7)
    assert value(described(tables, situation(store=1)), 2, "display_lift") == 0.0


def test_store_that_sells_an_item_more_lifts_it(tables: RankerTables) -> None:
    """A store's own share moves the popularity towards it; an unknown store has the chain's."""
    assert value(described(tables, situation()), 3, "store_lift") > 0.0
    assert value(described(tables, situation(store=None)), 3, "store_lift") == pytest.approx(0.0)


def test_unknown_week_means_no_promotion(tables: RankerTables) -> None:
    """Without a plan every promotion feature is neutral."""
    found = described(tables, replace(situation(), week=None))
    assert value(found, 2, "display_lift") == 0.0


def test_nothing_bought_describes_an_item_as_a_history_without_it(tables: RankerTables) -> None:
    """What an empty history spares working out is what an unrelated one comes to."""
    apart = np.arange(N, dtype=np.int32)
    tables = replace(tables, category=apart, department=apart, maker=apart)
    empty, other = (
        described(tables, situation(bought=bought, store=1)) for bought in ((), ((9.0, (0,)),))
    )
    of_history = [name for name in FEATURES if name in REASONS["you_often_buy"]]
    assert [value(empty, 5, name) for name in of_history] == [
        value(other, 5, name) for name in of_history
    ]


def test_basket_like_a_groups_makes_what_that_group_buys_likelier(tables: RankerTables) -> None:
    """Item 0 is bought by the group that buys 4, so 4 gains and the other group's 3 does not."""
    found = described(tables, situation(basket=(0,)))
    assert value(found, 4, "basket_group_share") > 0.35
    assert value(found, 3, "basket_group_share") < 0.05
    assert value(found, 4, "basket_group_lift") > value(found, 3, "basket_group_lift")


def test_store_without_groups_says_nothing_of_them(tables: RankerTables) -> None:
    """An unknown store and one where no group shops leave those features neutral."""
    for store in (None, 1):
        found = described(tables, situation(basket=(0,), store=store))
        assert value(found, 5, "basket_group_share") == 0.0
        assert value(found, 5, "basket_group_lift") == 0.0
        assert value(found, 5, "basket_group_certainty") == 0.0


def test_earlier_basket_like_this_one_speaks_for_what_was_in_it(tables: RankerTables) -> None:
    """4 was bought together with 0, 5 was not: only 4 is usual beside 0."""
    past = ((20.0, (0, 4)), (9.0, (5,)))
    found = described(tables, situation(basket=(0,), bought=past))
    assert value(found, 4, "history_together_share") == pytest.approx(1.0)
    assert value(found, 5, "history_together_share") == 0.0


def test_habit_of_the_hour_and_weekday_is_seen(tables: RankerTables) -> None:
    """A fortnight ago is the same hour and weekday, nine days and a half ago is neither."""
    found = described(tables, situation(bought=((14.0, (4,)), (9.5, (5,)))))
    assert value(found, 4, "history_hour_share") == pytest.approx(1.0)
    assert value(found, 4, "history_weekday_share") == pytest.approx(1.0)
    assert value(found, 5, "history_hour_share") < 0.01
    assert value(found, 5, "history_weekday_share") == 0.0


def test_regularity_counts_baskets_since_the_first_and_the_last(tables: RankerTables) -> None:
    """Bought in two of the three baskets since the first, last one basket ago."""
    past = ((30.0, (5,)), (20.0, (1,)), (10.0, (1, 5)), (5.0, (5,)))
    found = described(tables, situation(bought=past))
    assert value(found, 1, "baskets_since_bought") == 1.0
    assert value(found, 1, "history_rate") == pytest.approx(2 / 3)


def test_latest_baskets_weigh_more_than_older_ones(tables: RankerTables) -> None:
    """4 was in the youngest of three baskets, 1 in the oldest: 0.81, 0.9 and 1 are the weights."""
    found = described(tables, situation(bought=((30.0, (1,)), (20.0, (5,)), (10.0, (4,)))))
    assert value(found, 4, "history_recent") == pytest.approx(1 / 2.71)
    assert value(found, 1, "history_recent") == pytest.approx(0.81 / 2.71)
    assert value(found, 2, "history_recent") == 0.0


def test_item_is_due_after_its_usual_days(tables: RankerTables) -> None:
    """Bought once, 20 days ago, usually again after 10: twice over; own gaps move the rhythm."""
    found = described(tables, situation(bought=((60.0, (1,)), (20.0, (1, 5)))))
    assert value(found, 5, "history_due") == pytest.approx(2.0)
    assert value(found, 1, "history_due") == pytest.approx(20.0 / ((40.0 + 2 * 10.0) / 3))
    assert value(found, 2, "history_due") == -1.0


def test_earlier_basket_of_the_same_kinds_speaks_for_what_was_in_it(tables: RankerTables) -> None:
    """1 is of the basket's kind though another item: 5 was bought beside that kind, 4 was not."""
    tables = replace(tables, kind_pop=np.full(3, 0.1, dtype=np.float32))
    tables = replace(tables, category=np.array([0, 0, 1, 1, 2, 2], dtype=np.int32))
    past = ((20.0, (1, 5)), (9.0, (4, 3)))
    found = described(tables, situation(basket=(0,), bought=past))
    for feature in ("history_kinds_lift", "history_categories_lift"):
        assert value(found, 5, feature) > 1.5
        assert value(found, 4, feature) < 0.1
    assert value(found, 5, "history_kinds_share") == pytest.approx(1.0)
    assert value(found, 5, "history_together_lift") == 1.0


def test_lift_of_a_companion_is_over_what_is_bought_anyway(tables: RankerTables) -> None:
    """5 is in every earlier basket, 4 only beside 0: beside 0 only 4 is commoner than ever."""
    past = ((20.0, (0, 4, 5)), (9.0, (5,)))
    found = described(tables, situation(basket=(0,), bought=past))
    assert value(found, 4, "history_together_lift") > 1.5
    assert value(found, 5, "history_together_lift") == pytest.approx(1.0)
    assert value(found, 4, "history_together_sharp") > value(found, 4, "history_together")


def test_place_in_the_repertoire_and_its_kinds_are_counted(tables: RankerTables) -> None:
    """Three items, 5 the likeliest; kind 2 in every basket; half of the basket of known kinds."""
    past = ((20.0, (4, 5)), (9.0, (1, 5)))
    found = described(tables, situation(basket=(0, 3), bought=past))
    assert [value(found, i, "history_rank") for i in (5, 1, 4)] == [0.0, 1.0, 2.0]
    assert value(found, 2, "history_rank") == NO_RANK
    assert value(found, 4, "kind_rate") == 1.0
    assert value(found, 1, "kind_rate") == 0.5
    assert value(found, 1, "n_repertoire") == 3.0
    assert value(found, 1, "basket_known_kinds") == 0.5
