"""What a scorer is asked and what it answers.

The values here are the whole contract between deciding and a model: a scorer sees no clock, no
database and no identifier, so that the same request always gives the same answer.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Final

from edge_agent.domain.ids import ProductId


@dataclass(frozen=True, slots=True, kw_only=True)
class PastBasket:
    """One earlier purchase of an identified, consenting customer.

    Attributes:
        at: When it was bought (aware, UTC).
        products: Distinct products, in ascending order.
    """

    at: datetime
    products: tuple[ProductId, ...]


# Plans of promotions that HQ sent are numbered from here; calendars of training end before it.
FIRST_PLAN: Final = 1_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class PromotionPlan:
    """What is displayed and mailed in one week, as HQ said once; it is never changed.

    Attributes:
        number: From `FIRST_PLAN` on, higher for a later word; a request names it as its `week`.
        from_day: First store-local day, ISO 8601.
        until_day: The day from which it is over.
        displayed: Products on display.
        mailed: Products in the mailer.
    """

    number: int
    from_day: str
    until_day: str
    displayed: frozenset[ProductId] = frozenset()
    mailed: frozenset[ProductId] = frozenset()


@dataclass(frozen=True, slots=True, kw_only=True)
class ScoringRequest:
    """Everything a score may rest on.

    Attributes:
        now: The decision's instant (aware, UTC).
        hour: Store-local hour, 0..23.
        weekday: Store-local day of the week, Monday is 0.
        week: Week number in the catalogue's promotion calendar, or of a plan of HQ's; None when
            there is none.
        store: The store as the model's training data names it; None when it has no such name.
        basket: What this visit shows so far (lifted, scanned, in the basket), oldest first.
        history: Earlier baskets, oldest first; empty for an unidentified visitor.
        zone_products: Products that the asking screen's zone sells; None means the whole store.
        exclude: Products that may not be answered.
        limit: How many scored products to answer at most.
        with_reasons: Whether each is to say why. Reasons cost more than the ranking: who asks for
            many and shows few asks `Scorer.reasons` for those.
    """

    now: datetime
    hour: int
    weekday: int
    week: int | None = None
    store: str | None = None
    basket: tuple[ProductId, ...] = ()
    history: tuple[PastBasket, ...] = ()
    zone_products: frozenset[ProductId] | None = None
    exclude: frozenset[ProductId] = frozenset()
    limit: int = 20
    with_reasons: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class ScoredProduct:
    """One candidate with its score.

    Attributes:
        product: The product.
        propensity: Probability of purchase in this visit, 0..1.
        reason: Code of the strongest reason: one of `bought_together`, `you_often_buy`,
            `on_offer`, `popular_now`, `popular`; empty where it was not asked for.
    """

    product: ProductId
    propensity: float
    reason: str
