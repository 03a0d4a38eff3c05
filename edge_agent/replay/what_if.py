"""A recorded day decided again under other rules or another model, without a screen being touched.

Each recorded moment is put again to the stages that decided (`again`), one after the other, and
what they answer now is remembered: caps, cool-downs, budgets and what was ignored count what
*would have been* said, not what was (`said`). What HQ reported counts from when it was known, HQ's
campaigns are those that were in force, and everybody is in the control groups that he was in
(`recorded_units`). So a day's own rules, asked again, answer as they did. Whom a complaint or a
missing consent silenced stays silent.

What no record can hold stays as it was: the way that people took through the store, and what
they bought. So a **hit** is a product that somebody would have been told of and then paid for:
foreseen, not caused. A moment that a cap silenced then and would not silence now cannot be
answered, because nobody asked the model: it is counted and left out. A record of an answer to
several people names none of them: what they had been told is taken as the record has it, and the
answer counts in their caps as it was given.
Which of one instant's decisions came first no record says; whoever puts them goes by `order_of`.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import defaultdict
from dataclasses import dataclass, field, replace
from functools import partial
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final

from edge_agent.decide import ladder
from edge_agent.decide.candidates import CANDIDATES_BEYOND
from edge_agent.decide.facts import facts_of, visible_sources
from edge_agent.decide.known import Known, Uses, document_of, known_from
from edge_agent.decide.rule_book import book_of
from edge_agent.decide.under_rules import RANKED
from edge_agent.domain.contacts import Contact
from edge_agent.domain.decisions import STORE_DEFAULT
from edge_agent.domain.ids import CampaignId, ProductId, VisitorId
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
from edge_agent.replay.recorded_units import RecordedUnits
from edge_agent.replay.said import Noted, Said, Sale, Window, known_with

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from datetime import tzinfo

    from edge_agent.domain.decisions import Moment
    from edge_agent.domain.ids import UnitId
    from edge_agent.domain.rules import Rules
    from edge_agent.replay.again import Taken

_MINUTES_PER_HOUR: Final = 60
_STAFF: Final = "staff"
_SILENCE: Final = "silence"


@dataclass(frozen=True, slots=True, kw_only=True)
class Kept:
    """What is kept of a day beside its records.

    Attributes:
        sales: By visitor, oldest first.
        noted: What HQ told of and what several were told at once, by visitor.
        rules: Those that were in force on the day, by version.
    """

    sales: Mapping[str, tuple[Sale, ...]] = field(default_factory=lambda: MappingProxyType({}))
    noted: Mapping[str, tuple[Noted, ...]] = field(default_factory=lambda: MappingProxyType({}))
    rules: Mapping[str, Rules] = field(default_factory=lambda: MappingProxyType({}))


class WhatIf:
    """Puts recorded moments to other rules or another model, in the order of their time.

    Attributes:
        found: What came of the moments that were put so far.
    """

    def __init__(
        self,
        knowledge: Knowledge,
        *,
        zone: tzinfo,
        kept: Kept,
        rules_at: Callable[[dict[str, Any]], Rules] | None = None,
    ) -> None:
        """Begins with nothing said.

        Args:
            knowledge: The other rules and model.
            zone: The store's time zone.
            kept: What is kept of the day beside its records.
            rules_at: The other rules as they would have been at a recorded decision: with HQ's
                campaigns of then. Left out, they are those of `knowledge`.
        """
        self._knowledge = knowledge
        self._zone = zone
        self._kept = kept
        self._rules_at = rules_at or (lambda _told: knowledge.rules)
        self._was = Said(kept.sales, kept.noted)
        self._would = Said(kept.sales, kept.noted)
        self._units = RecordedUnits()
        # Whoever a person was known behind so far: his telephone, a basket.
        self._behind: dict[str, dict[VisitorId, None]] = defaultdict(dict)
        self.found = Comparison()

    def note_unit(self, told: dict[str, Any]) -> None:
        """Takes in which control groups a recorded moment is in: of all, before the first is put.

        Raises:
            ValueError, KeyError, TypeError, AttributeError: It is no whole record.
        """
        own = self._own_rules(told)
        if own is not None:
            self._units.note(told, slot_s=own.slot_s)

    def put(self, decision: str, told: dict[str, Any]) -> None:
        """Puts one recorded moment; staff's are left out, no rule of marketing moves them.

        Raises:
            ValueError, KeyError, TypeError, AttributeError: It is no whole record.
        """
        if told["place"]["channel"] == _STAFF:
            return
        self.found.decisions += 1
        was = recorded_answer(told)
        knowledge = replace(self._knowledge, rules=self._rules_at(told))
        try:
            taken = taken_under(told, knowledge, partial(self._known, told, knowledge.rules))
        except StillUnasked:
            self.found.unknowable += 1
            return
        would = answer_now(taken)
        missed = told.get("rules", {}).get("missed", ())
        self._remember(self._was, told, was, tuple(map(CampaignId, missed)))
        self._remember(self._would, told, would, taken.missed)
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

    def _own_rules(self, told: dict[str, Any]) -> Rules | None:
        """Returns the rules that a decision was taken under; None where they are not kept."""
        named = told.get("rules")
        if named is None:
            return None
        known = (self._kept.rules.get(named["version"]), self._knowledge.rules)
        return next((each for each in known if each and each.digest == named["digest"]), None)

    def _known(self, told: dict[str, Any], rules: Rules, moment: Moment) -> Known:
        """Returns what other rules know of a recorded moment."""
        recorded = told.get("rules", {}).get("known")
        own = None if recorded is None else self._own_rules(told)
        base = self._unruled(told) if recorded is None else known_from(recorded)
        asked = () if own is None else book_of(own).names
        local = local_time(told["now"], self._zone)
        seen = facts_of(
            (each for each in book_of(rules).names if each not in asked),
            visible_sources(
                moment,
                local=local,
                minute=base.minute_of_day % _MINUTES_PER_HOUR,
                departments=self._knowledge.departments,
            ),
            audience=moment.place.audience,
        )
        counted = self._counted(told, base, own, rules)
        unit = self._unit(told, rules, moment)
        return replace(counted, facts={**seen, **base.facts}, unit=unit)

    def _unruled(self, told: dict[str, Any]) -> Known:
        """Returns what is known of a moment that was decided under no rules."""
        now_ms = told["now"]
        local = datetime_from_ms(now_ms).astimezone(self._zone)
        day_ms = local_day_start_ms(local_time(now_ms, self._zone).day, self._zone)
        return Known(
            facts={},
            rung=ladder.STORE if "left_ms" in told else ladder.MODEL,
            minute_of_day=local.hour * _MINUTES_PER_HOUR + local.minute,
            bought=self._bought(told, since_ms=day_ms),
            left_ms=told.get("left_ms"),
        )

    def _counted(
        self, told: dict[str, Any], base: Known, own: Rules | None, rules: Rules
    ) -> Known:
        day = local_time(told["now"], self._zone).day
        window = Window(
            now_ms=told["now"],
            day=day,
            day_ms=local_day_start_ms(day, self._zone),
            shown_until_ms=told["now"] - self._knowledge.policy.screen_show_s * SECOND_MS,
        )
        people, campaigns = self._circle(told), [each.id for each in rules.campaigns]
        would = self._would.counts(people, rules, campaigns, window)
        was = None if own is None else self._was.counts(people, own, campaigns, window)
        found = known_with(base, own, rules, was=was, would=would)
        return _as_to_several(base, found) if _is_to_several(told) else found

    def _unit(self, told: dict[str, Any], rules: Rules, moment: Moment) -> UnitId | None:
        if not any(each.control_share > 0 for each in rules.campaigns):
            return None
        return self._units.unit_at(told, moment, slot_s=rules.slot_s)

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
            for sale in self._kept.sales.get(who, ()):
                if since_ms <= sale.at_ms <= told["now"]:
                    products |= sale.products
        return frozenset(products)

    def _bought_after(self, told: dict[str, Any], answer: Answer) -> frozenset[ProductId]:
        """Returns what of an answer its visitor paid for within the window."""
        sales = self._kept.sales.get(told["visitor"] or "", ())
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
        self, side: Said, told: dict[str, Any], answer: Answer, missed: tuple[CampaignId, ...]
    ) -> None:
        # A screen's default in a campaign's words is no use of it, and nobody's contact.
        if told["moment"] != STORE_DEFAULT:
            side.count_uses(answer.campaigns, local_time(told["now"], self._zone).day)
        if not (answer.says_something or missed) or told["visitor"] is None:
            return
        contact = Contact(
            id=told["decision"],
            at_ms=told["now"],
            channel=told["place"]["channel"],
            products=answer.products,
            campaigns=answer.campaigns,
            missed=missed,
            whose=told["visitor"],
        )
        side.note(contact, _people(told))


def _as_to_several(base: Known, found: Known) -> Known:
    """Returns what is known of several people: of whom, no record says, so their counts stay."""
    told = {name: base.uses.get(name, Uses()) for name in found.uses}
    return replace(
        found,
        n_contacts_day=base.n_contacts_day,
        last_offer_ms=base.last_offer_ms,
        last_missed_ms=base.last_missed_ms,
        uses={
            name: uses._replace(visitor=told[name].visitor, missed=told[name].missed)
            for name, uses in found.uses.items()
        },
    )


def order_of(told: dict[str, Any]) -> tuple[int, int]:
    """Returns what recorded decisions are put in order by; where it is equal, by their ids.

    Of one person's in one instant that came first before which he had been told less; where the
    rules of the day did not count that, nobody knows.
    """
    known = told.get("rules", {}).get("known", {})
    return int(told["now"]), int(known.get("n_contacts_day", 0))


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


def _is_to_several(told: dict[str, Any]) -> bool:
    return bool(told.get("company", {}).get("held"))


def _people(told: dict[str, Any]) -> tuple[VisitorId, ...]:
    named = (told["visitor"], told["member"] or told.get("holder"))
    return tuple(dict.fromkeys(VisitorId(each) for each in named if each is not None))
