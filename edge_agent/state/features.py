"""What a score rests on: candidates and their features, from tables and one situation.

Training and serving both call `describe`, so there is no second definition of a feature. All
functions are pure: the same tables and situation give the same matrix, bit for bit.

Theory of operation. What is known of an item wherever and whenever it is sold stands in the
`tables`; what depends on store, week, hour and weekday alone is worked out once as dense vectors
over all items (`surroundings`, which a caller may keep). Either keeps the features of an item next
to each other, because a decision asks for a few hundred items that lie far apart. A decision then
adds what the basket and the history say (`signals`). The best of each signal become candidates,
and only they get features. Whoever scores or teaches imports all of it from here.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from edge_agent.state.feature_names import FEATURES
from edge_agent.state.habits import LONG_AGO_DAYS, NEVER_BOUGHT, History, looked_up
from edge_agent.state.signals import Past, Signals, candidates_of, past_of, signals_of
from edge_agent.state.surroundings import OF_PLACE, Surroundings, surroundings
from edge_agent.state.tables import (
    CODES,
    HOUR_BINS,
    HOURS_PER_BIN,
    OF_ITEMS,
    TINY,
    WEEKDAYS,
    Floats,
    Items,
    Neighbours,
    RankerTables,
    Situation,
)

__all__ = [
    "CODES",
    "FEATURES",
    "FINALISTS",
    "HOURS_PER_BIN",
    "HOUR_BINS",
    "NO_HISTORY",
    "WEEKDAYS",
    "Description",
    "Floats",
    "Items",
    "Neighbours",
    "RankerTables",
    "Situation",
    "Surroundings",
    "describe",
    "surroundings",
]
MAX_BASKET = 40
GROUP_TINY = 1e-4
FINALISTS = 60
"""Rows that a model's first stage lets through to its second; the others score 0."""


@dataclass(frozen=True, slots=True, eq=False)
class Description:
    """Candidates and what is known of them.

    Attributes:
        items: Candidate positions, ascending, distinct.
        matrix: float32 (n_candidates, n_features).
    """

    items: Items
    matrix: Floats


def describe(tables: RankerTables, situation: Situation, around: Surroundings) -> Description:
    """Returns the candidates of a situation and their features.

    Args:
        tables: The learned statistics.
        situation: What is known of the visit.
        around: `surroundings` of the same store, week, hour and weekday.

    Returns:
        Candidates without the basket's own items; float32, shape (n_candidates, n_features).
    """
    basket = situation.basket[-MAX_BASKET:]
    past = past_of(tables, situation, basket)
    signals = signals_of(tables, basket, past, around)
    items = candidates_of(tables, situation, signals, around)
    return Description(items=items, matrix=_matrix(tables, situation, signals, around, items))


@dataclass(frozen=True, slots=True, eq=False)
class _Chosen:
    """The candidates, and what several groups of features need of them.

    Attributes:
        items: Their positions.
        root: Square root of the share of baskets with each.
        codes: Kind, category, department and maker of each, as in the tables.
    """

    items: Items
    root: Floats
    codes: NDArray[np.int32]


def _matrix(
    tables: RankerTables,
    situation: Situation,
    signals: Signals,
    around: Surroundings,
    items: Items,
) -> Floats:
    pop = tables.pop_all.take(items) + np.float32(TINY)
    codes = tables.codes.take(items, axis=0)
    chosen = _Chosen(items=items, root=np.sqrt(pop), codes=codes)
    basket = situation.basket[-MAX_BASKET:]
    columns: dict[str, Floats | float] = {
        **_whole_visit(situation, signals.past, tables),
        **dict(zip(OF_ITEMS, _columns(tables.features, items), strict=True)),
        **dict(zip(OF_PLACE, _columns(around.features, items), strict=True)),
        **_of_basket(tables, basket, signals, chosen),
        **_of_whole_basket(tables, basket, signals),
        **_of_history(tables, signals, chosen),
        **_of_groups(signals, around, items),
    }
    matrix = np.empty((len(FEATURES), len(items)), dtype=np.float32)
    for row, name in enumerate(FEATURES):
        matrix[row] = columns[name]
    return np.ascontiguousarray(matrix.T)


def _columns(features: Floats, items: Items) -> Floats:
    """Returns of a table with a row for each item some items' columns."""
    return np.ascontiguousarray(features.take(items, axis=0).T)


def _whole_visit(
    situation: Situation, past: Past, tables: RankerTables
) -> dict[str, Floats | float]:
    n_history = len(situation.ago_days)
    private = past.slow @ tables.private.take(past.items) / max(float(past.slow.sum()), TINY)
    return {
        "n_basket": float(len(situation.basket)),
        "n_history": float(n_history),
        "days_since_visit": float(situation.ago_days[-1]) if n_history else LONG_AGO_DAYS,
        "mean_history_size": len(situation.bought) / max(n_history, 1),
        "hour": float(situation.hour),
        "weekday": float(situation.weekday),
        "private_share": float(private) if n_history else -1.0,
        "n_repertoire": float(len(past.items)),
        "basket_known_kinds": _known_kinds(situation.basket, past, tables),
    }


def _known_kinds(basket: Items, past: Past, tables: RankerTables) -> float:
    """Returns the share of the basket that is of kinds bought before; -1 when nobody can say."""
    if not len(basket) or not len(past.items):
        return -1.0
    known = np.zeros(len(tables.kind_pop), dtype=bool)
    known[past.codes[:, 0]] = True
    return int(known[tables.kind[basket]].sum()) / len(basket)


def _of_basket(
    tables: RankerTables, basket: Items, signals: Signals, chosen: _Chosen
) -> dict[str, Floats | float]:
    items, root = chosen.items, chosen.root
    cosine_sum = signals.cosine_sum.take(items)
    largest = max(float(signals.cosine_sum.max(initial=0.0)), TINY)
    n_of_code = np.bincount(tables.codes[basket].ravel(), minlength=tables.n_codes)
    same = n_of_code.astype(np.float32).take(chosen.codes.T)
    return {
        "basket_cosine_sum": cosine_sum,
        "basket_cosine_max": signals.cosine_max.take(items),
        "basket_cosine_rare": signals.cosine_rare.take(items),
        "basket_conditional": signals.conditional.take(items) * root,
        "basket_conditional_max": signals.conditional_max.take(items) * root,
        "basket_household_conditional": signals.shared_conditional.take(items) * root,
        "basket_kind_cosine": signals.kind_cosine.take(chosen.codes[:, 0]),
        "basket_best_cosine": cosine_sum / np.float32(largest),
        "basket_household_sum": signals.shared_sum.take(items),
        "basket_same_kind": same[0],
        "basket_same_category": same[1],
        "basket_same_department": same[2] / np.float32(max(len(basket), 1)),
        "basket_same_maker": same[3],
    }


def _of_whole_basket(
    tables: RankerTables, basket: Items, signals: Signals
) -> dict[str, Floats | float]:
    """Returns what kind of basket it is: own labels, offers, dear or cheap, usual or rare."""
    if not len(basket):
        return {
            "basket_private_share": -1.0,
            "basket_offer_share": -1.0,
            "basket_mean_price": 0.0,
            "basket_mean_pop": 0.0,
        }
    popular = np.log(tables.pop_all[basket] + np.float32(TINY))
    return {
        "basket_private_share": float(tables.private[basket].mean()),
        "basket_offer_share": float(signals.on_offer.mean()),
        "basket_mean_price": float(tables.log_price[basket].mean()),
        "basket_mean_pop": float(popular.mean()),
    }


NO_HISTORY: dict[str, float] = {
    **NEVER_BOUGHT,
    "history_household_sum": 0.0,
    "history_household_max": 0.0,
    "history_conditional": 0.0,
    "kind_slow": 0.0,
    "kind_share": 0.0,
    "days_since_kind": LONG_AGO_DAYS,
    "kind_rate": 0.0,
    "category_slow": 0.0,
    "maker_slow": 0.0,
    "department_slow": 0.0,
}
"""What `_of_history` says of every item when nothing was bought before."""


def _of_history(
    tables: RankerTables, signals: Signals, chosen: _Chosen
) -> dict[str, Floats | float]:
    """Returns what the visitor's own earlier baskets say of each candidate."""
    past, items = signals.past, chosen.items
    if past.history is None:
        return {**NO_HISTORY}
    own = looked_up(past.habits, past.history.row_of.take(items))
    return {
        **NEVER_BOUGHT,
        **own,
        **_of_codes(tables, past, past.history, chosen, own["history_slow"]),
        "history_household_sum": signals.history_sum.take(items),
        "history_household_max": signals.history_max.take(items),
        "history_conditional": signals.history_conditional.take(items) * chosen.root,
    }


def _of_codes(
    tables: RankerTables, past: Past, history: History, chosen: _Chosen, slow: Floats
) -> dict[str, Floats | float]:
    """Returns what was bought before of each candidate's kind, category, department, maker."""
    codes, of_kind = past.codes, chosen.codes[:, 0]
    weights = past.slow.repeat(codes.shape[1])
    sums = np.bincount(codes.ravel(), weights=weights, minlength=tables.n_codes)
    by_code = sums.astype(np.float32).take(chosen.codes.T)
    kind_ago = np.full(len(tables.kind_pop), LONG_AGO_DAYS, dtype=np.float32)
    np.minimum.at(kind_ago, codes[:, 0], past.habits["days_since_bought"])
    return {
        "kind_slow": by_code[0],
        "kind_share": slow / np.maximum(by_code[0], np.float32(TINY)),
        "days_since_kind": kind_ago.take(of_kind),
        "kind_rate": _kind_rate(tables, history, codes[:, 0]).take(of_kind),
        "category_slow": by_code[1],
        "maker_slow": by_code[3],
        "department_slow": by_code[2] / np.float32(max(float(past.slow.sum()), TINY)),
    }


def _kind_rate(tables: RankerTables, history: History, kinds: NDArray[np.int32]) -> Floats:
    """Returns the share of the earlier baskets with each kind, float32 (n_kinds,).

    Args:
        tables: The learned statistics.
        history: The earlier baskets.
        kinds: Of each distinct item bought before.
    """
    n_kinds = len(tables.kind_pop)
    pairs = np.sort(history.bought_basket * n_kinds + kinds.take(history.row))
    distinct = np.concatenate([pairs[:1], pairs[1:][pairs[1:] > pairs[:-1]]])
    n_with = np.bincount(distinct % n_kinds, minlength=n_kinds)
    return n_with.astype(np.float32) / np.float32(len(history.ago_days))


def _of_groups(signals: Signals, around: Surroundings, items: Items) -> dict[str, Floats | float]:
    """Returns what those groups of households buy that the basket looks like."""
    like = signals.like_basket
    if not like.certainty > 0.0:
        return {
            "basket_group_share": 0.0,
            "basket_group_lift": 0.0,
            "basket_group_certainty": 0.0,
        }
    share = like.share.take(items)
    return {
        "basket_group_share": share,
        "basket_group_lift": np.log(share + np.float32(GROUP_TINY)) - around.log_store[items],
        "basket_group_certainty": like.certainty,
    }
