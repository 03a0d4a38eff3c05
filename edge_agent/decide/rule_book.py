"""What holds at a moment: conditions evaluated once each, rules told by sets.

A condition's answer follows from the facts that it asks of, and these repeat: it is remembered by
their values. What the rules that hold say of a product follows from them and from the product: it
is remembered too. So two hundred candidates cost no more evaluations than one, and few looks.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Final

from edge_agent.domain.identity import once_each
from edge_agent.domain.rules import OFFER, SERVICE

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from edge_agent.domain.ids import CampaignId, ProductId
    from edge_agent.domain.policy import Policy
    from edge_agent.domain.rules import Condition, Rule, Rules

_KEPT_BOOKS: Final = 4
# Answers of one condition, and sayings of one set of rules, that are kept.
_KEPT_ANSWERS: Final = 512
_KEPT_SAYINGS: Final = 64
_KEPT_PRODUCTS: Final = 20_000
MOST_WEIGHT: Final = 1e12
"""Rules that hold together weigh no more: a hundred of the heaviest would be infinite, and then
one that weighs nothing would make a score that is no number."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Said:
    """What the rules that hold say of one thing.

    Attributes:
        weight: The product of their weights.
        forbidden: Why nothing may be said of it; None when it may.
    """

    weight: float = 1.0
    forbidden: str | None = None


NOTHING_SAID: Final = Said()


class Saying:
    """What one set of rules says, of everything that was asked about so far."""

    def __init__(self, rules: tuple[Rule, ...]) -> None:
        self.rules = rules
        self.of_all = _said([each for each in rules if _names_all(each)])
        self.names_brands = any(each.brands for each in rules)
        self.names_prices = any(each.is_by_price for each in rules)
        self.names_campaigns = any(each.campaigns for each in rules)
        self.forbids_nothing = not any(each.is_forbidden for each in rules)
        self.names_products = any(each.products for each in rules)
        # Whether everything is said the same of.
        self.says_all = all(_names_all(each) for each in rules)
        self._known: dict[tuple[str | None, ...], Said] = {}

    def of(
        self,
        product: ProductId | None,
        *,
        department: str | None = None,
        brand: str | None = None,
        price: str | None = None,
        campaign: CampaignId | None = None,
    ) -> Said:
        """Returns what is said of a product, an offer on it, or a campaign without one.

        Its brand and its price count only where some rule names such.
        """
        if self.says_all:
            return self.of_all
        key = (product, department, brand, price, campaign)
        known = self._known.get(key)
        if known is None:
            if len(self._known) >= _KEPT_PRODUCTS:
                self._known.clear()
            costs = None if price is None else Decimal(price)
            known = self._known[key] = _said(
                [
                    each
                    for each in self.rules
                    if each.has_price(costs)
                    and (
                        _names_nothing(each)
                        or product in each.products
                        or department in each.departments
                        or brand in each.brands
                        or campaign in each.campaigns
                    )
                ]
            )
        return known


class RuleBook:
    """All that follows from one `Rules` alone."""

    def __init__(self, rules: Rules) -> None:
        self._rules = rules.rules
        self._campaigns = rules.campaigns
        self._sensitive = rules.sensitive_departments
        self._policies: dict[int, tuple[Policy, Policy]] = {}
        whens = (*(each.when for each in rules.rules), *(each.when for each in rules.campaigns))
        conditions = [when for when in whens if when is not None]
        self.names = frozenset(name for each in conditions for name in each.names)
        self._answers: dict[str, _Remembered] = {
            each.text: _Remembered(each) for each in conditions
        }
        self._sayings: dict[tuple[bool, ...], Saying] = {}
        self.services = frozenset([each.id for each in rules.campaigns if each.kind == SERVICE])
        self.texts = frozenset([each.id for each in rules.campaigns if each.kind != OFFER])
        # Where there is no time to look whether a condition holds, what is forbidden is forbidden.
        self.strictest = Saying(tuple(each for each in rules.rules if each.is_forbidden))

    def saying(self, facts: Mapping[str, object]) -> Saying:
        """Returns what the rules say that hold at a moment."""
        seen = _plain_facts(facts)
        held = tuple([self._holds(each.when, facts, seen) for each in self._rules])
        known = self._sayings.get(held)
        if known is None:
            if len(self._sayings) >= _KEPT_SAYINGS:
                self._sayings.clear()
            rules = tuple(each for each, holds in zip(self._rules, held, strict=True) if holds)
            known = self._sayings[held] = Saying(rules)
        return known

    def policy(self, policy: Policy) -> Policy:
        """Returns the agent's policy with the departments that the rules call sensitive too."""
        if not self._sensitive:
            return policy
        known = self._policies.get(id(policy))
        if known is None:
            joined = sorted(self._sensitive.union(policy.sensitive_departments))
            self._policies.clear()
            # The policy is kept too, so that no other one can take its identity.
            known = (policy, replace(policy, sensitive_departments=tuple(joined)))
            self._policies[id(policy)] = known
        return known[1]

    def meant(self, facts: Mapping[str, object]) -> frozenset[CampaignId]:
        """Returns the campaigns that are for a moment, as far as their conditions say."""
        seen = _plain_facts(facts)
        return frozenset(
            [each.id for each in self._campaigns if self._holds(each.when, facts, seen)]
        )

    def _holds(
        self, condition: Condition | None, facts: Mapping[str, object], seen: dict[str, object]
    ) -> bool:
        return condition is None or self._answers[condition.text].holds(facts, seen)


class _Remembered:
    """A condition and what it said of facts that it was shown."""

    def __init__(self, condition: Condition) -> None:
        self._condition = condition
        self._names = tuple(sorted(condition.names))
        self._known: dict[Any, bool] = {}

    def holds(self, facts: Mapping[str, object], seen: dict[str, object]) -> bool:
        key = tuple(map(seen.get, self._names))
        known = self._known.get(key)
        if known is None:
            if len(self._known) >= _KEPT_ANSWERS:
                self._known.clear()
            known = self._known[key] = self._condition.holds(facts)
        return known


@once_each(_KEPT_BOOKS)
def book_of(rules: Rules) -> RuleBook:
    """Returns what follows from rules, made once."""
    return RuleBook(rules)


def _plain_facts(facts: Mapping[str, object]) -> dict[str, object]:
    """Returns facts as what can be looked up; numbers of different kinds stay different."""
    return {
        name: value if isinstance(value, str | int) else repr(value)
        for name, value in facts.items()
    }


def _names_all(rule: Rule) -> bool:
    return _names_nothing(rule) and not rule.is_by_price


def _names_nothing(rule: Rule) -> bool:
    return not (rule.products or rule.departments or rule.brands or rule.campaigns)


def _said(rules: Iterable[Rule]) -> Said:
    weight, forbidden = 1.0, None
    for each in rules:
        weight = min(weight * each.weight, MOST_WEIGHT)
        if each.is_forbidden and forbidden is None:
            forbidden = f"{each.id}: {each.reason}" if each.reason else each.id
    return (
        NOTHING_SAID
        if weight == 1.0 and forbidden is None
        else Said(weight=weight, forbidden=forbidden)
    )
