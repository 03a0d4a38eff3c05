"""The present of the road: what a decision rests on besides the state.

It changes between two inputs only: with the clock, a reloaded policy or model, and a word of HQ.
"""

from __future__ import annotations

import math
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from edge_agent.domain.rules import NEUTRAL, Rules
from edge_agent.domain.time import local_time, ms_from_datetime
from edge_agent.engine import Context
from edge_agent.sync.downlink import ALL_STORES

if TYPE_CHECKING:
    from collections.abc import Callable

    from edge_agent.domain.scoring import PromotionPlan
    from edge_agent.ports import Catalogue, RuleBook, Scorer, State, Stopwatch, UnitOfWork
    from edge_agent.runner.hq_heard import HqHeard
    from edge_agent.runner.people import People
    from edge_agent.runner.settings import RoadSettings
    from edge_agent.wire.downlink import AnyCommand

ANSWER_WITHIN_MS: Final = 1_000
"""The time budget of an answer, from when its event came: what a screen may take at most."""


class Present:
    """Holds the engine's context and makes it anew when something of it changes.

    Attributes:
        now_ms: The agent's present.
        context: What a decision rests on now besides the state.
        rules: Those in force, with HQ's campaigns in them.
        closed_until_ms: Where the last period that was summed up ends; of use from the next
            `set_now` on.
    """

    def __init__(
        self,
        *,
        settings: RoadSettings,
        state: State,
        unit: UnitOfWork,
        people: People,
        catalogue: Catalogue,
        scorer: Scorer,
        hq_heard: HqHeard | None,
        rule_book: RuleBook | None,
        stopwatch: Stopwatch | None,
        use_plans: Callable[[tuple[PromotionPlan, ...]], None],
        now_ms: int,
    ) -> None:
        self._settings = settings
        self._state = state
        self._unit = unit
        self._people = people
        self._catalogue = catalogue
        self._scorer = scorer
        self._hq_heard = hq_heard
        self._rule_book = rule_book
        self._stopwatch = stopwatch
        self._use_plans = use_plans
        self._campaigns = state.hq_campaigns()
        self._plans: tuple[PromotionPlan, ...] | None = None
        self._waited_ms: float | None = None
        layout = self._layout = settings.layout
        self._exits = frozenset(zone.id for zone in layout.zones.values() if zone.is_exit)
        self._register_zones = frozenset(
            each.zone for each in layout.registers.values() if each.zone is not None
        )
        self.rules = NEUTRAL
        self.closed_until_ms = 0
        self.set_now(now_ms)

    def begin_batch(self) -> None:
        """Starts a batch: what the one before has not committed is taken back."""
        self.heed_hq()
        if self._hq_heard is not None:
            self._hq_heard.begin_batch(self.now_ms)

    def note_committed(self) -> None:
        """Notes that what was taken in is on the disk."""
        if self._hq_heard is not None:
            self._hq_heard.note_committed()

    def set_now(self, now_ms: int) -> None:
        """Moves the agent's present on."""
        self.now_ms = now_ms
        settings = self._settings
        self.context = Context(
            now_ms=now_ms,
            local=local_time(now_ms, settings.zone),
            zone=settings.zone,
            seed=settings.seed,
            store=settings.store,
            locale=settings.locale,
            currency=settings.currency,
            policy=settings.policy,
            layout=self._layout,
            catalogue=self._catalogue,
            scorer=self._scorer,
            closed_until_ms=self.closed_until_ms,
            exits=self._exits,
            register_zones=self._register_zones,
            hq_heard_ms=None if self._hq_heard is None else self._hq_heard.at_ms,
            lost_at_ms=settings.lost_at_ms,
            unit_key=self._people.unit_key,
            rules=self.rules,
            offer_key=self._people.offer_key,
            stopwatch=self._stopwatch,
        )

    def hurry(self, waited_ms: float | None) -> None:
        """Says how long what is taken in next has waited; None where nobody waits for it."""
        # In a replay the machine's speed would say what is decided.
        self._waited_ms = None if self._settings.is_replay else waited_ms
        # Without a word of the policy's all are answered alike, however late.
        self._use_budget(ANSWER_WITHIN_MS if any(self.rules.hurry_ms) else None)

    def answer_within(self, budget_ms: int | None) -> None:
        """Says how long whoever sent what is being taken in waits; None where he did not say."""
        if budget_ms is not None:
            self._use_budget(budget_ms)

    def _use_budget(self, budget_ms: int | None) -> None:
        left_ms = None
        if budget_ms is not None and self._waited_ms is not None:
            left_ms = math.floor(budget_ms - self._waited_ms)
        for_model, _ = self.rules.hurry_ms
        if left_ms is not None and left_ms >= for_model:
            left_ms = None
        if left_ms != self.context.left_ms:
            self.context = replace(self.context, left_ms=left_ms)

    @property
    def is_hq_unheard(self) -> bool:
        """Whether HQ was not heard for so long that whoever is identified is left alone."""
        heard = self._hq_heard
        return heard is not None and heard.is_over(self.now_ms, self._settings.policy)

    def use_scorer(self, scorer: Scorer) -> None:
        """Lets another scorer rank from the next decision on."""
        self._scorer = scorer
        self.set_now(self.now_ms)

    def use_rules(self, rules: Rules) -> None:
        """Lets other rules hold from the next event on; HQ's campaigns are joined to them."""
        self._campaigns = self._state.hq_campaigns()
        if self._rule_book is not None:
            rules = self._rule_book.joined(self._campaigns, self._unit, now_ms=self.now_ms)
        self.rules = rules
        self._layout = self._settings.layout.tightened(rules.audiences)
        self.set_now(self.now_ms)

    def heed_hq(self) -> None:
        """Takes up HQ's campaigns and plans where they changed, by a rolled back batch too."""
        plans, campaigns = self._state.plans(), self._state.hq_campaigns()
        if plans is not self._plans:
            self._plans = plans
            self._use_plans(plans)
        if self._rule_book is None or campaigns is self._campaigns:
            return
        # The state is read anew now and then, and says the same.
        is_other, self._campaigns = campaigns != self._campaigns, campaigns
        if is_other:
            self.use_rules(self._rule_book.rules)

    def hear_hq(self, command: AnyCommand) -> None:
        """Takes in when HQ signed a command, if it is for this store."""
        heard = self._hq_heard
        if heard is None or command.store not in {self._settings.store, ALL_STORES}:
            return
        if heard.hear(ms_from_datetime(command.issued_at), now_ms=self.now_ms):
            self.set_now(self.now_ms)
