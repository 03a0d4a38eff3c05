"""The numbers that a chain may set, each with its unit, default, range and reason."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from types import MappingProxyType
from typing import Final

# Privacy floor: a chain may ask for larger groups, never for smaller ones.
K_FLOOR: Final = 10
# How many identifiers of a kind one card may gather within a day before it is a house card that
# makes nobody known: a family has a few phones, and a sensor's track breaks now and then.
LINKS_PER_CARD: Final[Mapping[str, int]] = MappingProxyType(
    {"ble": 4, "wifi": 4, "track": 12, "app": 4, "receipt": 12, "customer": 1}
)
# Sources may repeat an event for this long (promise 3).
REPEAT_HORIZON_DAYS: Final = 7


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """What the core goes by.

    Attributes:
        version: Name of this set of numbers, written into every decision.
        visit_timeout_s: A visitor not sensed for this long has left. 30 min: longer than a queue,
            shorter than two errands.
        lateness_s: How far behind the newest event an event may be and still decide. 10 s covers
            a gateway's report interval.
        decide_within_s: An event older than this against the clock never decides: its moment is
            over.
        correct_within_days: An event up to this old still corrects state and summaries.
        future_tolerance_s: An event further ahead of the clock has an impossible time.
        screen_show_s: How long a recommendation is valid. One minute: people stay 1-3 min in a
            zone.
        default_show_s: How long a screen's default content is valid before it is renewed.
        receipt_valid_s: How long a receipt offer is valid while the basket is open.
        alert_valid_s: How long a staff alert is worth answering.
        long_dwell_s: Dwell without a lifted item after which staff are told, if a zone sets none.
        alert_cooldown_s: Shortest time between two alerts of one zone: no alert storms.
        screen_cooldown_s: Shortest time between two decisions for one screen and visitor.
        n_items: Items on a screen.
        n_receipt_items: Items on a receipt.
        n_logged_candidates: Candidates written into a decision's record.
        max_decisions_per_visit: Cap over all channels in one visit.
        sensitive_departments: Departments that no public screen names.
        basket_stay_s: How near in time a stay at the register must be to own a basket.
        card_apart_s: One card read with the baskets of two people within this time is in two
            places at once: it makes neither of them known.
        bought_within_s: A recommended item bought within this time counts as a hit.
        k: Smallest number of visitors behind anything that leaves the store.
        summary_period_s: Length of a summary's period.
        summary_grace_s: How long after its end a period is closed.
        hq_stale_after_days: Days after HQ's newest signed word from which whoever is identified
            is left alone until HQ is heard again: a complaint or withdrawal may wait there. A
            store is promised a month without HQ; 35 is that and the days a line takes to mend.
        shadow_every: Each so many decisions one is put to a second bundle or policy, if any;
            0 is never. One in ten bounds its cost to a tenth of a core's scoring.
        shadow_min_cases: Compared decisions with a purchase before a bundle is judged.
        shadow_margin: Share of hits by which a bundle must be worse to be withdrawn by itself;
            three standard errors as well, because it is judged again and again.
    """

    version: str = "nba-1"
    visit_timeout_s: int = 1_800
    lateness_s: int = 10
    decide_within_s: int = 60
    correct_within_days: int = REPEAT_HORIZON_DAYS
    future_tolerance_s: int = 300
    screen_show_s: int = 60
    default_show_s: int = 900
    receipt_valid_s: int = 300
    alert_valid_s: int = 300
    long_dwell_s: int = 180
    alert_cooldown_s: int = 300
    screen_cooldown_s: int = 0
    n_items: int = 3
    n_receipt_items: int = 1
    n_logged_candidates: int = 10
    max_decisions_per_visit: int = 200
    sensitive_departments: tuple[str, ...] = ()
    basket_stay_s: int = 60
    card_apart_s: int = 60
    bought_within_s: int = 10_800
    k: int = K_FLOOR
    summary_period_s: int = 3_600
    summary_grace_s: int = 120
    hq_stale_after_days: int = 35
    shadow_every: int = 10
    shadow_min_cases: int = 500
    shadow_margin: float = 0.02

    def __post_init__(self) -> None:
        """Refuses numbers that make no sense.

        Raises:
            ValueError: A number is negative, or `k` is under the privacy floor.
        """
        for field in fields(self):
            value = getattr(self, field.name)
            if isinstance(value, int | float) and value < 0:
                msg = f"{field.name} must not be negative"
                raise ValueError(msg)
        if self.k < K_FLOOR:
            msg = f"k must be at least {K_FLOOR}: smaller groups single people out"
            raise ValueError(msg)
        if 0 in {self.summary_period_s, self.n_items, self.hq_stale_after_days}:
            msg = "summary_period_s, n_items and hq_stale_after_days must be at least 1"
            raise ValueError(msg)


@dataclass(frozen=True, slots=True, kw_only=True)
class Retention:
    """Days that each kind of data is kept; enforced by the agent on a trusted clock only.

    Which table goes by which of them, and what it holds: `shell.personal_data`. `inbox_days` must
    not be under the time that a source may repeat an event; `watermarks_days` must be over the
    time that an event may come late, because until then a period may be summed up once more.
    """

    inbox_days: int = 8
    visits_days: int = 30
    sales_days: int = 90
    decisions_days: int = 30
    profiles_days: int = 400
    visitors_days: int = 400
    counts_days: int = 400
    watermarks_days: int = 8
    dead_letters_days: int = 1
    commands_days: int = 400
    mapping_days: int = 400
    devices_days: int = 30
    outbox_days: int = 90
    tombstones_days: int = 8
    audits_days: int = 400

    def __post_init__(self) -> None:
        """Refuses periods that would break a promise.

        Raises:
            ValueError: A period is under a day, or repeats would no longer be recognised.
        """
        for field in fields(self):
            if getattr(self, field.name) < 1:
                msg = f"{field.name} must be at least 1"
                raise ValueError(msg)
        if self.inbox_days < REPEAT_HORIZON_DAYS:
            msg = "inbox_days must be at least 7: sources may repeat an event for that long"
            raise ValueError(msg)
        if self.watermarks_days <= REPEAT_HORIZON_DAYS:
            msg = "watermarks_days must be at least 8: a late event would make a period anew"
            raise ValueError(msg)
        if self.tombstones_days < REPEAT_HORIZON_DAYS:
            msg = "tombstones_days must be at least 7: a repeat would bring a forgotten one back"
            raise ValueError(msg)
        if self.dead_letters_days > 1:
            msg = "dead_letters_days must be 1: a refused payload may hold personal data"
            raise ValueError(msg)
