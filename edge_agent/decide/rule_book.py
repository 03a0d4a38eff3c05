"""What holds at a moment: conditions evaluated once each, rules told by sets.

A condition's answer follows from the facts that it asks of, and these repeat: it is remembered by
their values, together with the answers of all conditions that ask of the same. What the rules that
hold say of a product follows from them and from the product: it is remembered too. So two hundred
candidates cost no more evaluations than one, and few looks.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Hashable
from dataclasses import dataclass, replace
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Final, Generic, TypeVar

from edge_agent.domain.identity import once_each
from edge_agent.domain.rules import OFFER, SERVICE

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from edge_agent.domain.ids import CampaignId, ProductId
    from edge_agent.domain.policy import Policy
    from edge_agent.domain.rules import Condition, Rule, Rules

K = TypeVar("K", bound=Hashable)

_KEPT_BOOKS: Final = 4
# Answers of conditions that ask of the same, and sayings of one set of rules, that are kept.
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
        self.campaigns = rules.campaigns
        self._sensitive = rules.sensitive_departments
        self._policies: dict[int, tuple[Policy, Policy]] = {}
        whens = (*(each.when for each in rules.rules), *(each.when for each in rules.campaigns))
        self.names = frozenset([name for when in whens if when is not None for name in when.names])
        self._rules_that_hold = _Conditions({n: each.when for n, each in enumerate(rules.rules)})
        self._campaigns_meant = _Conditions({each.id: each.when for each in rules.campaigns})
        turns = {each.starts_at_ms for each in rules.campaigns}
        self._turns = sorted(turns.union(each.ends_at_ms for each in rules.campaigns))
        self._sayings: dict[frozenset[int], Saying] = {}
        self.services = frozenset([each.id for each in rules.campaigns if each.kind == SERVICE])
        self.texts = frozenset([each.id for each in rules.campaigns if each.kind != OFFER])
        # Where there is no time to look whether a condition holds, what is forbidden is forbidden.
        self.strictest = Saying(tuple(each for each in rules.rules if each.is_forbidden))

    def saying(self, facts: Mapping[str, object]) -> Saying:
        """Returns what the rules say that hold at a moment."""
        held = self._rules_that_hold.of(facts)
        known = self._sayings.get(held)
        if known is None:
            if len(self._sayings) >= _KEPT_SAYINGS:
                self._sayings.clear()
            rules = tuple(each for n, each in enumerate(self._rules) if n in held)
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
        return self._campaigns_meant.of(facts)

    def turn_before(self, now_ms: int) -> int:
        """Returns the last instant up to now at which a campaign began or was over.

        Until the next one the same campaigns run. Before the first it is some instant before it.
        """
        passed = bisect_right(self._turns, now_ms)
        if passed:
            return self._turns[passed - 1]
        return self._turns[0] - 1 if self._turns else 0


class _Conditions(Generic[K]):
    """Conditions by what they are of; None holds always."""

    def __init__(self, conditions: Mapping[K, Condition | None]) -> None:
        by_names: dict[tuple[str, ...], dict[K, Condition]] = {}
        for key, each in conditions.items():
            if each is not None:
                by_names.setdefault(tuple(sorted(each.names)), {})[key] = each
        self._always = frozenset([key for key, each in conditions.items() if each is None])
        self._groups = [_AskingAlike(names, group) for names, group in by_names.items()]

    def of(self, facts: Mapping[str, object]) -> frozenset[K]:
        """Returns of which the condition holds."""
        seen = _plain_facts(facts)
        return self._always.union(*[each.of(facts, seen) for each in self._groups])


class _AskingAlike(Generic[K]):
    """Conditions that ask of the same facts, and which of them held of facts they were shown."""

    def __init__(self, names: tuple[str, ...], conditions: dict[K, Condition]) -> None:
        self._names = names
        self._conditions = conditions
        self._known: dict[Any, frozenset[K]] = {}

    def of(self, facts: Mapping[str, object], seen: dict[str, object]) -> frozenset[K]:
        key = tuple(map(seen.get, self._names))
        known = self._known.get(key)
        if known is None:
            if len(self._known) >= _KEPT_ANSWERS:
                self._known.clear()
            each_once = {each.text: each for each in self._conditions.values()}
            held = {text for text, each in each_once.items() if each.holds(facts)}
            known = self._known[key] = frozenset(
                [of for of, each in self._conditions.items() if each.text in held]
            )
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
