"""The scorers that the core may be handed: a bundle's model, or popularity in this store."""

from __future__ import annotations

from collections import Counter, OrderedDict
from typing import TYPE_CHECKING, Any, Final

from edge_agent.domain.scoring import ScoredProduct

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from edge_agent.domain.ids import ProductId
    from edge_agent.domain.scoring import ScoringRequest
    from edge_agent.shell.bundles import Bundle

HOURS_A_DAY: Final = 24
# Sales of the neighbouring hours count as well: one hour of one store is thin.
HOUR_SPREAD: Final = 1
# Answers kept, of some 3 KiB each.
REMEMBERED_ANSWERS: Final = 500

_Key = tuple[Any, ...]


class ModelScorer:
    """A verified bundle's model."""

    level: Final = "model"

    def __init__(self, bundle: Bundle) -> None:
        self._scorer = bundle.scorer
        self.version = bundle.version
        self._ranked: OrderedDict[_Key, tuple[ScoredProduct, ...]] = OrderedDict()
        self._popular: OrderedDict[_Key, tuple[ScoredProduct, ...]] = OrderedDict()
        self._reasons: OrderedDict[_Key, dict[ProductId, str]] = OrderedDict()

    def rank(self, request: ScoringRequest) -> tuple[ScoredProduct, ...]:
        """Returns what the model finds likeliest, best first."""
        if request.history:
            return self._scorer.rank(request)
        return _remembered(self._ranked, request, self._scorer.rank)

    def reasons(
        self, request: ScoringRequest, products: tuple[ProductId, ...]
    ) -> dict[ProductId, str]:
        """Returns why the model ranks products as it does."""
        if request.history:
            return self._scorer.reasons(request, products)
        key = (*_key(request), products)
        known = self._reasons.get(key)
        if known is None:
            known = self._reasons[key] = self._scorer.reasons(request, products)
            if len(self._reasons) > REMEMBERED_ANSWERS:
                self._reasons.popitem(last=False)
        return known

    def popular(self, request: ScoringRequest) -> tuple[ScoredProduct, ...]:
        """Returns what sells best in this store and hour, best first."""
        return _remembered(self._popular, request, self._scorer.popular)


def _remembered(
    answers: OrderedDict[_Key, tuple[ScoredProduct, ...]],
    request: ScoringRequest,
    ask: Callable[[ScoringRequest], tuple[ScoredProduct, ...]],
) -> tuple[ScoredProduct, ...]:
    key = _key(request)
    known = answers.get(key)
    if known is None:
        known = answers[key] = ask(request)
        if len(answers) > REMEMBERED_ANSWERS:
            answers.popitem(last=False)
    else:
        answers.move_to_end(key)
    return known


def _key(request: ScoringRequest) -> _Key:
    # Without a history, all who come in this hour with the same things in hand get one answer;
    # the instant itself counts only for how long ago something was bought.
    return (
        request.now.date(),
        request.hour,
        request.weekday,
        request.week,
        request.store,
        request.basket,
        request.zone_products,
        request.exclude,
        request.limit,
        request.with_reasons,
    )


class PopularityScorer:
    """What this store itself sold around this hour; used when there is no model."""

    level: Final = "popularity"
    version: Final = "popularity"

    def __init__(self) -> None:
        self._by_hour: list[Counter[ProductId]] = [Counter() for _ in range(HOURS_A_DAY)]
        self._n_sales = 0

    def learn(self, products: Iterable[ProductId], *, hour: int) -> None:
        """Counts one sale."""
        self._by_hour[hour].update(set(products))
        self._n_sales += 1

    def rank(self, request: ScoringRequest) -> tuple[ScoredProduct, ...]:
        """Returns the same as `popular`: popularity knows no person."""
        return self.popular(request)

    def reasons(
        self, request: ScoringRequest, products: tuple[ProductId, ...]
    ) -> dict[ProductId, str]:
        """Returns why products are popular; its ranking says so by itself already."""
        said = {each.product: each.reason for each in self.popular(request)}
        return {product: said.get(product, "popular") for product in products}

    def popular(self, request: ScoringRequest) -> tuple[ScoredProduct, ...]:
        """Returns what sold most often around this hour, then at any hour, ties by product."""
        near: Counter[ProductId] = Counter()
        for offset in range(-HOUR_SPREAD, HOUR_SPREAD + 1):
            near.update(self._by_hour[(request.hour + offset) % HOURS_A_DAY])
        ever: Counter[ProductId] = Counter()
        for counts in self._by_hour:
            ever.update(counts)
        zone = request.zone_products
        kept = [
            product
            for product in ever
            if product not in request.exclude and (zone is None or product in zone)
        ]
        kept.sort(key=lambda product: (-near[product], -ever[product], product))
        return tuple(
            ScoredProduct(
                product=product,
                propensity=min(1.0, ever[product] / max(1, self._n_sales)),
                reason="popular_now" if near[product] else "popular",
            )
            for product in kept[: request.limit]
        )
