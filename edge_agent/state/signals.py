"""What basket, history, place and groups say of every item, and who become candidates by it.

A signal is a number for each of all items, mostly a sparse sum over item-to-item neighbours. The
best of each signal are the candidates; only they get features.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from edge_agent.state.groups import Likeness, likeness
from edge_agent.state.habits import Assortment, History, habits, history_of
from edge_agent.state.surroundings import Surroundings
from edge_agent.state.tables import TINY, Floats, Items, Neighbours, RankerTables, Situation

MAX_HISTORY_ITEMS = 160
PER_SIGNAL = 80
N_TOGETHER = 160
"""Candidates taken from each signal; set by the trials in the model card."""


@dataclass(frozen=True, slots=True, eq=False)
class Past:
    """What the history says of each distinct item in it.

    Attributes:
        history: Which items, and where; None when nothing was bought before.
        habits: As from `habits`.
        items: Distinct items bought before, ascending.
        codes: Kind, category, department and maker of each, as in the tables.
        slow: `history_slow` of each.
        rank: `history_rank` of each.
    """

    history: History | None
    habits: dict[str, Floats]
    items: NDArray[np.intp]
    codes: NDArray[np.int32]
    slow: Floats
    rank: Floats


_NO_PAST = Past(
    history=None,
    habits={},
    items=np.zeros(0, dtype=np.intp),
    codes=np.zeros((0, 4), dtype=np.int32),
    slow=np.zeros(0, dtype=np.float32),
    rank=np.zeros(0, dtype=np.float32),
)


def past_of(tables: RankerTables, situation: Situation, basket: Items) -> Past:
    """Returns what the history says, also of this basket."""
    if not len(situation.bought):
        return _NO_PAST
    history = history_of(
        situation.bought, situation.bought_basket, situation.ago_days, tables.codes
    )
    assortment = Assortment(
        pop=tables.pop_all,
        kind_pop=tables.kind_pop,
        codes=tables.codes,
        n_codes=tables.n_codes,
        usual_gap=tables.usual_gap,
    )
    found = habits(history, basket, assortment)
    return Past(
        history=history,
        habits=found,
        items=history.items,
        codes=history.codes,
        slow=found["history_slow"],
        rank=found["history_rank"],
    )


@dataclass(frozen=True, slots=True, eq=False)
class _Links:
    """The neighbours of some items, looked up once for several ways of weighing them.

    Attributes:
        places: Every neighbour's position, item after item.
        weight: How strong each link is, a row for each item.
        n: How many positions there are.
    """

    places: NDArray[np.intp]
    weight: Floats
    n: int

    def total(self, weights: Floats | None = None) -> Floats:
        """Returns for every item the sum of its links, weighted or not, float32 (n,)."""
        if not len(self.places):
            return np.zeros(self.n, np.float32)
        found = np.bincount(self.places, weights=self._weighted(weights), minlength=self.n)
        return found.astype(np.float32)

    def strongest(self, weights: Floats | None = None) -> Floats:
        """Returns for every item its strongest link, weighted or not, float32 (n,)."""
        best = np.zeros(self.n, np.float32)
        if len(self.places):
            np.maximum.at(best, self.places, self._weighted(weights))
        return best

    def _weighted(self, weights: Floats | None) -> Floats:
        return (self.weight if weights is None else self.weight * weights[:, None]).ravel()


def _links(near: Neighbours, items: NDArray[np.intp]) -> _Links:
    return _Links(
        places=near.index.take(items, axis=0).ravel().astype(np.intp),
        weight=near.weight.take(items, axis=0).astype(np.float32),
        n=len(near.index),
    )


def _best(signal: Floats, n: int) -> Items:
    """Returns the positions of the n largest positive values."""
    found = (signal > 0).nonzero()[0]
    if len(found) <= n:
        return found
    return found[_largest(signal.take(found), n)]


def _largest(values: Floats, n: int) -> NDArray[np.intp]:
    """Returns where the n largest values are, in no order; there are more than n.

    A threshold finds them in half the time of `argpartition`, which only has to decide which of
    several equal values are among them.
    """
    least = np.partition(values, len(values) - n)[len(values) - n]
    found = (values >= least).nonzero()[0]
    return found if len(found) == n else np.argpartition(-values, n - 1)[:n]


@dataclass(frozen=True, slots=True, eq=False)
class Signals:
    """Dense or sparse evidence for every item, before candidates are chosen."""

    past: Past
    cosine_sum: Floats
    cosine_max: Floats
    cosine_rare: Floats
    conditional: Floats
    conditional_max: Floats
    shared_conditional: Floats
    history_conditional: Floats
    kind_cosine: Floats
    shared_sum: Floats
    history_sum: Floats
    history_max: Floats
    on_offer: Floats
    like_basket: Likeness


def signals_of(tables: RankerTables, basket: Items, past: Past, around: Surroundings) -> Signals:
    """Returns every signal, for all items."""
    popular = tables.pop_all[basket] + np.float32(TINY)
    rarity = np.float32(1.0) / np.sqrt(popular)
    together, shared = _links(tables.basket_near, basket), _links(tables.household_near, basket)
    kinds = np.array(sorted({*tables.kind[basket].tolist()}), dtype=np.intp)
    top, weights = past.items, past.slow
    if len(top) > MAX_HISTORY_ITEMS:
        chosen = np.sort(_largest(weights, MAX_HISTORY_ITEMS))
        top, weights = top[chosen], weights[chosen]
    scale = weights / np.float32(max(float(weights.sum()), TINY))
    earlier = _links(tables.household_near, top)
    return Signals(
        past=past,
        cosine_sum=together.total(),
        cosine_max=together.strongest(),
        cosine_rare=together.total(-np.log(popular)),
        conditional=together.total(rarity),
        conditional_max=together.strongest(rarity),
        shared_sum=shared.total(),
        shared_conditional=shared.total(rarity),
        kind_cosine=_links(tables.kind_near, kinds).total(),
        history_sum=earlier.total(scale),
        history_max=earlier.strongest(scale),
        history_conditional=earlier.total(scale / np.sqrt(tables.pop_all[top] + np.float32(TINY))),
        on_offer=around.chain_mailer[basket],
        like_basket=likeness(around.groups, basket, tables.pop_all),
    )


def candidates_of(
    tables: RankerTables, situation: Situation, signals: Signals, around: Surroundings
) -> Items:
    """Returns the best of each signal that may be answered, ascending, distinct."""
    allowed = situation.allowed
    free = np.ones(tables.n_items, dtype=bool) if allowed is None else allowed.copy()
    free[situation.basket] = False
    past = signals.past
    usual = past.items[past.rank < 2 * PER_SIGNAL]
    popular = around.popular if allowed is None else around.popular[free[around.popular]]
    lists = [usual, popular[:PER_SIGNAL]]
    for signal, n in (
        (signals.cosine_rare, N_TOGETHER),
        (signals.conditional * tables.root_pop, PER_SIGNAL),
        (signals.shared_sum, PER_SIGNAL),
        (signals.history_sum, PER_SIGNAL),
        (signals.like_basket.share, PER_SIGNAL),
    ):
        lists.append(_best(signal if allowed is None else signal * allowed, n))
    chosen = np.zeros(tables.n_items, dtype=bool)
    chosen[np.concatenate(lists)] = True
    return (chosen & free).nonzero()[0]
