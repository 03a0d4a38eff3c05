"""What a decision said and what it would say, side by side, and the sums over a day."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from edge_agent.decide.trace import PROPENSITY_DIGITS

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from edge_agent.domain.ids import CampaignId, ProductId
    from edge_agent.replay.again import Taken

_SILENCE: Final = "silence"


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What is said at a moment.

    Attributes:
        products: Best first; empty is silence, or a text alone.
        campaigns: Whose words are among it.
        value: What it is expected to bring: each item's probability times its value, summed.
        gate: What silences it, where something does.
        level: How it was found.
    """

    products: tuple[ProductId, ...]
    campaigns: tuple[CampaignId, ...]
    value: float
    gate: str
    level: str

    @property
    def says_something(self) -> bool:
        """Whether it is a contact."""
        return bool(self.products or self.campaigns)


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """One decision that comes out in another way.

    Attributes:
        why: In words.
    """

    decision: str
    moment: str
    where: str
    was: Answer
    would: Answer
    why: str


@dataclass(slots=True, kw_only=True)
class Side:
    """Sums over a day, of what was or of what would be.

    Attributes:
        contacts: Decisions that say something to somebody.
        offers: Those among them in a campaign's words, by campaign.
        silences: Those that say nothing, by what silences them.
        value: Expected, of the contacts.
        told: Distinct pairs of a visit and a product.
        hits: Those of them that were paid for afterwards.
    """

    contacts: int = 0
    offers: Counter[str] = field(default_factory=Counter)
    silences: Counter[str] = field(default_factory=Counter)
    value: float = 0.0
    told: set[tuple[str, ProductId]] = field(default_factory=set)
    hits: set[tuple[str, ProductId]] = field(default_factory=set)


@dataclass(slots=True, kw_only=True)
class Comparison:
    """A day as it was, and as it would have been.

    Attributes:
        decisions: How many concern somebody or a screen's default.
        unknowable: Those that were silent and would not be: nobody asked the model.
        whys: How many differ for each reason.
    """

    was: Side = field(default_factory=Side)
    would: Side = field(default_factory=Side)
    decisions: int = 0
    unknowable: int = 0
    changes: list[Change] = field(default_factory=list)
    whys: Counter[str] = field(default_factory=Counter)


def recorded_answer(told: dict[str, Any]) -> Answer:
    """Returns what a record says was answered."""
    factors = {each[0]: each[1] * each[2] for each in reversed(told["candidates"])}
    rules = told.get("rules", {})
    notice = rules.get("notice")
    # A record has its offers in the order of their products: an answer's is that of its places.
    offers = rules.get("offers", {})
    said = [offers[product] for product in told["chosen"] if product in offers]
    campaigns = dict.fromkeys([*said, *([notice] if notice else [])])
    return Answer(
        products=tuple(told["chosen"]),
        campaigns=tuple(campaigns),
        value=sum(factors.get(product, 0.0) for product in told["chosen"]),
        gate=_gate(told["level"], (each[1] for each in told["ruled_out"])),
        level=told["level"],
    )


def answer_now(taken: Taken) -> Answer:
    """Returns what is answered when a decision is taken again."""
    campaigns = dict.fromkeys(each.campaign.id for each in taken.chosen if each.campaign)
    if taken.notice is not None:
        campaigns[taken.notice] = None
    return Answer(
        products=tuple(each.scored.product for each in taken.chosen),
        campaigns=tuple(campaigns),
        # As a record has it: what is rounded alike is equal where nothing differs.
        value=sum(
            round(each.scored.propensity, PROPENSITY_DIGITS) * each.value for each in taken.chosen
        ),
        gate=_gate(taken.level, (each.gate for each in taken.refused)),
        level=taken.level,
    )


def _gate(level: str, gates: Iterable[str]) -> str:
    return next(iter(gates), "") if level == _SILENCE else ""


def add(side: Side, told: dict[str, Any], answer: Answer, bought: frozenset[ProductId]) -> None:
    """Adds an answer to a side's sums; a screen's default is nobody's and counts nowhere.

    Args:
        side: The sums.
        told: The decision's record.
        answer: What was or would be said.
        bought: What of it was paid for afterwards.
    """
    if told["visitor"] is None:
        return
    if not answer.says_something:
        side.silences[answer.gate or "nothing to say"] += 1
        return
    side.contacts += 1
    side.offers.update(answer.campaigns)
    side.value += answer.value
    visit = told["visit"] or told["visitor"]
    side.told.update((visit, product) for product in answer.products)
    side.hits.update((visit, product) for product in bought)


def why_of(was: Answer, would: Answer, taken: Taken) -> str:
    """Returns the reason of a difference, the strongest first: a gate, a campaign, the order."""
    if not would.says_something:
        return f"silent: {would.gate or 'nothing is left to say'}"
    if not was.says_something:
        return f"no longer silent: was {was.gate or 'nothing to say'}"
    gone = [product for product in was.products if product not in would.products]
    refused = {each.product: each.gate for each in taken.refused}
    gate = next((refused[product] for product in gone if product in refused), None)
    if gate is not None:
        return f"ruled out: {gate}"
    fresh = [each for each in would.campaigns if each not in was.campaigns]
    if fresh:
        return f"campaign {fresh[0]}"
    ended = [each for each in was.campaigns if each not in would.campaigns]
    return f"without campaign {ended[0]}" if ended else "ranked in another order"


def where_of(place: Mapping[str, Any]) -> str:
    """Returns a recorded place for people."""
    named = place["screen"] or place["register"] or place["zone"]
    return f"{place['channel']} {named}" if named else str(place["channel"])
