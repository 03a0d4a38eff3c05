"""A decision as a screen, a receipt or a caller gets it.

The messages are made of values that were checked when they came in, so they are constructed and
not validated again: a tenth of a decision's time. A test validates what is published.
"""

from __future__ import annotations

from decimal import Decimal
from functools import lru_cache
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final, get_args

from pydantic_core import to_json

from edge_agent.domain.identity import once_each
from edge_agent.domain.time import datetime_from_ms
from edge_agent.wire.base import SCHEMA_VERSION, Money
from edge_agent.wire.base import Cause as WireCause
from edge_agent.wire.screens import (
    Notice,
    NoticeKind,
    Offer,
    Reason,
    ReceiptOffer,
    RecommendedItem,
    RecommendReply,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from edge_agent.domain.decisions import Decision
    from edge_agent.domain.ids import CampaignId, ProductId
    from edge_agent.domain.offers import GivenOffer
    from edge_agent.domain.rules import Campaign
    from edge_agent.domain.store import Product

    Given = Mapping[CampaignId, GivenOffer]

# Shown when the store knows no product at all, so that a screen is never empty.
WELCOME_PRODUCT: Final = "welcome"

# Why a caller hears nothing where no gate silenced all, and each product has its own.
NOTHING_LEFT: Final = "nothing_left"

# The limited offers of a decision that has none.
NOTHING_GIVEN: Final[Given] = MappingProxyType({})

KEPT_ITEMS: Final = 4_096

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
_KINDS: Final[dict[str, NoticeKind]] = {each: each for each in get_args(NoticeKind)}
_WELCOME: Final = {"en": "Welcome", "fi": "Tervetuloa"}


def recommendation_json(
    decision: Decision,
    *,
    products: Callable[[ProductId], Product | None],
    locale: str,
    currency: str,
    given: Given = NOTHING_GIVEN,
) -> bytes:
    """Returns the message for the screen of a decision: a `Recommendation`, as its JSON.

    Written from its parts, because the same items go out thousands of times a day.
    """
    moment = decision.moment
    head = {
        "decision": decision.id,
        "cause": {"source": moment.cause.source, "id": moment.cause.id},
        "screen": moment.place.screen or "",
        "issued": datetime_from_ms(decision.decided_at_ms),
        "valid_until": datetime_from_ms(decision.valid_until_ms),
        "audience": moment.place.audience,
        "schema_version": SCHEMA_VERSION,
        "locale": locale,
    }
    items = _items(decision, given, products=products, locale=locale, currency=currency)
    texts = b",".join([_text_of(each) for each in items or (_welcome(locale),)])
    tail: dict[str, Any] = {"model": decision.model, "policy": decision.policy}
    notice = _notice(decision)
    if notice is not None:
        tail = {"notice": notice.model_dump(mode="json"), **tail}
    return b"".join((to_json(head)[:-1], b',"items":[', texts, b"],", to_json(tail)[1:]))


def receipt_offer_of(
    decision: Decision,
    *,
    products: Callable[[ProductId], Product | None],
    locale: str,
    currency: str,
    given: Given = NOTHING_GIVEN,
) -> ReceiptOffer:
    """Returns the message for the till of a decision."""
    return ReceiptOffer.model_construct(
        decision=decision.id,
        cause=_cause(decision),
        register_=decision.moment.place.register or "",
        issued=datetime_from_ms(decision.decided_at_ms),
        valid_until=datetime_from_ms(decision.valid_until_ms),
        locale=locale,
        items=_items(decision, given, products=products, locale=locale, currency=currency),
        notice=_notice(decision),
        model=decision.model,
        policy=decision.policy,
    )


def reply_of(
    decision: Decision,
    *,
    products: Callable[[ProductId], Product | None],
    locale: str,
    currency: str,
    given: Given = NOTHING_GIVEN,
) -> RecommendReply:
    """Returns the answer to a request; empty, with the reason, when silence is due."""
    silence = next((each.gate for each in decision.suppressions if each.product == "*"), None)
    if silence is None and not decision.chosen and decision.notice is None:
        silence = NOTHING_LEFT
    return RecommendReply.model_construct(
        decision=decision.id,
        cause=_cause(decision),
        issued=datetime_from_ms(decision.decided_at_ms),
        valid_until=datetime_from_ms(decision.valid_until_ms),
        locale=locale,
        items=_items(decision, given, products=products, locale=locale, currency=currency),
        silence=silence,
        notice=_notice(decision),
        model=decision.model,
        policy=decision.policy,
    )


def _cause(decision: Decision) -> WireCause:
    cause = decision.moment.cause
    return WireCause.model_construct(source=cause.source, id=cause.id)


def _notice(decision: Decision) -> Notice | None:
    if decision.notice is None:
        return None
    campaign = decision.notice.campaign
    return Notice.model_construct(
        campaign=campaign.id,
        kind=_KINDS[campaign.kind],
        text=campaign.text,
        valid_until=datetime_from_ms(min(decision.valid_until_ms, campaign.ends_at_ms)),
    )


def _items(
    decision: Decision,
    given: Given,
    *,
    products: Callable[[ProductId], Product | None],
    locale: str,
    currency: str,
) -> tuple[RecommendedItem, ...]:
    texts = REASON_TEXTS.get(locale, REASON_TEXTS["en"])
    items = tuple(
        _item(
            rank,
            each.scored.product,
            products(each.scored.product),
            each.scored.reason,
            texts[each.scored.reason],
            currency,
        )
        for rank, each in enumerate(decision.chosen, start=1)
    )
    if not decision.campaigns:
        return items
    return tuple(
        item if each.campaign is None else _with_offer(item, each.campaign, decision, given)
        for item, each in zip(items, decision.chosen, strict=True)
    )


def _with_offer(
    item: RecommendedItem, campaign: Campaign, decision: Decision, given: Given
) -> RecommendedItem:
    """Returns an item with its offer: until when it can be redeemed, and by which code."""
    limited = given.get(campaign.id)
    until_ms = decision.valid_until_ms if limited is None else limited.offer.valid_until_ms
    offer = Offer.model_construct(
        campaign=campaign.id,
        text=campaign.text,
        valid_until=datetime_from_ms(min(until_ms, campaign.ends_at_ms)),
        code=None if limited is None else limited.code,
    )
    return item.model_copy(update={"offer": offer})


# The same product stands in the same place thousands of times a day.
@lru_cache(maxsize=KEPT_ITEMS)
def _item(
    rank: int,
    product_id: ProductId,
    product: Product | None,
    reason: Any,
    text: str,
    currency: str,
) -> RecommendedItem:
    price = None
    if product is not None and product.price is not None:
        price = Money.model_construct(
            amount=Decimal(product.price), currency=product.currency or currency
        )
    return RecommendedItem.model_construct(
        rank=rank,
        product=product_id,
        title=product_id if product is None else product.title,
        price=price,
        image=None if product is None else product.image,
        reason=Reason.model_construct(code=reason, text=text),
        offer=None,
    )


@once_each(KEPT_ITEMS)
def _text_of(item: RecommendedItem) -> bytes:
    return item.model_dump_json().encode()


@lru_cache
def _welcome(locale: str) -> RecommendedItem:
    texts = REASON_TEXTS.get(locale, REASON_TEXTS["en"])
    return RecommendedItem(
        rank=1,
        product=WELCOME_PRODUCT,
        title=_WELCOME.get(locale, _WELCOME["en"]),
        reason=Reason(code="store_default", text=texts["store_default"]),
    )
