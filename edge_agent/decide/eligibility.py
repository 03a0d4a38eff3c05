"""Hard gates, in a written order; each refusal is recorded with its reason.

1. complaint: an open complaint silences everything
   refused: so does a no to marketing, on the channels that it was said of
   unknown: so does a loss of what somebody may have stated, until he states it anew
   hq_unheard: so does a long silence of HQ, for whoever is identified, until HQ is heard again
2. stock: the store has none
3. in_basket: already lifted, scanned or in the basket
4. unnamed: no catalogue knows it, or only the bundle's does, without department and title
5. sensitive: departments that no public screen names
6. age: it has a least age, and nobody's is known where no policy file is in force
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, Final

from edge_agent.domain.decisions import Suppression
from edge_agent.domain.ids import ProductId

if TYPE_CHECKING:
    from edge_agent.domain.decisions import Moment
    from edge_agent.domain.policy import Policy
    from edge_agent.domain.store import Product


NO_AGES: Final[Mapping[ProductId, int]] = MappingProxyType({})

UNKNOWN: Final = Suppression(
    product="*", gate="unknown", reason="what was stated may be lost, and was not stated anew"
)


REFUSED: Final = Suppression(
    product="*", gate="refused", reason="marketing is refused on this channel"
)
UNHEARD: Final = Suppression(
    product="*", gate="hq_unheard", reason="headquarters was not heard of for too long"
)
# Gates that come before it: where one of them ruled everything out, that one is told.
BEFORE_UNHEARD: Final = frozenset({"complaint", "unknown"})


def is_unheard(hq_silent_days: int | None, policy: Policy) -> bool:
    """Returns whether HQ may know of a complaint or withdrawal that never came.

    Args:
        hq_silent_days: Whole days since HQ was heard; None where nobody can be known there.
        policy: Says after how many that is so.
    """
    return hq_silent_days is not None and hq_silent_days >= policy.hq_stale_after_days


def silence_for(
    *,
    has_open_complaint: bool,
    may_be_unknown: bool = False,
    is_hq_unheard: bool = False,
    is_refused: bool = False,
) -> Suppression | None:
    """Returns why nothing may be said to somebody; None when something may.

    Args:
        has_open_complaint: Whether he or whoever is silent with him complained.
        may_be_unknown: Whether that may be among what was lost.
        is_hq_unheard: Whether that may wait at an HQ that was not heard for too long.
        is_refused: Whether one of them refused marketing where it would be said.
    """
    if has_open_complaint:
        return Suppression(product="*", gate="complaint", reason="a complaint is open")
    if may_be_unknown:
        return UNKNOWN
    if is_hq_unheard:
        return UNHEARD
    return REFUSED if is_refused else None


def may_rule_out(
    products: frozenset[ProductId],
    moment: Moment,
    *,
    out_of_stock: frozenset[ProductId],
    departments: Mapping[ProductId, str],
    policy: Policy,
    minimum_ages: Mapping[ProductId, int] = NO_AGES,
) -> bool:
    """Returns whether `refusal_of` could rule any of these products out; False is for certain."""
    if minimum_ages and not products.isdisjoint(minimum_ages):
        return True
    if policy.sensitive_departments and moment.place.audience == "public":
        return True
    # What has no department may be unnamed.
    if not all(map(departments.get, products)):
        return True
    return not (products.isdisjoint(out_of_stock) and products.isdisjoint(moment.in_basket))


def refusal_of(
    product: ProductId,
    moment: Moment,
    *,
    out_of_stock: frozenset[ProductId],
    departments: Mapping[ProductId, str],
    product_of: Callable[[ProductId], Product | None],
    policy: Policy,
    minimum_ages: Mapping[ProductId, int] = NO_AGES,
) -> Suppression | None:
    """Returns the first gate that rules a product out; None when it may be shown."""
    if product in out_of_stock:
        return Suppression(product=product, gate="stock", reason="the store has none")
    if product in moment.in_basket:
        return Suppression(product=product, gate="in_basket", reason="already in hand or basket")
    department = departments.get(product)
    if not department and not _is_named(product_of(product)):
        return Suppression(
            product=product, gate="unnamed", reason="nothing is known to show of it"
        )
    if moment.place.audience == "public" and department in policy.sensitive_departments:
        return Suppression(
            product=product, gate="sensitive", reason="not shown on a public screen"
        )
    if minimum_ages.get(product, 0) > 0:
        reason = f"only for people known to be {minimum_ages[product]} or over"
        return Suppression(product=product, gate="age", reason=reason)
    return None


def _is_named(product: Product | None) -> bool:
    """Returns whether there is a title to show: HQ's feed gives one without any department too."""
    return product is not None and product.department != ""


def may_use_history(audience: str) -> bool:
    """Returns whether an identified person's history may be used before this audience.

    A public screen never shows what would give it away, so it never even enters the score.
    """
    return audience != "public"
