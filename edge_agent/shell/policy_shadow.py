"""Asks a second policy what it would say, beside the real one, and lets nobody hear it.

Each n-th decision about somebody is put to the second policy, through the very stages that
decided. What that policy asks of the moment is gathered in the core thread, where the state is;
the answer is made in a thread of its own, that rests nine times as long as it works, by a scorer
of its own. What it cannot keep up with is counted and left, before anything is gathered. The
first failure of either half ends the comparison until the policies are loaded again: no decision
waits for it, fails by it, or comes out otherwise.

The real policy leads: caps, budgets and what was ignored count what was really said, so the second
policy is compared one answer at a time, not as a world of its own (`edge-agent replay --with` is
that). It explores nothing, and who sees a screen and who shares it stay as the real one says.
"""

from __future__ import annotations

import json
import logging
import threading
import time
from collections import Counter, OrderedDict
from contextlib import suppress
from dataclasses import dataclass, replace
from queue import Full, Queue
from typing import TYPE_CHECKING, Any, Final

from edge_agent.decide.rule_book import book_of
from edge_agent.domain.rules import NEUTRAL, Exploration, Rules
from edge_agent.domain.time import SECOND_MS
from edge_agent.engine.draft import Draft
from edge_agent.engine.gathering import known_beside
from edge_agent.shell.shadow_counts import NO_ZONE, ShadowCounts, report_of

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from edge_agent.decide.known import Known
    from edge_agent.domain.decisions import Decision
    from edge_agent.domain.effects import JoinPurchases
    from edge_agent.domain.ids import DecisionId, ProductId, VisitorId
    from edge_agent.domain.policy import Policy
    from edge_agent.engine.context import Context
    from edge_agent.ports import Catalogue, Observer, Scorer, State
    from edge_agent.shell.shadow_counts import Said

log = logging.getLogger(__name__)

# Decisions that wait to be asked again; more are not kept.
WAITING: Final = 16
CASES: Final = 2_000
# The thread works at most a tenth of the time: the core shares the interpreter with it.
REST_PER_WORK: Final = 9.0
REST_MAX_S: Final = 1.0
_STAFF: Final = "staff"
_DEFAULT: Final = "store_default"


@dataclass(frozen=True, slots=True, kw_only=True)
class Means:
    """What the second policy answers with; nobody else uses it."""

    scorer: Scorer
    catalogue: Catalogue


@dataclass(frozen=True, slots=True, kw_only=True)
class Look:
    """A decision as it was taken, and what the second policy knows of its moment."""

    decision: DecisionId
    visitor: VisitorId
    at_ms: int
    zone: str
    record: str
    known: Known
    rules: Rules
    policy: Policy
    departments: Mapping[ProductId, str]
    minimum_ages: Mapping[ProductId, int]
    currency: str


@dataclass(frozen=True, slots=True, kw_only=True)
class _Case:
    visitor: VisitorId
    at_ms: int
    zone: str
    live: frozenset[ProductId]
    other: frozenset[ProductId]


class Observers:
    """Several that see what is decided and bought."""

    def __init__(self, *observers: Observer) -> None:
        self._observers = observers

    def decided(self, decision: Decision, rules: Rules = NEUTRAL) -> None:
        """Shows all of them a decision."""
        for each in self._observers:
            each.decided(decision, rules)

    def bought(self, join: JoinPurchases) -> None:
        """Shows all of them what was paid for."""
        for each in self._observers:
            each.bought(join)


class PolicyShadow:
    """Compares the policy in force with a second one, while there is one."""

    def __init__(
        self,
        state: State,
        policy: Policy,
        *,
        context: Callable[[], Context],
        ask: Callable[[Look, Means], tuple[Said, Said | None]],
    ) -> None:
        """Sets it up; it begins with `use`.

        Args:
            state: The store's, read in the core thread alone.
            policy: The agent's own numbers.
            context: What the decision of the moment rested on.
            ask: Takes a decision again under the second policy: what was said, and what would be;
                None where nobody can tell.
        """
        self._state = state
        self._policy = policy
        self._context = context
        self._ask = ask
        self._means: Means | None = None
        self._rules: Rules | None = None
        # The real policy that HQ's campaigns were last taken over from, and what came of it.
        self._joined: tuple[Rules, Rules] | None = None
        self._problem: str | None = None
        self._stepped_out: str | None = None
        self._counts = ShadowCounts()
        self._left: Counter[str] = Counter()
        self._cases: OrderedDict[DecisionId, _Case] = OrderedDict()
        self._lock = threading.Lock()
        # None wakes the thread so that it ends.
        self._waiting: Queue[Look | None] = Queue(WAITING)
        self._stopping = threading.Event()
        self._thread: threading.Thread | None = None
        self._n_decisions = 0
        # Whether there is, or was, anything to tell of it.
        self._is_told = False

    @property
    def is_comparing(self) -> bool:
        """Whether there is a second policy."""
        return self._rules is not None

    @property
    def is_busy(self) -> bool:
        """Whether a decision waits to be compared, or is."""
        return self._waiting.unfinished_tasks > 0

    # --- called by whoever loads --------------------------------------------------------------

    def use_means(self, means: Means) -> None:
        """Answers with another model and catalogue from now on."""
        self._means = means

    def use(self, rules: Rules | None, *, saved: str | None = None) -> None:
        """Compares with a policy from now on; None ends it. The same one's counts go on.

        Args:
            rules: The second policy.
            saved: What `saved` returned when the agent ended.
        """
        before = json.loads(saved) if saved else self._plain()
        self._is_told |= saved is not None or rules is not None
        with self._lock:
            is_same = rules is not None and before["digest"] == rules.digest
            self._counts = ShadowCounts(before["zones"] if is_same else None)
            self._left = Counter(before["left"] if is_same else {})
            self._problem = self._stepped_out = self._joined = None
            if not is_same:
                self._cases.clear()
            self._rules = None if rules is None else replace(rules, exploration=Exploration())
        if self._rules is not None:
            # Made here, so that no decision waits for it.
            book_of(self._rules)
            if self._thread is None:
                self._thread = threading.Thread(
                    target=self._run, name="policy-shadow", daemon=True
                )
                self._thread.start()

    def refuse(self, problem: str) -> None:
        """Notes that a newer file is wrong; what is compared goes on."""
        self._is_told = True
        with self._lock:
            self._problem = problem

    def stop(self) -> None:
        """Ends the thread; what waits is left."""
        self._stopping.set()
        if self._thread is not None:
            with suppress(Full):
                self._waiting.put_nowait(None)
            self._thread.join(REST_MAX_S)

    def saved(self) -> str | None:
        """Returns all that is told of it as text, to be handed in after a restart."""
        with self._lock:
            return json.dumps(self._plain()) if self._is_told else None

    def report(self) -> dict[str, Any] | None:
        """Returns the comparison as an operator reads it; None when there is none."""
        return report_of(self.saved())

    def _plain(self) -> dict[str, Any]:
        rules = self._rules
        return {
            "version": None if rules is None else rules.version,
            "digest": None if rules is None else rules.digest,
            "problem": self._problem,
            "stepped_out": self._stepped_out,
            "left": dict(self._left),
            "zones": self._counts.saved(),
        }

    # --- called in the core thread ------------------------------------------------------------

    def decided(self, decision: Decision, rules: Rules = NEUTRAL) -> None:
        """Looks at each n-th decision about somebody; whatever goes wrong, it goes on."""
        every = self._policy.shadow_every
        if self._rules is None or self._stepped_out is not None or not every:
            return
        moment = decision.moment
        if moment.visitor is None or moment.kind == _DEFAULT or moment.place.channel == _STAFF:
            return
        self._n_decisions += 1
        if self._n_decisions % every:
            return
        try:
            self._look_at(decision, moment.visitor, self._beside(self._rules, rules))
        except Full:
            self._leave("skipped")
        except Exception as error:
            # The decision's boundary: it was taken, and nothing that only looks on may undo it.
            log.exception("shadow_policy_stepped_out")
            self._step_out(error)

    def _look_at(self, decision: Decision, visitor: VisitorId, rules: Rules) -> None:
        if self._waiting.full():
            raise Full
        state, context = self._state, replace(self._context(), rules=rules)
        self._waiting.put_nowait(
            Look(
                decision=decision.id,
                visitor=visitor,
                at_ms=decision.decided_at_ms,
                zone=decision.moment.place.zone or NO_ZONE,
                record=decision.record,
                known=known_beside(Draft(state, context), decision),
                rules=rules,
                policy=self._policy,
                departments=state.departments(),
                minimum_ages=state.minimum_ages(),
                currency=context.currency,
            )
        )

    def _beside(self, shadow: Rules, live: Rules) -> Rules:
        """Returns the second policy with HQ's campaigns, which are joined to the real one too."""
        if self._joined is None or self._joined[0] is not live:
            own = {each.id for each in shadow.campaigns}
            hqs = self._state.hq_campaigns()
            more = [each for each in live.campaigns if each.id in hqs and each.id not in own]
            joined = replace(shadow, campaigns=(*shadow.campaigns, *more)) if more else shadow
            self._joined = (live, joined)
        return self._joined[1]

    def bought(self, join: JoinPurchases) -> None:
        """Closes the cases of somebody who paid."""
        if not self._cases:
            return
        products = frozenset(join.products)
        with self._lock:
            ended = [
                decision
                for decision, case in self._cases.items()
                if case.visitor in join.visitors and join.since_ms <= case.at_ms <= join.at_ms
            ]
            for decision in ended:
                case = self._cases.pop(decision)
                live, other = bool(case.live & products), bool(case.other & products)
                self._counts.paid(case.zone, live=live, other=other)

    def forget(self, visitors: tuple[VisitorId, ...]) -> None:
        """Drops the cases of somebody who is forgotten."""
        with self._lock:
            for decision in [d for d, c in self._cases.items() if c.visitor in visitors]:
                del self._cases[decision]

    def _leave(self, why: str) -> None:
        with self._lock:
            self._left[why] += 1

    def _step_out(self, error: Exception) -> None:
        # Its name alone: a message may hold what it was asked about.
        with self._lock:
            self._left["failed"] += 1
            self._stepped_out = type(error).__name__
            self._cases.clear()

    # --- the shadow's thread ------------------------------------------------------------------

    def _run(self) -> None:
        while (look := self._waiting.get()) is not None and not self._stopping.is_set():
            begun_s = time.monotonic()
            try:
                self._compare(look)
            except Exception as error:
                # The thread's boundary.
                log.exception("shadow_policy_stepped_out")
                self._step_out(error)
            self._waiting.task_done()
            worked_s = time.monotonic() - begun_s
            self._stopping.wait(min(REST_MAX_S, worked_s * REST_PER_WORK))

    def _compare(self, look: Look) -> None:
        means = self._means
        if means is None or self._stepped_out is not None:
            return
        live, other = self._ask(look, means)
        with self._lock:
            # Another policy may have been loaded meanwhile.
            if self._rules is not None and look.rules.digest == self._rules.digest:
                self._note(look, live, other)

    def _note(self, look: Look, live: Said, other: Said | None) -> None:
        self._counts.compared(look.zone, live, other)
        if other is None:
            return
        self._cases[look.decision] = _Case(
            visitor=look.visitor,
            at_ms=look.at_ms,
            zone=look.zone,
            live=frozenset(live.products),
            other=frozenset(other.products),
        )
        oldest_ms = look.at_ms - self._policy.bought_within_s * SECOND_MS
        while self._cases and (
            len(self._cases) > CASES or next(iter(self._cases.values())).at_ms < oldest_ms
        ):
            self._cases.popitem(last=False)
