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
from edge_agent.domain.ids import ProductId

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from edge_agent.decide.known import Known
    from edge_agent.decide.rule_book import Said, Saying
    from edge_agent.domain.decisions import Moment
    from edge_agent.domain.ids import CampaignId
    from edge_agent.domain.policy import Policy
    from edge_agent.domain.store import Product


@dataclass(frozen=True, slots=True, kw_only=True)
class Shelf:
    """What the store says of its products.

    Attributes:
        minimum_ages: Years from which somebody may be told of them, of those that have any.
        product: A product as it is shown; its brand stands there.
        price: What a product costs, in the store's currency; None where that is not known.
    """

    out_of_stock: frozenset[ProductId]
    departments: Mapping[ProductId, str]
    minimum_ages: Mapping[ProductId, int]
    product: Callable[[ProductId], Product | None]
    price: Callable[[ProductId], str | None]

    def brand(self, product: ProductId) -> str | None:
        """Returns a product's brand."""
        found = self.product(product)
        return None if found is None else found.brand


@dataclass(frozen=True, slots=True, kw_only=True)
class Scene:
    """What candidates are weighed against, the same for all of them."""

    moment: Moment
    known: Known
    saying: Saying
    policy: Policy
    shelf: Shelf


class Gates:
    """The gates of one decision: each product is looked at once.

    Attributes:
        scene: What products are weighed against.
        departments: Of every product that was looked at.
        prices: Of those of them that have one, where a rule that holds selects by price.
        refused: What was refused, in the order in which it was looked at.
    """

    def __init__(self, scene: Scene) -> None:
        self.scene = scene
        moment, known, shelf = scene.moment, scene.known, scene.shelf
        self._suspects = frozenset[ProductId]().union(
            shelf.out_of_stock, moment.in_basket, known.bought, shelf.minimum_ages
        )
        is_public = moment.place.audience == "public"
        sensitive = scene.policy.sensitive_departments if is_public else ()
        # What has no department may have no title either.
        self._unshown: frozenset[str | None] = frozenset((*sensitive, "", None))
        self._department_of = shelf.departments.get
        self._brand_of = shelf.brand if scene.saying.names_brands else None
        self._price_of = shelf.price if scene.saying.names_prices else None
        self._saying = scene.saying
        # Where no rule names products, brands or prices, what is said of a department is of its
        # products.
        saying = scene.saying
        self._is_by_department = not (
            saying.names_products or saying.names_brands or saying.names_prices
        )
        self._of_departments: dict[str | None, Said] = {}
        self._found: dict[ProductId, Said | None] = {}
        self.departments: dict[ProductId, str | None] = {}
        self.prices: dict[ProductId, str] = {}
        self.refused: list[Suppression] = []

    def passed(self, product: ProductId) -> Said | None:
        """Returns what the rules say of a product; None when a gate refuses it."""
        try:
            return self._found[product]
        except KeyError:
            said = self._found[product] = self._look(product)
            return said

    def said_of_offer(self, product: ProductId, campaign: CampaignId) -> Said:
        """Returns what the rules say of a campaign's offer on a product that was looked at."""
        return self._saying.of(
            product,
            department=self.departments[product],
            brand=None if self._brand_of is None else self._brand_of(product),
            price=self.prices.get(product),
            campaign=campaign,
        )

    def _look(self, product: ProductId) -> Said | None:
        department = self.departments[product] = self._department_of(product)
        said = self._said(product, department)
        is_suspect = product in self._suspects or department in self._unshown
        # Most products are of no interest to any gate.
        if not is_suspect and said.forbidden is None:
            return said
        refusal = self._refusal(product, said)
        if refusal is None:
            return said
        self.refused.append(refusal)
        return None

    def _said(self, product: ProductId, department: str | None) -> Said:
        if not self._is_by_department:
            brand = None if self._brand_of is None else self._brand_of(product)
            price = None if self._price_of is None else self._price_of(product)
            if price is not None:
                self.prices[product] = price
            return self._saying.of(product, department=department, brand=brand, price=price)
        known = self._of_departments.get(department)
        if known is None:
            known = self._of_departments[department] = self._saying.of(None, department=department)
        return known

    def _refusal(self, product: ProductId, said: Said) -> Suppression | None:
        scene = self.scene
        if said.forbidden is not None:
            return Suppression(product=product, gate="rule", reason=said.forbidden)
        refusal = refusal_of(
            product,
            scene.moment,
            out_of_stock=scene.shelf.out_of_stock,
            departments=scene.shelf.departments,
            product_of=scene.shelf.product,
            policy=scene.policy,
        )
        if refusal is not None:
            return refusal
        if product in scene.known.bought:
            reason = "bought today or in this visit"
            return Suppression(product=product, gate="bought", reason=reason)
        too_young = age_gate(scene.shelf.minimum_ages.get(product, 0), scene.known.age)
        if too_young is not None:
            return Suppression(product=product, gate=too_young[0], reason=too_young[1])
        return None
