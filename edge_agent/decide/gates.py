"""Gates of products under rules, in a written order; each refusal is recorded with its reason.

1. rule: a rule that holds forbids it
2. stock, in_basket, unnamed, sensitive: as without rules (`decide.eligibility`)
3. bought: bought today or in this visit
4. age: it has a least age that he is not known to have

They stand above arbitration: no weight, lever or campaign brings back what one of them refused.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from edge_agent.decide.campaigns import age_gate
from edge_agent.decide.eligibility import refusal_of
from edge_agent.domain.decisions import Suppression

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from edge_agent.decide.known import Known
    from edge_agent.decide.rule_book import Said, Saying
    from edge_agent.domain.decisions import Moment
    from edge_agent.domain.ids import CampaignId, ProductId
    from edge_agent.domain.policy import Policy
    from edge_agent.domain.store import Product


@dataclass(frozen=True, slots=True, kw_only=True)
class Shelf:
    """What the store says of its products.

    Attributes:
        product: A product as it is shown; its least age stands there.
    """

    out_of_stock: frozenset[ProductId]
    departments: Mapping[ProductId, str]
    product: Callable[[ProductId], Product | None]

    def brand(self, product: ProductId) -> str | None:
        """Returns a product's brand."""
        found = self.product(product)
        return None if found is None else found.brand

    def minimum_age(self, product: ProductId) -> int:
        """Returns the years from which somebody may be told of a product; 0 for anybody."""
        found = self.product(product)
        return 0 if found is None else found.minimum_age


def said_of(
    product: ProductId, saying: Saying, shelf: Shelf, *, campaign: CampaignId | None = None
) -> Said:
    """Returns what the rules that hold say of a product, or of an offer on it."""
    return saying.of(
        product,
        department=shelf.departments.get(product),
        brand=shelf.brand(product) if saying.names_brands else None,
        campaign=campaign,
    )


def gate_of(
    product: ProductId,
    moment: Moment,
    known: Known,
    saying: Saying,
    *,
    shelf: Shelf,
    policy: Policy,
) -> Suppression | None:
    """Returns the first gate that rules a product out; None when it may be shown."""
    forbidden = said_of(product, saying, shelf).forbidden
    if forbidden is not None:
        return Suppression(product=product, gate="rule", reason=forbidden)
    refusal = refusal_of(
        product,
        moment,
        out_of_stock=shelf.out_of_stock,
        departments=shelf.departments,
        policy=policy,
    )
    if refusal is not None:
        return refusal
    if product in known.bought:
        return Suppression(product=product, gate="bought", reason="bought today or in this visit")
    too_young = age_gate(shelf.minimum_age(product), known)
    if too_young is not None:
        return Suppression(product=product, gate=too_young[0], reason=too_young[1])
    return None
