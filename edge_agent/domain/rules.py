"""What a chain says about deciding, as data: campaigns, weights, caps, teams.

`policy.toml` is where it is written, `shell.rule_files` reads it. Conditions look at a moment and
never at a single product: what a rule applies to is told by sets, so that two hundred candidates
cost no more evaluations than one.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from types import MappingProxyType
from typing import Final, Protocol

from edge_agent.domain.ids import CampaignId, ProductId, ScreenId, TeamId

FactValue = str | float | bool
"""One value that a condition may look at beside lists and maps of the same."""

ACTION_KINDS: Final = ("offer", "content", "service", "question")
OFFER: Final = "offer"
"""The kind that is about products; the others are a text beside them."""
SERVICE: Final = "service"
"""The kind that no cool-down gates, and that begins none."""
"""What a campaign may be; a product without one, help and silence are actions too."""

SHARING_MODES: Final = ("newest", "mixed", "rotation")
"""What a screen may do when several people stand before it."""

GETS_DEFAULT: Final = "store_default"
GETS_NEXT_BEST: Final = "next_best"
CONTROL_GETS: Final = (GETS_DEFAULT, GETS_NEXT_BEST)
"""What a control group may get where its campaign would have been said."""


class Condition(Protocol):
    """A compiled expression over what is known of a moment."""

    @property
    def text(self) -> str:
        """The expression as it was written."""
        ...

    @property
    def names(self) -> frozenset[str]:
        """The names of `domain.fact_names` that it asks of; the others cannot change it."""
        ...

    def holds(self, facts: Mapping[str, object]) -> bool:
        """Returns whether it is true; what it asks of and is not known makes it false."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Campaign:
    """Something that the chain wants to say, to whom, where and how often.

    Attributes:
        kind: One of `ACTION_KINDS`; an offer is about products, the others are a text.
        channels: `screen`, `receipt`, `reply`: where it may be said.
        starts_at_ms: Its first instant.
        ends_at_ms: The instant from which it is over.
        products: What it offers; empty for what is no offer.
        text: What is said, in the store's language.
        value: What one acceptance is worth to the chain, in the store's currency.
        lever: What the chain multiplies its score by, to push or hold it back.
        when: Moments that it is for; None for all.
        budget: How often it may be said in this store in its whole time; None for no end.
        per_day: How often on one store-local day; None for no end.
        per_visitor: How often to one visitor in its whole time, however long decisions are kept;
            None for no end.
        minimum_age: Years from which one may be told of it; over 0 it is only for who is known
            to be of that age, which a public screen never is.
        redeem_within_s: How long what was offered can be redeemed, once; None where nothing is.
        control_share: Share of its units that are left without it, 0..1, to know what it does.
    """

    id: CampaignId
    kind: str = "offer"
    channels: frozenset[str] = frozenset({"screen", "receipt", "reply"})
    starts_at_ms: int
    ends_at_ms: int
    products: frozenset[ProductId] = frozenset()
    text: str
    value: float = 1.0
    lever: float = 1.0
    when: Condition | None = None
    budget: int | None = None
    per_day: int | None = None
    per_visitor: int | None = None
    minimum_age: int = 0
    redeem_within_s: int | None = None
    control_share: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """What changes where a condition holds, for what it names; empty sets name everything.

    With a price it names only those of them whose price is in `[price_from, price_below)`, in the
    store's currency. What has no known price it does not name, be it that it forbids: a condition
    too is false of what is not known.

    Attributes:
        when: Moments that it is about; None for all.
        price_from: The lowest price that it names; None for no such limit.
        price_below: The price from which on it names nothing; None for no such limit.
        weight: What the context weight is multiplied by.
        is_forbidden: Nothing of what it names may be said there.
        reason: For people, in the trace.
    """

    id: str
    when: Condition | None = None
    products: frozenset[ProductId] = frozenset()
    departments: frozenset[str] = frozenset()
    brands: frozenset[str] = frozenset()
    price_from: Decimal | None = None
    price_below: Decimal | None = None
    campaigns: frozenset[CampaignId] = frozenset()
    weight: float = 1.0
    is_forbidden: bool = False
    reason: str = ""

    @property
    def is_by_price(self) -> bool:
        """Whether it names only what has a price within limits."""
        return self.price_from is not None or self.price_below is not None

    def has_price(self, price: Decimal | None) -> bool:
        """Returns whether a price lies within its limits; one that is not known never does."""
        if price is None:
            return not self.is_by_price
        is_enough = self.price_from is None or price >= self.price_from
        return is_enough and (self.price_below is None or price < self.price_below)


@dataclass(frozen=True, slots=True, kw_only=True)
class Caps:
    """How often something may be said, over all channels; None is no limit.

    Attributes:
        per_visitor_day: To one visitor on one store-local day, what HQ reports of other channels
            included.
        cooldown_s: Shortest time between two answers with an offer to one visitor.
        ignored_after: After so many showings of a product that led to nothing it steps back;
            0 is never.
        ignored_lever: What its score is multiplied by then.
        quiet_hours: Store-local minutes of the day, [from, to), in which nobody is spoken to
            first; a range may run over midnight.
    """

    per_visitor_day: int | None = None
    cooldown_s: int = 0
    ignored_after: int = 0
    ignored_lever: float = 0.25
    quiet_hours: tuple[tuple[int, int], ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Team:
    """Whom help is asked of.

    Attributes:
        acknowledge_within_s: After so long without an answer `escalate_to` is called; 0 is never.
        escalate_to: The next team; None where there is none.
        most_open: More calls than this at once are not made: no alert storms; 0 is no limit.
        topics: Departments whose questions it answers first; empty for all.
    """

    id: TeamId
    acknowledge_within_s: int = 0
    escalate_to: TeamId | None = None
    most_open: int = 0
    topics: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True, kw_only=True)
class Help:
    """When somebody seems to want help, beside the dwell that a zone sets.

    Attributes:
        lifts_and_returns: So many goods put back in one stay in a zone; 0 is never.
        queue_length: A queue from this length on; 0 is never.
    """

    lifts_and_returns: int = 0
    queue_length: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Exploration:
    """How much is tried of what is little known.

    Attributes:
        share: Share of decisions that explore, 0..1.
        draws: Posterior draws that stand for the whole: a probability is a count of them.
        window_days: How far back answers count.
    """

    share: float = 0.0
    draws: int = 64
    window_days: int = 28


@dataclass(frozen=True, slots=True, kw_only=True)
class Sharing:
    """What a screen does when several people stand before it.

    Attributes:
        mode: One of `SHARING_MODES`: `newest` answers who came last, `mixed` ranks what all of
            them visibly hold together, `rotation` answers them in turn.
        most: `mixed` heeds so many of them, those who came last; at least 2.
        turn_s: How long each one's turn is in `rotation`, at least 1 s. 15: long enough to read
            three items, short enough that the third of three people waits half a minute.
    """

    mode: str = "newest"
    most: int = 4
    turn_s: int = 15


@dataclass(frozen=True, slots=True, kw_only=True)
class Rules:
    """All of `policy.toml`; one without a file says nothing and changes nothing.

    Attributes:
        version: Its name, written into every decision; `none` without a file.
        digest: SHA-256 of its canonical form: the same name may not stand for two contents.
        slot_s: Length of the time slots that are the control group's unit for the unidentified.
        control_gets: One of `CONTROL_GETS`, where a campaign would have been said to its control
            group: what sells best in this store and hour, or the best of all else.
        hurry_ms: Left of the time budget, below which the next level of the ladder answers:
            (for the model, for the rules).
        sensitive_departments: Joined with those of the agent's own policy.
        margins: What one piece is worth to the chain, by department, in the store's currency; 1
            where it is not named.
        audiences: Who sees a screen, where that is more people than its configuration says.
    """

    version: str = "none"
    digest: str = ""
    campaigns: tuple[Campaign, ...] = ()
    rules: tuple[Rule, ...] = ()
    caps: Caps = Caps()
    exploration: Exploration = Exploration()
    help: Help = Help()
    teams: Mapping[TeamId, Team] = field(default_factory=lambda: MappingProxyType({}))
    sharing: Mapping[ScreenId, Sharing] = field(default_factory=lambda: MappingProxyType({}))
    sensitive_departments: frozenset[str] = frozenset()
    margins: Mapping[str, float] = field(default_factory=lambda: MappingProxyType({}))
    audiences: Mapping[ScreenId, str] = field(default_factory=lambda: MappingProxyType({}))
    slot_s: int = 900
    control_gets: str = GETS_DEFAULT
    hurry_ms: tuple[int, int] = (0, 0)

    @property
    def follows_up_calls(self) -> bool:
        """Whether calls for help are routed, followed up and closed; else staff are told alone."""
        return bool(self.teams) or self.help != Help()

    @property
    def is_neutral(self) -> bool:
        """Whether a decision without any rule comes out the same."""
        return self == NEUTRAL


NEUTRAL: Final = Rules()
