"""Who stands before a screen, and what may be said before so many.

A `semi_private` screen is read by one person at a time, until a second one comes: from then on it
is `public`. What it says to nobody in particular is decided as before the public, because nobody
knows who comes next. A `private` screen is its user's alone, whoever else is in the zone.

Several people before one screen share it by a stated rule, its `Sharing.mode`: `newest` answers
who came last, `rotation` each in turn, `mixed` all of them by one ranking. A mixed answer rests on
what they visibly hold and belongs to nobody, as the store's default does.
"""

from __future__ import annotations

from itertools import zip_longest
from typing import TYPE_CHECKING, Any, Final

from edge_agent.domain.decisions import Company
from edge_agent.domain.ids import ProductId

if TYPE_CHECKING:
    from collections.abc import Iterable

PUBLIC: Final = "public"
SEMI_PRIVATE: Final = "semi_private"


def audience_before(audience: str, n_people: int) -> str:
    """Returns who can see an answer on a screen before which so many people stand.

    Args:
        audience: Who can see the screen, as the configuration says.
        n_people: Who is there now, whoever is answered among them; 0 where nobody in particular
            is answered.
    """
    if audience == SEMI_PRIVATE and n_people != 1:
        return PUBLIC
    return audience


def held_together(held: Iterable[tuple[ProductId, ...]]) -> tuple[ProductId, ...]:
    """Returns what several people hold as one basket, oldest first, each product once.

    They take turns from the newest on, so that nobody's full basket drowns another's few things.

    Args:
        held: What each one holds, oldest first; the people in the order of their coming.
    """
    newest_first = (
        product
        for each in zip_longest(*(reversed(one) for one in reversed(tuple(held))))
        for product in each
        if product is not None
    )
    return tuple(reversed(dict.fromkeys(newest_first)))


def company_document(company: Company) -> dict[str, Any]:
    """Returns the people before a screen as they stand in a decision's record: naming nobody."""
    document: dict[str, Any] = {
        "audience": company.audience,
        "mode": company.mode,
        "people": company.n_people,
    }
    if company.held:
        document["held"] = [list(each) for each in company.held]
    return document


def company_from(document: dict[str, Any]) -> Company:
    """Returns the people before a screen, from a decision's record."""
    return Company(
        audience=document["audience"],
        mode=document["mode"],
        n_people=document["people"],
        held=tuple(tuple(map(ProductId, each)) for each in document.get("held", ())),
    )
