"""What was said to whom on one side of a comparison, and what the rules count of it.

There are two sides: the day as its records tell it, and the day as it would have been. What a
record says was known rests on more than the records (who is one person, what came first within
an instant, what was sent by e-mail), so it leads: what the two sides count differently is added
to it, and nothing else. So a day's own rules, asked again, know exactly what they knew.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, TypeVar

from edge_agent.decide.known import Known, Uses
from edge_agent.decide.pressure import (
    ignored_often,
    last_gated_ms,
    last_missed_ms,
    texts_ignored_often,
)
from edge_agent.domain.contacts import Contact

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from edge_agent.domain.ids import CampaignId, ProductId, VisitorId
    from edge_agent.domain.rules import Rules

# A product's or a campaign's id.
_Name = TypeVar("_Name", bound=str)


@dataclass(frozen=True, slots=True, kw_only=True)
class Sale:
    """What somebody paid for: when, and which products."""

    at_ms: int
    products: frozenset[ProductId]


@dataclass(frozen=True, slots=True, kw_only=True)
class Noted:
    """A contact that no record tells of: HQ did, or it was with several people at once.

    Attributes:
        known_at_ms: From when on the store knew of it.
    """

    contact: Contact
    known_at_ms: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Window:
    """What is looked back from: the moment, and how far."""

    now_ms: int
    day: str
    day_ms: int
    shown_until_ms: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Counts:
    """What is counted of somebody's contacts at a moment.

    Attributes:
        ignored: Products that were named and led to nothing, and how often, once at least.
        ignored_texts: The same of campaigns that are a text.
        uses: Of the campaigns that are asked about.
    """

    n_contacts_day: int
    last_offer_ms: int | None
    last_missed_ms: int | None
    ignored: Mapping[ProductId, int]
    ignored_texts: Mapping[CampaignId, int]
    uses: Mapping[CampaignId, Uses]


class Said:
    """Contacts by visitor and uses by campaign, as far as the moments were put."""

    def __init__(
        self,
        sales: Mapping[str, tuple[Sale, ...]],
        noted: Mapping[str, tuple[Noted, ...]],
    ) -> None:
        self._sales = sales
        self._noted = noted
        self._said: dict[str, list[Contact]] = defaultdict(list)
        self._uses: Counter[str] = Counter()
        self._uses_today: Counter[tuple[str, str]] = Counter()

    def count_uses(self, campaigns: Iterable[CampaignId], day: str) -> None:
        """Counts that campaigns were said."""
        for campaign in campaigns:
            self._uses[campaign] += 1
            self._uses_today[campaign, day] += 1

    def note(self, contact: Contact, people: Iterable[VisitorId]) -> None:
        """Takes in what was said, or missed, to somebody and those who he is."""
        for who in people:
            self._said[who].append(contact)

    def counts(
        self,
        people: tuple[VisitorId, ...],
        rules: Rules,
        campaigns: Iterable[CampaignId],
        window: Window,
    ) -> Counts:
        """Returns what is counted of those who somebody is.

        Args:
            people: By all names that he is known by.
            rules: Which campaigns are offers, and which texts.
            campaigns: Whose uses are asked about.
            window: The moment.
        """
        contacts = self._contacts(people, now_ms=window.now_ms)
        # Who of several people left it aside, nobody knows.
        alone = [each for each in contacts if not each.is_shared]
        until_ms = window.shown_until_ms
        looks_back = rules.caps.ignored_after > 0
        return Counts(
            n_contacts_day=sum(
                each.at_ms >= window.day_ms and each.says_something for each in contacts
            ),
            last_offer_ms=last_gated_ms(contacts, rules),
            last_missed_ms=last_missed_ms(contacts, rules),
            ignored=ignored_often(alone, after=1, until_ms=until_ms) if looks_back else {},
            ignored_texts=(
                texts_ignored_often(alone, rules, after=1, until_ms=until_ms) if looks_back else {}
            ),
            uses=self._uses_of(campaigns, contacts, window.day),
        )

    def _uses_of(
        self, campaigns: Iterable[CampaignId], contacts: Iterable[Contact], day: str
    ) -> dict[CampaignId, Uses]:
        to_him = Counter(name for each in contacts for name in each.campaigns)
        missed = Counter(name for each in contacts for name in each.missed)
        return {
            name: Uses(
                total=self._uses[name],
                today=self._uses_today[name, day],
                visitor=to_him[name],
                missed=missed[name],
            )
            for name in campaigns
        }

    def _contacts(self, people: tuple[VisitorId, ...], *, now_ms: int) -> list[Contact]:
        """Returns what was said to somebody, with what he has bought of it by now."""
        found = {
            each.contact.id: each.contact
            for who in people
            for each in self._noted.get(who, ())
            if each.known_at_ms <= now_ms
        }
        sales = [sale for who in people for sale in self._sales.get(who, ())]
        for who in people:
            for each in self._said.get(who, ()):
                found[each.id] = _with_purchases(each, sales, until_ms=now_ms)
        return sorted(found.values(), key=lambda each: each.order)


def known_with(
    known: Known, own: Rules | None, rules: Rules, *, was: Counts | None, would: Counts
) -> Known:
    """Returns what other rules know of a moment, from what its own rules knew.

    Args:
        known: What its record says was known.
        own: The rules that it was decided under; None where it was under none, or they are not
            kept. What they did not ask of, the record does not say.
        rules: The other rules.
        was: What is counted of the day as it was, under its own rules; None without them.
        would: What is counted of the day as it would have been.
    """
    caps = rules.caps
    if own is None or was is None:
        after = caps.ignored_after
        return replace(
            known,
            n_contacts_day=would.n_contacts_day,
            last_offer_ms=would.last_offer_ms,
            last_missed_ms=would.last_missed_ms,
            ignored=_often(would.ignored, after=after),
            ignored_texts=_often(would.ignored_texts, after=after),
            uses=would.uses,
        )
    n_day = would.n_contacts_day
    if own.caps.per_visitor_day is not None:
        n_day = max(known.n_contacts_day + n_day - was.n_contacts_day, 0)
    is_near = 0 < caps.cooldown_s <= own.caps.cooldown_s
    return replace(
        known,
        n_contacts_day=n_day,
        last_offer_ms=_last_ms(
            known.last_offer_ms, was.last_offer_ms, would.last_offer_ms, is_told=is_near
        ),
        last_missed_ms=_last_ms(
            known.last_missed_ms, was.last_missed_ms, would.last_missed_ms, is_told=is_near
        ),
        ignored=_ignored(known.ignored, was.ignored, would.ignored, own, rules),
        ignored_texts=_ignored(
            known.ignored_texts, was.ignored_texts, would.ignored_texts, own, rules
        ),
        uses={
            name: _uses(known.uses.get(name), was.uses[name], uses)
            for name, uses in would.uses.items()
        },
    )


def _last_ms(
    known: int | None, was: int | None, would: int | None, *, is_told: bool
) -> int | None:
    """Returns the last time of something; `is_told`: what is longer ago does not matter."""
    if is_told and was == would:
        return known
    is_more = known is not None and (was is None or known > was)
    found = (would, known if is_more else None)
    return max((each for each in found if each is not None), default=None)


def _ignored(
    known: Mapping[_Name, int],
    was: Mapping[_Name, int],
    would: Mapping[_Name, int],
    own: Rules,
    rules: Rules,
) -> dict[_Name, int]:
    after, told_from = rules.caps.ignored_after, own.caps.ignored_after
    if told_from <= 0:
        return _often(would, after=after)
    found: dict[_Name, int] = {}
    for name in sorted({*known, *would}):
        n = would.get(name, 0)
        if n == was.get(name, 0) and (name in known or after >= told_from):
            # It is in the record if it was often enough for its own rules.
            n = known.get(name, 0)
        found[name] = n
    return _often(found, after=after)


def _often(counts: Mapping[_Name, int], *, after: int) -> dict[_Name, int]:
    return {name: n for name, n in counts.items() if 0 < after <= n}


def _uses(known: Uses | None, was: Uses, would: Uses) -> Uses:
    if known is None:
        return would
    told = zip(known, was, would, strict=True)
    return Uses(*(max(one + after - before, 0) for one, before, after in told))


def _with_purchases(contact: Contact, sales: Iterable[Sale], *, until_ms: int) -> Contact:
    bought = {
        ("bought", product)
        for sale in sales
        if contact.at_ms <= sale.at_ms <= until_ms
        for product in sale.products.intersection(contact.products)
    }
    return replace(contact, outcomes=contact.outcomes | bought) if bought else contact
