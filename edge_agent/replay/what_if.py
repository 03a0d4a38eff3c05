"""A recorded day decided again under other rules or another model, without a screen being touched.

Each recorded moment is put again to the stages that decided (`again`), one after the other, and
what they answer now is remembered: caps, cool-downs, budgets and what was ignored count what
*would have been* said, not what was. Whom a complaint or a missing consent silenced stays silent.

What no record can hold stays as it was: the way that people took through the store, and what
they bought. So a **hit** is a product that somebody would have been told of and then paid for:
foreseen, not caused. A moment that a cap silenced then and would not silence now cannot be
answered, because nobody asked the model: it is counted and left out. A record of an answer to
several people names none of them: what they had been told is taken as the record has it, and the
answer counts in nobody's caps.
Decisions of one instant are put in the order of their ids, which may not be the one they came in.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter, defaultdict
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from edge_agent.decide import ladder
from edge_agent.decide.candidates import CANDIDATES_BEYOND
from edge_agent.decide.control import unit_of
from edge_agent.decide.facts import facts_of, visible_sources
from edge_agent.decide.known import Known, Uses, document_of, known_from
from edge_agent.decide.pressure import (
    ignored_often,
    last_gated_ms,
    last_missed_ms,
    texts_ignored_often,
)
from edge_agent.decide.rule_book import book_of
from edge_agent.decide.under_rules import RANKED
from edge_agent.domain.contacts import Contact
from edge_agent.domain.decisions import STORE_DEFAULT
from edge_agent.domain.ids import ProductId, VisitorId
from edge_agent.domain.time import (
    SECOND_MS,
    datetime_from_ms,
    local_day_start_ms,
    local_time,
)
from edge_agent.replay.again import Knowledge, moment_of, taken_again
from edge_agent.replay.comparison import (
    Answer,
    Change,
    Comparison,
    add,
    answer_now,
    recorded_answer,
    where_of,
    why_of,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from datetime import tzinfo

    from edge_agent.domain.decisions import Moment
    from edge_agent.domain.ids import CampaignId, UnitId
    from edge_agent.replay.again import Taken

# Arms of a day that was not so: drawn by a key of its own, so they are nobody's real ones.
_ARMS_KEY: Final = b"what-if"
_MINUTES_PER_HOUR: Final = 60
_STAFF: Final = "staff"
_SILENCE: Final = "silence"


@dataclass(frozen=True, slots=True, kw_only=True)
class Sale:
    """What somebody paid for: when, and which products."""

    at_ms: int
    products: frozenset[ProductId]


class WhatIf:
    """Puts recorded moments to other rules or another model, in the order of their time.

    Args:
        knowledge: The other rules and model.
        zone: The store's time zone.
        sales: By visitor, oldest first.

    Attributes:
        found: What came of the moments that were put so far.
    """

    def __init__(
        self, knowledge: Knowledge, *, zone: tzinfo, sales: Mapping[str, tuple[Sale, ...]]
    ) -> None:
        self._knowledge = knowledge
        self._zone = zone
        self._sales = sales
        self._said: dict[str, list[Contact]] = defaultdict(list)
        self._uses: Counter[str] = Counter()
        self._uses_today: Counter[tuple[str, str]] = Counter()
        self._units: dict[str, UnitId] = {}
        # Whoever a person was known behind so far: his telephone, a basket.
        self._behind: dict[str, dict[VisitorId, None]] = defaultdict(dict)
        self.found = Comparison()

    def put(self, decision: str, told: dict[str, Any]) -> None:
        """Puts one recorded moment; staff's are left out, no rule of marketing moves them.

        Raises:
            ValueError, KeyError, TypeError, AttributeError: It is no whole record.
        """
        if told["place"]["channel"] == _STAFF:
            return
        self.found.decisions += 1
        was = recorded_answer(told)
        try:
            taken = self._taken(told)
        except StillUnasked:
            self.found.unknowable += 1
            return
        would = answer_now(taken)
        self._remember(told, would, taken.missed)
        add(self.found.was, told, was, self._bought_after(told, was))
        add(self.found.would, told, would, self._bought_after(told, would))
        if (was.products, was.campaigns) != (would.products, would.campaigns):
            why = why_of(was, would, taken)
            self.found.whys[why] += 1
            self.found.changes.append(
                Change(
                    decision=decision,
                    moment=told["moment"],
                    where=where_of(told["place"]),
                    was=was,
                    would=would,
                    why=why,
                )
            )

    def _taken(self, told: dict[str, Any]) -> Taken:
        return taken_under(told, self._knowledge, partial(self._known, told))

    def _known(self, told: dict[str, Any], moment: Moment) -> Known:
        now_ms = told["now"]
        was = told.get("rules", {}).get("known")
        base = (
            Known(facts={}, rung=ladder.MODEL, minute_of_day=self._minute(now_ms))
            if was is None
            else known_from(was)
        )
        contacts, is_to_several = self._contacts(told), _is_to_several(told)
        rules = self._knowledge.rules
        local = local_time(now_ms, self._zone)
        day_ms = local_day_start_ms(local.day, self._zone)
        sources = visible_sources(
            moment,
            local=local,
            minute=self._minute(now_ms) % _MINUTES_PER_HOUR,
            departments=self._knowledge.departments,
        )
        seen = facts_of(book_of(rules).names, sources, audience=moment.place.audience)
        until_ms = now_ms - self._knowledge.policy.screen_show_s * SECOND_MS
        after = rules.caps.ignored_after
        return replace(
            base,
            facts={**base.facts, **seen},
            n_contacts_day=(
                base.n_contacts_day if is_to_several else _n_said(contacts, since_ms=day_ms)
            ),
            last_offer_ms=base.last_offer_ms if is_to_several else last_gated_ms(contacts, rules),
            last_missed_ms=(
                base.last_missed_ms if is_to_several else last_missed_ms(contacts, rules)
            ),
            bought=base.bought | self._bought(told, since_ms=day_ms),
            ignored=ignored_often(contacts, after=after, until_ms=until_ms) if after else {},
            ignored_texts=(
                texts_ignored_often(contacts, rules, until_ms=until_ms) if after else {}
            ),
            uses=self._uses_by(local.day, base if is_to_several else contacts),
            unit=self._unit(told, moment),
        )

    def _minute(self, now_ms: int) -> int:
        local = datetime_from_ms(now_ms).astimezone(self._zone)
        return local.hour * _MINUTES_PER_HOUR + local.minute

    def _uses_by(self, day: str, told: Known | tuple[Contact, ...]) -> dict[CampaignId, Uses]:
        if isinstance(told, Known):
            to_him = Counter({name: uses.visitor for name, uses in told.uses.items()})
            missed = Counter({name: uses.missed for name, uses in told.uses.items()})
        else:
            to_him = Counter(name for each in told for name in each.campaigns)
            missed = Counter(name for each in told for name in each.missed)
        return {
            each.id: Uses(
                total=self._uses[each.id],
                today=self._uses_today[each.id, day],
                visitor=to_him[each.id],
                missed=missed[each.id],
            )
            for each in self._knowledge.rules.campaigns
        }

    def _unit(self, told: dict[str, Any], moment: Moment) -> UnitId | None:
        rules = self._knowledge.rules
        if not any(each.control_share > 0 for each in rules.campaigns):
            return None
        unit = unit_of(
            moment,
            held=self._units.get(told["visitor"]),
            now_ms=told["now"],
            slot_s=rules.slot_s,
            key=_ARMS_KEY,
        )
        if told["visitor"] is not None:
            self._units[told["visitor"]] = unit
        return unit

    def _contacts(self, told: dict[str, Any]) -> tuple[Contact, ...]:
        """Returns what would have been said to somebody, with what he has bought of it by now."""
        people = self._circle(told)
        found = {each.id: each for who in people for each in self._said[who]}
        sales = [sale for who in people for sale in self._sales.get(who, ())]
        return tuple(
            _with_purchases(each, sales, until_ms=told["now"])
            for each in sorted(found.values(), key=lambda each: each.order)
        )

    def _circle(self, told: dict[str, Any]) -> tuple[VisitorId, ...]:
        """Returns all that a moment's person is known by, as far as the records have shown."""
        named, member = _people(told), told["member"] or told.get("holder")
        if member is None:
            return named
        self._behind[member].update(dict.fromkeys(named))
        return tuple(self._behind[member])

    def _bought(self, told: dict[str, Any], *, since_ms: int) -> frozenset[ProductId]:
        products: set[ProductId] = set()
        for who in _people(told):
            for sale in self._sales.get(who, ()):
                if since_ms <= sale.at_ms <= told["now"]:
                    products |= sale.products
        return frozenset(products)

    def _bought_after(self, told: dict[str, Any], answer: Answer) -> frozenset[ProductId]:
        """Returns what of an answer its visitor paid for within the window."""
        sales = self._sales.get(told["visitor"] or "", ())
        first = bisect_left(sales, told["now"], key=lambda sale: sale.at_ms)
        until_ms = told["now"] + self._knowledge.policy.bought_within_s * SECOND_MS
        paid = {
            product
            for sale in sales[first:]
            if sale.at_ms <= until_ms
            for product in sale.products
        }
        return frozenset(answer.products) & paid

    def _remember(
        self, told: dict[str, Any], would: Answer, missed: tuple[CampaignId, ...]
    ) -> None:
        day = local_time(told["now"], self._zone).day
        # A screen's default in a campaign's words is no use of it, and nobody's contact.
        for campaign in () if told["moment"] == STORE_DEFAULT else would.campaigns:
            self._uses[campaign] += 1
            self._uses_today[campaign, day] += 1
        if not (would.says_something or missed) or told["visitor"] is None:
            return
        contact = Contact(
            id=told["decision"],
            at_ms=told["now"],
            channel=told["place"]["channel"],
            products=would.products,
            campaigns=would.campaigns,
            missed=missed,
        )
        for who in _people(told):
            self._said[who].append(contact)


def taken_under(
    told: dict[str, Any], knowledge: Knowledge, known_at: Callable[[Moment], Known]
) -> Taken:
    """Returns the decision on a recorded moment under other rules, or by another model.

    Args:
        told: The record, decoded.
        knowledge: The other rules and model.
        known_at: What those rules know of the moment; not asked where the law silences it.

    Raises:
        StillUnasked: It was silent, and would not be.
        ValueError, KeyError, TypeError, AttributeError: It is no whole record.
    """
    if knowledge.rules.is_neutral:
        plain = {name: value for name, value in told.items() if name != "rules"}
        return _asked(plain, knowledge)
    moment = moment_of(told, knowledge)
    limit = told["rules"]["limit"] if "limit" in told.get("rules", {}) else moment.limit
    known = None
    if not _is_silenced_by_law(told):
        known = document_of(known_at(moment))
    request = told["request"]
    if request is not None:
        most = max(RANKED, limit + CANDIDATES_BEYOND + len(request["basket"]))
        request = {**request, "limit": max(request["limit"], most)}
    under = {"limit": limit, "known": known}
    return _asked({**told, "request": request, "rules": under}, knowledge)


class StillUnasked(ValueError):
    """A moment that was silent and would not be: what the model said of it was never asked."""


def _asked(told: dict[str, Any], knowledge: Knowledge) -> Taken:
    if told["request"] is None and told.get("rules", {}).get("known") is None:
        return taken_again(told, knowledge)
    try:
        return taken_again(told, knowledge)
    except ValueError as error:
        if told["request"] is None:
            raise StillUnasked from error
        raise


def _is_silenced_by_law(told: dict[str, Any]) -> bool:
    """Returns whether something other than rules silenced it: complaint, refusal, the hard cap."""
    return told["level"] == _SILENCE and told.get("rules", {}).get("known") is None


def _n_said(contacts: Iterable[Contact], *, since_ms: int) -> int:
    return sum(each.at_ms >= since_ms and each.says_something for each in contacts)


def _is_to_several(told: dict[str, Any]) -> bool:
    return bool(told.get("company", {}).get("held"))


def _people(told: dict[str, Any]) -> tuple[VisitorId, ...]:
    named = (told["visitor"], told["member"] or told.get("holder"))
    return tuple(dict.fromkeys(VisitorId(each) for each in named if each is not None))


def _with_purchases(contact: Contact, sales: Iterable[Sale], *, until_ms: int) -> Contact:
    bought = {
        ("bought", product)
        for sale in sales
        if contact.at_ms <= sale.at_ms <= until_ms
        for product in sale.products.intersection(contact.products)
    }
    return replace(contact, outcomes=contact.outcomes | bought) if bought else contact
