"""What a decision under rules rests on beside its moment and the scorer's answer.

All of it stands in the decision's record, as plain values, so that the decision can be taken again
from the record alone. It is gathered before the first stage; no stage asks anything else.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from edge_agent.domain.ids import CampaignId, ProductId, UnitId

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from edge_agent.domain.rules import Campaign
    from edge_agent.domain.visitor import Visitor

# HQ puts whoever showed his papers into the segment `age-18`, and so on.
_AGE_SEGMENT: Final = "age-"


class Uses(NamedTuple):
    """How often a campaign was said: in all, on this day, to this visitor.

    And how often what sells best stood in its place for this visitor, who is in its control group.
    """

    total: int = 0
    today: int = 0
    visitor: int = 0
    missed: int = 0

    @property
    def document(self) -> list[int]:
        """As a record has it: most have missed nothing."""
        return list(self) if self.missed else list(self[:-1])


_NO_USES: Final = Uses()


@dataclass(frozen=True, slots=True, kw_only=True)
class Known:
    """What is known of a moment and of whoever it is about.

    Attributes:
        facts: What the rules' conditions ask of, by name; what is not known is not there.
        rung: Of the ladder: how much there was time for.
        minute_of_day: Store-local, 0..1439.
        age: Years that somebody is known to have; None where nothing is known, and before
            everybody's eyes.
        n_contacts_day: How often something was said to him on this store-local day, over all
            channels, what HQ reported included.
            Of several who are answered at once, here and below, of whoever was told most.
        last_offer_ms: When he was last told of a campaign that is no service message.
        last_missed_ms: When he last would have been, were he not in its control group.
        bought: What he bought today or in this visit.
        out_of_stock: Of all that was weighed, what the store has none of.
        prices: Of all that was weighed, what it costs, where a rule that holds selects by price;
            what has no known price is not there.
        ignored: Products that were shown to him and led to nothing, and how often.
        ignored_texts: Campaigns that are a text, and how often they were said for nothing.
        uses: Of the campaigns that have a limit.
        unit: What arms are drawn for; None where no campaign has a control group.
        tried: How often each action stood first of late and was answered, where the store
            explores.
        preferred: Departments that come first where there is no time for a model.
        left_ms: Of the time budget, where that was too little for the model; the rung follows
            from it.
    """

    facts: Mapping[str, object]
    rung: str
    minute_of_day: int
    age: int | None = None
    n_contacts_day: int = 0
    last_offer_ms: int | None = None
    last_missed_ms: int | None = None
    bought: frozenset[ProductId] = frozenset()
    out_of_stock: frozenset[ProductId] = frozenset()
    prices: Mapping[ProductId, str] = field(default_factory=lambda: MappingProxyType({}))
    ignored: Mapping[ProductId, int] = field(default_factory=lambda: MappingProxyType({}))
    ignored_texts: Mapping[CampaignId, int] = field(default_factory=lambda: MappingProxyType({}))
    uses: Mapping[CampaignId, Uses] = field(default_factory=lambda: MappingProxyType({}))
    unit: UnitId | None = None
    tried: Mapping[str, tuple[int, int]] = field(default_factory=lambda: MappingProxyType({}))
    preferred: tuple[str, ...] = ()
    left_ms: int | None = None

    def uses_of(self, campaign: Campaign) -> Uses:
        """Returns how often a campaign was said."""
        return self.uses.get(campaign.id, _NO_USES)


def age_of(member: Visitor | None, audience: str) -> int | None:
    """Returns the years that somebody is known to have.

    HQ says so by a segment such as `age-18`. Of nobody in particular, and of anybody whom others
    look at a screen with, nothing is known.
    """
    if member is None or audience != "private":
        return None
    ages = (each.removeprefix(_AGE_SEGMENT) for each in member.profile.segments)
    return max((int(each) for each in ages if each.isdecimal() and each.isascii()), default=None)


def document_of(known: Known) -> dict[str, Any]:
    """Returns it as plain values, for a record; what says nothing is left out."""
    plain: dict[str, Any] = {
        "facts": dict(known.facts),
        "rung": known.rung,
        "minute_of_day": known.minute_of_day,
        "age": known.age,
        "n_contacts_day": known.n_contacts_day,
        "last_offer_ms": known.last_offer_ms,
        "last_missed_ms": known.last_missed_ms,
        "bought": sorted(known.bought),
        "out_of_stock": sorted(known.out_of_stock),
        "prices": dict(known.prices),
        "ignored": dict(known.ignored),
        "ignored_texts": dict(known.ignored_texts),
        "uses": {campaign: uses.document for campaign, uses in known.uses.items()},
        "unit": known.unit,
        "tried": {action: list(tried) for action, tried in known.tried.items()},
        "preferred": list(known.preferred),
    }
    said = {name: value for name, value in plain.items() if value or name in _ALWAYS}
    if known.left_ms is not None:
        said["left_ms"] = known.left_ms
    return said


_ALWAYS: Final = frozenset({"rung", "minute_of_day"})


def known_from(told: Mapping[str, Any]) -> Known:
    """Returns what a record says was known."""
    return Known(
        facts=told.get("facts", {}),
        rung=told["rung"],
        minute_of_day=told["minute_of_day"],
        age=told.get("age"),
        n_contacts_day=told.get("n_contacts_day", 0),
        last_offer_ms=told.get("last_offer_ms"),
        last_missed_ms=told.get("last_missed_ms"),
        bought=frozenset(_products(told.get("bought", ()))),
        out_of_stock=frozenset(_products(told.get("out_of_stock", ()))),
        prices={ProductId(product): each for product, each in told.get("prices", {}).items()},
        ignored={ProductId(product): n for product, n in told.get("ignored", {}).items()},
        ignored_texts={CampaignId(each): n for each, n in told.get("ignored_texts", {}).items()},
        uses={CampaignId(each): Uses(*uses) for each, uses in told.get("uses", {}).items()},
        unit=told.get("unit"),
        tried={
            action: (shown, answered)
            for action, (shown, answered) in told.get("tried", {}).items()
        },
        preferred=tuple(told.get("preferred", ())),
        left_ms=told.get("left_ms"),
    )


def _products(told: Iterable[str]) -> Iterable[ProductId]:
    return (ProductId(each) for each in told)
