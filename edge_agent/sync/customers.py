"""What consent lets HQ have of an identified customer: choices, segments, interests, dates."""

from __future__ import annotations

from hashlib import blake2b
from typing import TYPE_CHECKING, Final

from edge_agent.wire.summaries import CustomerUpdate, Interest

if TYPE_CHECKING:
    from collections.abc import Callable

    from edge_agent.domain.ids import ProductId, StoreId
    from edge_agent.domain.visitor import Visitor

UPDATE_ID_BYTES: Final = 12


def update_for(
    member: Visitor,
    *,
    store: StoreId,
    day: str,
    revision: int,
    choices: tuple[ProductId, ...],
    may_tell: Callable[[ProductId], bool],
    interests: tuple[tuple[str, float], ...],
) -> CustomerUpdate | None:
    """Returns a customer's day so far; None while HQ has given no handle for this customer.

    Args:
        member: The consenting customer.
        store: This store.
        day: Store-local day, ISO 8601.
        revision: Rises within the day; the highest one holds at HQ.
        choices: Products bought on this day.
        may_tell: Whether a product is one for certain; a till may send a card in its place.
        interests: Department and strength, strongest first.
    """
    reference = member.profile.reference
    if reference is None:
        return None
    text = f"{store}\x00{reference}\x00{day}\x00{revision}"
    return CustomerUpdate(
        update_id=blake2b(text.encode(), digest_size=UPDATE_ID_BYTES).hexdigest(),
        reference=reference,
        store=store,
        activity_date=day,
        revision=revision,
        segments=member.profile.segments,
        interests=tuple(Interest(category=name, strength=share) for name, share in interests),
        choices=tuple(sorted(each for each in set(choices) if may_tell(each))),
    )
