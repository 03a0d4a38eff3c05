"""Scores products with onnxruntime on one thread; popularity when there is nothing to score.

The network is a function of the features alone. A reason is found by ablation: the features of one
group are set to what they are for somebody of whom nothing is known, and the group whose absence
lowers the score most is the reason. So reason and score cannot disagree.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np
import onnxruntime as ort
from numpy.typing import NDArray

from edge_agent.domain.ids import ProductId
from edge_agent.domain.scoring import PromotionPlan, ScoredProduct, ScoringRequest
from edge_agent.state.features import (
    FEATURES,
    FINALISTS,
    HOURS_PER_BIN,
    NO_HISTORY,
    Description,
    Floats,
    Items,
    RankerTables,
    Situation,
    Surroundings,
    describe,
    surroundings,
)

DAY_S: Final = 86_400.0
MAX_HOUR: Final = 23
WEEKDAYS: Final = 7
KEPT_SURROUNDINGS: Final = 2
"""Hour bins, weeks and weekdays follow each other slowly, so a few are enough."""
KEPT_ZONES: Final = 64
MAX_HISTORY_BASKETS: Final = 400
"""About a year of daily shopping; older baskets change no feature by a visible amount."""

WHOLE_BASKET: Final = frozenset(
    {
        "basket_private_share",
        "basket_offer_share",
        "basket_mean_price",
        "basket_mean_pop",
        "basket_group_certainty",
        "basket_known_kinds",
    }
)
"""What kind of basket it is; the same for every candidate, so no reason for one."""

REASONS: Final[Mapping[str, Mapping[str, float]]] = {
    "bought_together": {
        name: 0.0 for name in FEATURES if name.startswith("basket_") and name not in WHOLE_BASKET
    },
    "you_often_buy": NO_HISTORY,
    "on_offer": {
        "display_lift": 0.0,
        "mailer_lift": 0.0,
        "chain_display": 0.0,
        "chain_mailer": 0.0,
        "own_promotion_lift": 0.0,
    },
    "popular_now": {"hour_lift": 0.0, "weekday_lift": 0.0, "store_lift": 0.0, "trend": 0.0},
}
"""Reason code -> the features it rests on, with their values when nothing is known."""

EVERY_STORE: Final = 255
"""Of the chain's stores, as a share in 1/255, those that promote what HQ's plan names."""
FALLBACK_REASON: Final = "popular"
MIN_EFFECT: Final = 0.02
"""An ablation that changes the score by less than this share of it is no reason."""


@dataclass(frozen=True, slots=True)
class Ids:
    """Names of items and stores, and their positions in the tables."""

    products: tuple[ProductId, ...]
    position: Mapping[str, int]
    stores: Mapping[str, int]


def open_session(model: bytes) -> ort.InferenceSession:
    """Opens a model on one thread, without arena growth or memory patterns."""
    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    options.inter_op_num_threads = 1
    options.execution_mode = ort.ExecutionMode.ORT_SEQUENTIAL
    options.enable_cpu_mem_arena = False
    options.enable_mem_pattern = False
    options.log_severity_level = 4
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    return ort.InferenceSession(model, options, providers=["CPUExecutionProvider"])


class OnnxScorer:
    """Ranks products for a request; deterministic, and total over odd requests."""

    def __init__(self, session: ort.InferenceSession, tables: RankerTables, ids: Ids) -> None:
        self._session = session
        self._input = session.get_inputs()[0].name
        self._tables = tables
        self._ids = ids
        self._kept: OrderedDict[tuple[int | None, int | None, int, int], Surroundings]
        self._kept = OrderedDict()
        self._last: tuple[ScoringRequest | None, Situation | None] = (None, None)
        self._last_scored: tuple[ScoringRequest | None, Description | None, Floats | None]
        self._last_scored = (None, None, None)
        self._zones: OrderedDict[frozenset[ProductId], NDArray[np.bool_]] = OrderedDict()
        self._codes = list(REASONS)
        self._is_known, self._nothing = _nothing_known()

    def beside(self) -> OnnxScorer:
        """Returns one for another thread: the same session and tables, nothing kept in common."""
        return OnnxScorer(self._session, self._tables, self._ids)

    def rank(self, request: ScoringRequest) -> tuple[ScoredProduct, ...]:
        """Returns the likeliest products, best first, ties by product id."""
        description, scores = self._scored(request)
        if not len(description.items) or request.limit < 1:
            return ()
        top = np.argsort(-scores, kind="stable")[: request.limit]
        top = top[scores[top] > 0.0]
        if request.with_reasons:
            reasons = self._reasons(description.matrix[top], scores[top])
        else:
            reasons = [""] * len(top)
        return self._answer(description.items[top], scores[top], reasons)

    def reasons(
        self, request: ScoringRequest, products: tuple[ProductId, ...]
    ) -> dict[ProductId, str]:
        """Returns why products stand where they do in the answer to a request."""
        description, scores = self._scored(request)
        found = dict.fromkeys(products, FALLBACK_REASON)
        known = self._ids.position
        named = [each for each in products if each in known]
        # Items stand in ascending order.
        rows = np.searchsorted(description.items, [known[each] for each in named])
        is_there = [
            row < len(description.items) and description.items[row] == known[each]
            for row, each in zip(rows.tolist(), named, strict=True)
        ]
        rows, named = (
            rows[is_there],
            [n for n, is_in in zip(named, is_there, strict=True) if is_in],
        )
        if named:
            reasons = self._reasons(description.matrix[rows], scores[rows])
            found.update(zip(named, reasons, strict=True))
        return found

    def _scored(self, request: ScoringRequest) -> tuple[Description, Floats]:
        """Returns the candidates of a request and their scores; kept until the next request."""
        asked, description, scores = self._last_scored
        if asked is request and description is not None and scores is not None:
            return description, scores
        description = self.describe(request)
        is_empty = not len(description.items) or request.limit < 1
        scores = np.zeros(0, dtype=np.float32) if is_empty else self.score(description.matrix)
        self._last_scored = (request, description, scores)
        return description, scores

    @property
    def tables(self) -> RankerTables:
        """What was learned."""
        return self._tables

    def describe(self, request: ScoringRequest) -> Description:
        """Returns the candidates of a request and their features."""
        situation = self.situation(request)
        return describe(self._tables, situation, self._surroundings(situation))

    def popular(self, request: ScoringRequest) -> tuple[ScoredProduct, ...]:
        """Returns what sells best in this store, week and hour, whoever asks."""
        situation = self.situation(request)
        around = self._surroundings(situation)
        top = _most_popular(around, situation, max(request.limit, 0))
        scores = np.minimum(np.exp(around.now[top]), np.float32(1.0))
        now = around.hour_lift[top] + around.weekday_lift[top] + around.store_lift[top] > 0
        reasons = ["popular_now" if is_now else FALLBACK_REASON for is_now in now]
        return self._answer(top, scores, reasons)

    def use_plans(self, plans: Iterable[PromotionPlan]) -> None:
        """Takes up HQ's plans of promotions: each as a week in which every store promotes so.

        A number never stands for two plans, so what is kept of one stays right.
        """
        known = self._tables.chain_plans
        for plan in plans:
            if plan.number not in known:
                shares = np.zeros((2, self._tables.n_items), dtype=np.uint8)
                for row, products in enumerate((plan.displayed, plan.mailed)):
                    shares[row, self._positions(products)] = EVERY_STORE
                known[plan.number] = shares

    def knows(self, product: ProductId) -> bool:
        """Returns whether a product can be ranked at all."""
        return product in self._ids.position

    def score(self, matrix: Floats) -> Floats:
        """Returns each row's probability, float32 (n_rows,); 0 beyond the best `FINALISTS`."""
        answer = self._session.run(None, {self._input: matrix})[0]
        return np.asarray(answer, dtype=np.float32).reshape(-1)

    def situation(self, request: ScoringRequest) -> Situation:
        """Returns the request in the tables' own terms; what they do not know is left out."""
        asked, situation = self._last
        if asked is not request or situation is None:
            situation = self._situation(request)
            # A decision asks twice: for the best, and for the most popular to compare them with.
            self._last = (request, situation)
        return situation

    def _situation(self, request: ScoringRequest) -> Situation:
        known, now = self._ids.position, request.now
        bought: list[int] = []
        sizes: list[int] = []
        ago: list[float] = []
        for basket in request.history[-MAX_HISTORY_BASKETS:]:
            items = [known[product] for product in basket.products if product in known]
            if items:
                bought += items
                sizes.append(len(items))
                ago.append(max((now - basket.at).total_seconds(), 0.0) / DAY_S)
        return Situation(
            hour=min(max(request.hour, 0), MAX_HOUR),
            weekday=request.weekday % WEEKDAYS,
            week=request.week,
            store=self._ids.stores.get(request.store) if request.store is not None else None,
            basket=np.array(list(dict.fromkeys(self._positions(request.basket))), dtype=np.int64),
            bought=np.array(bought, dtype=np.int64),
            bought_basket=np.repeat(np.arange(len(sizes)), sizes),
            ago_days=np.array(ago, dtype=np.float64),
            allowed=self._allowed(request),
        )

    def _positions(self, products: Iterable[str]) -> list[int]:
        known = self._ids.position
        return [known[product] for product in products if product in known]

    def _allowed(self, request: ScoringRequest) -> NDArray[np.bool_] | None:
        zone = request.zone_products
        if zone is None and not request.exclude:
            return None
        allowed = np.ones(self._tables.n_items, dtype=bool)
        if zone is not None:
            allowed = self._zone(zone).copy()
        allowed[self._positions(request.exclude)] = False
        return allowed

    def _zone(self, zone: frozenset[ProductId]) -> NDArray[np.bool_]:
        found = self._zones.get(zone)
        if found is None:
            found = np.zeros(self._tables.n_items, dtype=bool)
            found[self._positions(zone)] = True
            self._zones[zone] = found
            if len(self._zones) > KEPT_ZONES:
                self._zones.popitem(last=False)
        return found

    def _surroundings(self, situation: Situation) -> Surroundings:
        key = (
            situation.store,
            situation.week,
            situation.hour // HOURS_PER_BIN,
            situation.weekday,
        )
        found = self._kept.get(key)
        if found is None:
            found = surroundings(
                self._tables,
                store=situation.store,
                week=situation.week,
                hour=situation.hour,
                weekday=situation.weekday,
            )
            self._kept[key] = found
            if len(self._kept) > KEPT_SURROUNDINGS:
                self._kept.popitem(last=False)
        else:
            self._kept.move_to_end(key)
        return found

    def _reasons(self, rows: Floats, scores: Floats) -> list[str]:
        """Returns for each row the group whose absence lowers its score most."""
        codes = self._codes
        without = np.where(self._is_known[:, None], rows[None], self._nothing[:, None])
        moved = (without != rows[None]).any(axis=2)
        changed = without[moved]
        pieces = [
            self.score(changed[begin : begin + FINALISTS])
            for begin in range(0, len(changed), FINALISTS)
        ]
        effect = np.zeros(moved.shape, dtype=np.float32)
        if pieces:
            effect[moved] = np.broadcast_to(scores, moved.shape)[moved] - np.concatenate(pieces)
        strongest = effect.argmax(axis=0)
        return [
            codes[group] if effect[group, i] > MIN_EFFECT * scores[i] else FALLBACK_REASON
            for i, group in enumerate(strongest)
        ]

    def _answer(
        self, items: Items, scores: Floats, reasons: list[str]
    ) -> tuple[ScoredProduct, ...]:
        products = self._ids.products
        return tuple(
            ScoredProduct(product=products[item], propensity=score, reason=reason)
            for item, score, reason in zip(items.tolist(), scores.tolist(), reasons, strict=True)
        )


def _nothing_known() -> tuple[NDArray[np.bool_], Floats]:
    """Returns for each reason which features it leaves, and the values of the others."""
    is_known = np.ones((len(REASONS), len(FEATURES)), dtype=bool)
    nothing = np.zeros((len(REASONS), len(FEATURES)), dtype=np.float32)
    for group, features in enumerate(REASONS.values()):
        for name, value in features.items():
            if name in FEATURES:
                is_known[group, FEATURES.index(name)] = False
                nothing[group, FEATURES.index(name)] = value
    return is_known, nothing


def _most_popular(around: Surroundings, situation: Situation, n: int) -> Items:
    """Returns the n most popular items that may be answered, best first."""
    if situation.allowed is None:
        ordered = around.popular[: n + len(situation.basket)]
    else:
        ordered = around.popular[situation.allowed[around.popular]]
        ordered = ordered[: n + len(situation.basket)]
    in_basket = frozenset(situation.basket.tolist())
    found = [item for item in ordered.tolist() if item not in in_basket]
    return np.array(found[:n], dtype=np.int64)
