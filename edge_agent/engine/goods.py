"""What somebody visibly holds, and what it costs by the catalogue."""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING, Final

from edge_agent.domain.money import minor_units
from edge_agent.engine import persons

if TYPE_CHECKING:
    from collections.abc import Iterable

    from edge_agent.domain.basket import Basket
    from edge_agent.domain.decisions import Moment
    from edge_agent.domain.ids import BasketId, ProductId, VisitorId
    from edge_agent.domain.visitor import Visit
    from edge_agent.engine.draft import Draft

_ONE: Final = Decimal(1)
# Whole numbers of conditions have 64 bits.
_MOST: Final = 2**63 - 1


def baskets_of(draft: Draft, visit: Visit) -> tuple[Basket, ...]:
    """Returns the baskets whose goods a visit visibly holds.

    Of somebody who is known beyond the day a basket that he left behind is history.
    """
    baskets = draft.state.baskets_of(visit.visitor)
    visitor = draft.visitor(visit.visitor) if baskets else None
    is_known = visitor is not None and visitor.is_identified
    return tuple(
        basket
        for basket in baskets
        if (basket.sale is None and not is_known) or basket.last_at_ms >= visit.started_at_ms
    )


def visits_now(draft: Draft, visitor_id: VisitorId | None, *, audience: str) -> tuple[Visit, ...]:
    """Returns the visits that somebody is in now, as far as whoever sees the answer may learn.

    Before him alone it is all that he is surely known by; before others it is his own alone, so
    that nobody learns of whoever's number is typed, and who he is changes no public screen.
    """
    visitor = draft.visitor(visitor_id)
    if visitor is None:
        return ()
    visit = draft.visit_of(visitor.id)
    own = () if visit is None or not visit.is_open else (visit,)
    return (*own, *persons.visits_beside(draft, visitor)) if audience == "private" else own


def visits_spoken_to(
    draft: Draft, carrier: VisitorId | None, member: VisitorId | None
) -> tuple[Visit, ...]:
    """Returns the visits that a receipt's reader is in now, under all names that he is known by.

    Those of whoever carries the basket, and of the card holder whom the receipt speaks to: where
    nobody was sensed with this basket, his telephone may have been with another.
    """
    found = [visits_now(draft, each, audience="private") for each in (carrier, member)]
    return tuple({each.id: each for visits in found for each in visits}.values())


def held_in(
    draft: Draft, visits: Iterable[Visit], *, beside: BasketId | None = None
) -> tuple[ProductId, ...]:
    """Returns what somebody visibly holds in these visits, each product once.

    What his telephone was seen to lift his card does not want, and the other way round.

    Args:
        draft: What is known.
        visits: All that he is in: `visits_now`, of a receipt's reader `visits_spoken_to`.
        beside: A basket of which the caller knows more than is stored.
    """
    found: dict[ProductId, None] = {}
    for visit in visits:
        found |= dict.fromkeys(visit.in_hand)
        for basket in baskets_of(draft, visit):
            if basket.id != beside:
                found |= dict.fromkeys(basket.products)
    return tuple(found)


def value_of(draft: Draft, moment: Moment) -> int | None:
    """Returns what the goods in hand or basket cost in all, in whole smallest units of money.

    What a basket holds counts as often as it is there, or by what it weighs; what is in hand
    alone, or named by a request alone, is one piece. None where a price is not known, and where
    several people are answered at once: together they hold no one basket.
    """
    if moment.company is not None and moment.company.held:
        return None
    quantities = _quantities(draft, moment)
    total = Decimal(0)
    for product in moment.in_basket:
        price = known_price(draft, product)
        if price is None:
            return None
        total += Decimal(price) * quantities.get(product, _ONE)
    return _whole(draft, total)


def price_of(draft: Draft, product: ProductId | None) -> int | None:
    """Returns what one of a product costs, in whole smallest units of money; None if unknown."""
    price = None if product is None else known_price(draft, product)
    return None if price is None else _whole(draft, Decimal(price))


def known_price(draft: Draft, product: ProductId) -> str | None:
    """Returns a product's price in the store's currency as the catalogue writes it."""
    context = draft.context
    found = context.catalogue.product(product)
    return None if found is None else found.price_in(context.currency)


def _quantities(draft: Draft, moment: Moment) -> dict[ProductId, Decimal]:
    """Returns how much of each product lies in the baskets that a moment's goods are in."""
    baskets: dict[BasketId, Basket] = {}
    place = moment.place
    visits = (
        visits_spoken_to(draft, moment.visitor, moment.member)
        if place.channel == "receipt"
        else visits_now(draft, moment.visitor, audience=place.audience)
    )
    for visit in visits:
        baskets.update((each.id, each) for each in baskets_of(draft, visit))
    # Last: of this one more may be known than is stored.
    named = None if moment.basket is None else draft.basket(moment.basket)
    if named is not None:
        baskets[named.id] = named
    found: dict[ProductId, Decimal] = {}
    for basket in baskets.values():
        for product, quantity in basket.quantities.items():
            found[product] = found.get(product, Decimal(0)) + quantity
    return found


def _whole(draft: Draft, amount: Decimal) -> int | None:
    found = minor_units(amount, draft.context.currency)
    return found if found <= _MOST else None
