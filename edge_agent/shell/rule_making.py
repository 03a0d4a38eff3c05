"""From the form of a `policy.toml` to its meaning: conditions compiled, times as instants.

Everything that is wrong is collected with its place; nothing is taken in part.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Container, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta, tzinfo
from decimal import Decimal
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final

from edge_agent.decide.condition_syntax import BadCondition
from edge_agent.decide.conditions import Checked, checked, suggested
from edge_agent.domain.fact_names import FACT_NAMES
from edge_agent.domain.ids import CampaignId, ProductId, ScreenId, TeamId
from edge_agent.domain.rules import (
    Campaign,
    Caps,
    Exploration,
    Help,
    Rule,
    Rules,
    Sharing,
    Team,
)
from edge_agent.domain.store import AUDIENCES
from edge_agent.domain.time import ms_from_datetime
from edge_agent.shell.conditions import CelCondition, Facts, compiled_as
from edge_agent.wire.policy_file import (
    CampaignSection,
    CapsSection,
    PolicyFile,
    RuleSection,
    quiet_minutes,
)

if TYPE_CHECKING:
    from edge_agent.config import Config

Place = tuple[str | int, ...]
_DAY: Final = timedelta(days=1)


@dataclass(frozen=True, slots=True)
class Problem:
    """What is wrong with a file.

    Attributes:
        place: Keys from its top.
        said: The text there of which a part is wrong; empty where the whole is meant.
        at: Where in that text, from 0.
    """

    place: Place
    message: str
    said: str = ""
    at: int = 0


@dataclass(slots=True)
class Maker:
    """Makes rules of one file, for one store or for none in particular.

    Attributes:
        config: The store's configuration; without it, what only a store knows goes unchecked.
        is_in_force: What the store no longer has is left alone.
    """

    config: Config | None = None
    is_in_force: bool = False
    problems: list[Problem] = field(default_factory=list)
    _facts: Facts = field(default_factory=Facts)

    def rules(self, file: PolicyFile) -> Rules:
        """Returns what a file means; with `problems`, it means nothing."""
        caps, exploring = file.caps, file.exploration
        self._check_teams(file)
        return Rules(
            version=file.version,
            digest=digest_of(file),
            campaigns=tuple(
                self._campaign(name, each, file) for name, each in sorted(file.campaigns.items())
            ),
            rules=tuple(self._rule(name, each, file) for name, each in sorted(file.rules.items())),
            caps=_caps(caps),
            exploration=Exploration(
                share=exploring.share, draws=exploring.draws, window_days=exploring.window_days
            ),
            help=Help(
                lifts_and_returns=file.help.lifts_and_returns, queue_length=file.help.queue_length
            ),
            teams=_teams(file),
            sharing=_sharing(file),
            sensitive_departments=frozenset(file.sensitive.departments),
            margins=MappingProxyType(dict(sorted(file.margins.items()))),
            audiences=self._audiences(file),
            slot_s=file.control.slot_s,
            control_gets=file.control.gets,
            hurry_ms=(file.hurry.model_ms, file.hurry.rules_ms),
        )

    def judge_conditions(self, document: Mapping[str, Any], *, without: Container[Place]) -> None:
        """Notes what is wrong with the conditions of a file whose form is wrong.

        Args:
            document: The file, decoded.
            without: Where the form is wrong.
        """
        for section in ("rules", "campaigns"):
            named = document.get(section)
            for name, each in named.items() if isinstance(named, dict) else ():
                text = each.get("when") if isinstance(each, dict) else None
                place = (section, name, "when")
                if isinstance(text, str) and place not in without:
                    self._condition(text, place)

    @property
    def _judge(self) -> Config | None:
        """The store that the file must fit."""
        return None if self.is_in_force else self.config

    def _wrong(self, message: str, *place: str | int, said: str = "", at: int = 0) -> None:
        self.problems.append(Problem(place, message, said, at))

    def _campaign(self, name: str, each: CampaignSection, file: PolicyFile) -> Campaign:
        top = ("campaigns", name)
        starts_at_ms = self._instant(each.from_, (*top, "from"))
        ends_at_ms = self._instant(each.until, (*top, "until"), is_end=True)
        if ends_at_ms <= starts_at_ms:
            self._wrong("is not after from; nobody would ever see it", *top, "until")
        self._check_offer(top, each)
        share = file.control.share if each.control_share is None else each.control_share
        return Campaign(
            id=CampaignId(name),
            kind=each.kind,
            channels=frozenset(each.channels),
            starts_at_ms=starts_at_ms,
            ends_at_ms=ends_at_ms,
            products=frozenset(ProductId(product) for product in each.products),
            text=each.text,
            value=each.value,
            lever=each.lever,
            when=self._condition(each.when, (*top, "when")),
            budget=each.budget,
            per_day=each.per_day,
            per_visitor=each.per_visitor,
            minimum_age=each.minimum_age,
            redeem_within_s=each.redeem_within_s,
            control_share=share,
        )

    def _check_offer(self, top: Place, each: CampaignSection) -> None:
        if each.kind == "offer":
            if not each.products:
                self._wrong("an offer is about products; name them", *top, "products")
            return
        if each.products:
            self._wrong(f"{each.kind} is about no products; take them out", *top, "products")
        if each.redeem_within_s is not None:
            what = f"{each.kind} cannot be redeemed, only an offer; take it out"
            self._wrong(what, *top, "redeem_within_s")

    def _rule(self, name: str, each: RuleSection, file: PolicyFile) -> Rule:
        top = ("rules", name)
        if each.forbid and each.weight is not None:
            self._wrong("what is forbidden has no weight; take one of both out", *top, "weight")
        if not each.forbid and each.weight is None:
            self._wrong("changes nothing; give it a weight, or forbid = true", *top)
        for campaign in each.campaigns:
            if campaign not in file.campaigns:
                what = f"there is no campaign {campaign}; {suggested(campaign, file.campaigns)}"
                self._wrong(what, *top, "campaigns")
        self._check_prices(top, each)
        return Rule(
            id=name,
            when=self._condition(each.when, (*top, "when")),
            products=frozenset(ProductId(product) for product in each.products),
            departments=frozenset(each.departments),
            brands=frozenset(each.brands),
            price_from=_price(each.price_from),
            price_below=_price(each.price_below),
            campaigns=frozenset(CampaignId(campaign) for campaign in each.campaigns),
            weight=1.0 if each.weight is None else each.weight,
            is_forbidden=each.forbid,
            reason=each.reason,
        )

    def _check_prices(self, top: Place, each: RuleSection) -> None:
        least, end = each.price_from, each.price_below
        if least is None and end is None:
            return
        if end is not None and end <= (least or 0.0):
            what = f"is not above {'0' if least is None else 'price_from'}; no price ever is there"
            self._wrong(what, *top, "price_below")
        if each.campaigns:
            what = "a campaign has no price, its products have; name those instead"
            self._wrong(what, *top, "campaigns")

    def _condition(self, text: str | None, place: Place) -> CelCondition | None:
        if text is None:
            return None
        try:
            known = checked(text)
            self._check_texts(known, text, place)
            return compiled_as(known, text, self._facts)
        except BadCondition as error:
            self._wrong(error.what, *place, said=text, at=error.at)
            return None

    def _check_texts(self, known: Checked, text: str, place: Place) -> None:
        for each in known.compared:
            there = self._values_of(each.name)
            if there is not None and each.text not in there:
                what = f"{each.name} is never {each.text!r}; {suggested(each.text, there)}"
                self._wrong(what, *place, said=text, at=each.at)

    def _values_of(self, name: str) -> Iterable[str] | None:
        """Returns all that a fact may be; None where that is not known."""
        if FACT_NAMES[name].values:
            return FACT_NAMES[name].values
        config = self._judge
        if config is None:
            return None
        places: dict[str, Mapping[str, Any]] = {
            "zone": config.zones,
            "screen": config.screens,
            "register": config.registers,
        }
        return places.get(name)

    def _audiences(self, file: PolicyFile) -> Mapping[ScreenId, str]:
        found: dict[ScreenId, str] = {}
        for name, each in sorted(file.screens.items()):
            there = None if self._judge is None else self._judge.screens
            if there is not None and name not in there:
                what = f"there is no such screen; {suggested(name, there)}"
                self._wrong(what, "screens", name)
                continue
            if each.audience is None:
                continue
            said = each.audience if there is None else there[name].audience
            if AUDIENCES.index(each.audience) > AUDIENCES.index(said):
                what = (
                    f"may not be {each.audience}: the agent's own file says {said}, and a policy"
                    " only tightens; change it there"
                )
                self._wrong(what, "screens", name, "audience")
            found[ScreenId(name)] = each.audience
        return MappingProxyType(found)

    def _check_teams(self, file: PolicyFile) -> None:
        for name, each in file.teams.items():
            place = ("teams", name, "escalate_to")
            if each.escalate_to is None:
                continue
            if each.escalate_to not in file.teams:
                there = suggested(each.escalate_to, file.teams)
                self._wrong(f"there is no team {each.escalate_to}; {there}", *place)
            elif _comes_back(name, file):
                self._wrong("a call would come back to this team; let the last one end it", *place)
            elif not each.acknowledge_within_s:
                self._wrong("is never called; set acknowledge_within_s", *place)

    def _instant(self, stated: date, place: Place, *, is_end: bool = False) -> int:
        zone: tzinfo = UTC if self.config is None else self.config.zone_info
        if not isinstance(stated, datetime):
            # A day counts as a whole.
            day = stated + _DAY if is_end else stated
            return _ms(datetime(day.year, day.month, day.day, tzinfo=zone))
        if stated.tzinfo is not None:
            return _ms(stated)
        # In autumn an hour comes twice: from its first coming, until its last.
        local = stated.replace(tzinfo=zone, fold=int(is_end))
        if local.astimezone(UTC).astimezone(zone).replace(tzinfo=None, fold=0) != stated:
            what = f"the store's clock never shows {stated}: it is put forward then; take an hour"
            self._wrong(f"{what} later", *place)
        return _ms(local)


def digest_of(file: PolicyFile) -> str:
    """Returns the SHA-256 of what a file says, however it is written down.

    Only what it says itself counts: a default that changes with the agent is not its content.
    """
    said = file.model_dump(mode="json", by_alias=True, exclude_unset=True)
    text = json.dumps(_sorted(said), sort_keys=True, ensure_ascii=False, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()


def _sorted(value: Any) -> Any:
    # Every list of the form is a set.
    if isinstance(value, dict):
        return {key: _sorted(each) for key, each in value.items()}
    return sorted(value) if isinstance(value, list) else value


def _price(stated: float | None) -> Decimal | None:
    # As it is written: 1.99 and no binary fraction beside it.
    return None if stated is None else Decimal(repr(stated))


def _caps(caps: CapsSection) -> Caps:
    ranges = (quiet_minutes(each) for each in caps.quiet_hours)
    return Caps(
        per_visitor_day=caps.per_visitor_day,
        cooldown_s=caps.cooldown_s,
        ignored_after=caps.ignored_after,
        ignored_lever=caps.ignored_lever,
        quiet_hours=tuple(sorted(each for each in ranges if each is not None)),
    )


def _teams(file: PolicyFile) -> Mapping[TeamId, Team]:
    return MappingProxyType(
        {
            TeamId(name): Team(
                id=TeamId(name),
                acknowledge_within_s=each.acknowledge_within_s,
                escalate_to=None if each.escalate_to is None else TeamId(each.escalate_to),
                most_open=each.most_open,
                topics=frozenset(each.topics),
            )
            for name, each in sorted(file.teams.items())
        }
    )


def _sharing(file: PolicyFile) -> Mapping[ScreenId, Sharing]:
    return MappingProxyType(
        {
            ScreenId(name): Sharing(
                mode=each.sharing.mode, most=each.sharing.most, turn_s=each.sharing.turn_s
            )
            for name, each in sorted(file.screens.items())
            if each.sharing is not None
        }
    )


def _comes_back(name: str, file: PolicyFile) -> bool:
    at, seen = file.teams[name].escalate_to, set[str]()
    while at is not None and at in file.teams and at not in seen:
        if at == name:
            return True
        seen.add(at)
        at = file.teams[at].escalate_to
    return False


def _ms(instant: datetime) -> int:
    return ms_from_datetime(instant.astimezone(UTC))
