"""A decision as a screen, a receipt or a caller gets it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from edge_agent.domain.time import datetime_from_ms
from edge_agent.wire.base import Cause as WireCause
from edge_agent.wire.base import Money
from edge_agent.wire.screens import (
    Reason,
    ReceiptOffer,
    Recommendation,
    RecommendedItem,
    RecommendReply,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from edge_agent.domain.decisions import Candidate, Decision
    from edge_agent.domain.ids import ProductId
    from edge_agent.domain.store import Product

# Shown when the store knows no product at all, so that a screen is never empty.
WELCOME_PRODUCT: Final = "welcome"

REASON_TEXTS: Final[dict[str, dict[str, str]]] = {
    "en": {
        "bought_together": "Goes with your basket",
        "you_often_buy": "You often buy this",
        "on_offer": "On offer this week",
        "popular_now": "Popular here right now",
        "popular": "Popular in this store",
        "store_default": "Good to see you",
    },
    "fi": {
        "bought_together": "Sopii ostoksiisi",
        "you_often_buy": "Ostat tätä usein",
        "on_offer": "Tarjouksessa tällä viikolla",
        "popular_now": "Suosittu juuri nyt",
        "popular": "Suosittu tässä kaupassa",
        "store_default": "Mukava nähdä sinut",
    },
}
_WELCOME: Final = {"en": "Welcome", "fi": "Tervetuloa"}


def recommendation_of(
    decision: Decision,
    *,
    products: Callable[[ProductId], Product | None],
    locale: str,
    currency: str,
) -> Recommendation:
    """Returns the message for the screen of a decision."""
    place = decision.moment.place
    items = _items(decision.chosen, products=products, locale=locale, currency=currency)
    return Recommendation(
        decision=decision.id,
        cause=_cause(decision),
        screen=place.screen or "",
        issued=datetime_from_ms(decision.decided_at_ms),
        valid_until=datetime_from_ms(decision.valid_until_ms),
        audience=place.audience,  # type: ignore[arg-type]  # the configuration allows no other
        locale=locale,
        items=items or (_welcome(locale),),
        model=decision.model,
        policy=decision.policy,
    )


def receipt_offer_of(
    decision: Decision,
    *,
    products: Callable[[ProductId], Product | None],
    locale: str,
    currency: str,
) -> ReceiptOffer:
    """Returns the message for the till of a decision."""
    return ReceiptOffer(
        decision=decision.id,
        cause=_cause(decision),
        register_=decision.moment.place.register or "",
        issued=datetime_from_ms(decision.decided_at_ms),
        valid_until=datetime_from_ms(decision.valid_until_ms),
        locale=locale,
        items=_items(decision.chosen, products=products, locale=locale, currency=currency),
        model=decision.model,
        policy=decision.policy,
    )


def reply_of(
    decision: Decision,
    *,
    products: Callable[[ProductId], Product | None],
    locale: str,
    currency: str,
) -> RecommendReply:
    """Returns the answer to a request; empty, with the reason, when silence is due."""
    silence = next((each.gate for each in decision.suppressions if each.product == "*"), None)
    return RecommendReply(
        decision=decision.id,
        cause=_cause(decision),
        issued=datetime_from_ms(decision.decided_at_ms),
        valid_until=datetime_from_ms(decision.valid_until_ms),
        locale=locale,
        items=_items(decision.chosen, products=products, locale=locale, currency=currency),
        silence=silence,
        model=decision.model,
        policy=decision.policy,
    )


def _cause(decision: Decision) -> WireCause:
    cause = decision.moment.cause
    return WireCause(source=cause.source, id=cause.id)


def _items(
    chosen: tuple[Candidate, ...],
    *,
    products: Callable[[ProductId], Product | None],
    locale: str,
    currency: str,
) -> tuple[RecommendedItem, ...]:
    texts = REASON_TEXTS.get(locale, REASON_TEXTS["en"])
    return tuple(
        _item(rank, candidate, products(candidate.scored.product), texts, currency)
        for rank, candidate in enumerate(chosen, start=1)
    )


def _item(
    rank: int,
    candidate: Candidate,
    product: Product | None,
    texts: dict[str, str],
    currency: str,
) -> RecommendedItem:
    scored = candidate.scored
    price = None
    if product is not None and product.price is not None:
        price = Money.model_validate(
            {"amount": product.price, "currency": product.currency or currency}
        )
    return RecommendedItem(
        rank=rank,
        product=scored.product,
        title=scored.product if product is None else product.title,
        price=price,
        image=None if product is None else product.image,
        reason=Reason(code=scored.reason, text=texts[scored.reason]),  # type: ignore[arg-type]  # a scorer's codes are the wire's
    )


def _welcome(locale: str) -> RecommendedItem:
    texts = REASON_TEXTS.get(locale, REASON_TEXTS["en"])
    return RecommendedItem(
        rank=1,
        product=WELCOME_PRODUCT,
        title=_WELCOME.get(locale, _WELCOME["en"]),
        reason=Reason(code="store_default", text=texts["store_default"]),
    )
