"""File format of `policy.toml`: what a chain says about deciding.

Its form alone: unknown words are errors, so that a misspelt cap is found by the check and not by
a customer. What it means together, and with the store, is judged where it is read.
"""

from __future__ import annotations

import re
from datetime import date, datetime
from typing import Annotated, Any, Final, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    InstanceOf,
    PlainSerializer,
)

_YEARS: Final = range(2000, 2100)
_HOURS: Final = re.compile(r"([01]\d|2[0-3]):([0-5]\d)\s*-\s*([01]\d|2[0-3]):([0-5]\d)")
_MINUTES_PER_HOUR: Final = 60
# As many as a person can still look over; each costs a microsecond at every moment.
_MOST: Final = 200
_TIME_WANTED: Final = 'write a day ("2026-12-01"), a time of the store ("2026-12-01 10:31") or an'
_TEXT_MAX: Final = 500


class Section(BaseModel):
    """Base of all parts: immutable, strict, no unknown words."""

    model_config = ConfigDict(
        frozen=True, extra="forbid", strict=True, allow_inf_nan=False, populate_by_name=False
    )


def _stated(value: Any) -> date:
    """Returns a day or a time, with an offset or as the store's clock shows it."""
    found = value
    if isinstance(value, str):
        try:
            text = value.strip()
            is_day = len(text) == len("2026-12-01")
            found = date.fromisoformat(text) if is_day else datetime.fromisoformat(text)
        except ValueError:
            found = None
    if not isinstance(found, date) or found.year not in _YEARS:
        msg = f'{_TIME_WANTED} instant ("2026-12-01T08:31:00Z"), of the years 2000 to 2099'
        raise ValueError(msg)
    return found


def _minutes(value: str) -> str:
    if quiet_minutes(value) is None:
        msg = 'write two times of the day, such as "21:00-08:00"'
        raise ValueError(msg)
    return value


def quiet_minutes(hours: str) -> tuple[int, int] | None:
    """Returns from which minute of the day to which, `[from, to)`; None for no such range.

    Example:
        >>> quiet_minutes("21:00-08:30")
        (1260, 510)
    """
    found = _HOURS.fullmatch(hours)
    if found is None:
        return None
    from_h, from_m, to_h, to_m = (int(each) for each in found.groups())
    made = from_h * _MINUTES_PER_HOUR + from_m, to_h * _MINUTES_PER_HOUR + to_m
    return None if made[0] == made[1] else made


Id = Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]{1,64}$")]
Name = Annotated[str, Field(min_length=1, max_length=128)]
Names = Annotated[tuple[Name, ...], Field(max_length=1_000)]
Expression = Annotated[str, Field(min_length=1)]
Share = Annotated[float, Field(ge=0.0, le=1.0)]
Factor = Annotated[float, Field(ge=0.0, le=1_000.0)]
Money = Annotated[float, Field(ge=0.0, le=1_000_000.0)]
# As much as a catalogue's amounts hold.
Price = Annotated[float, Field(ge=0.0, le=9_999_999_999.0)]
Count = Annotated[int, Field(ge=1, le=1_000_000)]
CountOrNever = Annotated[int, Field(ge=0, le=1_000_000)]
Seconds = Annotated[int, Field(ge=0, le=31_536_000)]
Instant = Annotated[
    InstanceOf[date], BeforeValidator(_stated), PlainSerializer(lambda each: each.isoformat())
]
Channel = Literal["screen", "receipt", "reply"]
Audience = Literal["public", "semi_private", "private"]
QuietHours = Annotated[str, AfterValidator(_minutes)]


class CapsSection(Section):
    """How often something may be said, over all channels."""

    per_visitor_day: CountOrNever | None = None
    cooldown_s: Seconds = 0
    ignored_after: CountOrNever = 0
    ignored_lever: Share = 0.25
    quiet_hours: Annotated[tuple[QuietHours, ...], Field(max_length=10)] = ()


class ControlSection(Section):
    """What is left without a campaign, to know what it does."""

    share: Share = 0.0
    slot_s: Annotated[int, Field(ge=60, le=86_400)] = 900
    gets: Literal["store_default", "next_best"] = "store_default"


class ExplorationSection(Section):
    """How much is tried of what is little known."""

    share: Share = 0.0
    draws: Annotated[int, Field(ge=1, le=1_024)] = 64
    window_days: Annotated[int, Field(ge=1, le=400)] = 28


class HurrySection(Section):
    """Left of the time budget, below which the next level of the ladder answers.

    An answer may take a second: of more than that nothing is ever left.
    """

    model_ms: Annotated[int, Field(ge=0, le=1_000)] = 0
    rules_ms: Annotated[int, Field(ge=0, le=1_000)] = 0


class HelpSection(Section):
    """When somebody seems to want help."""

    lifts_and_returns: CountOrNever = 0
    queue_length: CountOrNever = 0


class SensitiveSection(Section):
    """What no public screen names."""

    departments: Names = ()


class SharingSection(Section):
    """What a screen does when several people stand before it."""

    mode: Literal["newest", "mixed", "rotation"] = "newest"
    most: Annotated[int, Field(ge=2, le=20)] = 4
    turn_s: Annotated[int, Field(ge=1, le=600)] = 15


class ScreenSection(Section):
    """What a screen does; who sees it may only be more than the agent's own file says."""

    audience: Audience | None = None
    sharing: SharingSection | None = None


class TeamSection(Section):
    """Whom help is asked of."""

    acknowledge_within_s: Seconds = 0
    escalate_to: Id | None = None
    most_open: CountOrNever = 0
    topics: Names = ()


class RuleSection(Section):
    """What changes where a condition holds."""

    when: Expression | None = None
    products: Names = ()
    departments: Names = ()
    brands: Names = ()
    price_from: Price | None = None
    price_below: Price | None = None
    campaigns: Annotated[tuple[Id, ...], Field(max_length=_MOST)] = ()
    weight: Factor | None = None
    forbid: bool = False
    reason: Annotated[str, Field(max_length=_TEXT_MAX)] = ""


class CampaignSection(Section):
    """What the chain wants to say."""

    kind: Literal["offer", "content", "service", "question"] = "offer"
    text: Annotated[str, Field(min_length=1, max_length=_TEXT_MAX)]
    from_: Annotated[Instant, Field(alias="from")]
    until: Instant
    channels: Annotated[tuple[Channel, ...], Field(min_length=1)] = ("screen", "receipt", "reply")
    products: Names = ()
    value: Money = 1.0
    lever: Factor = 1.0
    when: Expression | None = None
    budget: Count | None = None
    per_day: Count | None = None
    per_visitor: Count | None = None
    minimum_age: Annotated[int, Field(ge=0, le=120)] = 0
    redeem_within_s: Annotated[int, Field(ge=1, le=31_536_000)] | None = None
    control_share: Share | None = None


class PolicyFile(Section):
    """All of a `policy.toml`."""

    version: Annotated[str, Field(pattern=r"^[A-Za-z0-9._-]{1,64}$")]
    caps: CapsSection = CapsSection()
    control: ControlSection = ControlSection()
    exploration: ExplorationSection = ExplorationSection()
    hurry: HurrySection = HurrySection()
    help: HelpSection = HelpSection()
    sensitive: SensitiveSection = SensitiveSection()
    margins: dict[Name, Money] = {}
    screens: dict[Name, ScreenSection] = {}
    teams: dict[Id, TeamSection] = {}
    rules: Annotated[dict[Id, RuleSection], Field(max_length=_MOST)] = {}
    campaigns: Annotated[dict[Id, CampaignSection], Field(max_length=_MOST)] = {}
