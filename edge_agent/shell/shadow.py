"""Scores a second bundle beside the live one, compares them, and decides nothing.

Each n-th decision is handed over as it was recorded; a thread of its own asks the second bundle
the very question that the record holds, and passes its answer through the same gates and the same
arbitration, under the chain's rules as they were. So no decision, record or row depends on whether
anybody compares. The thread rests nine times as long as it works, and what it cannot keep up with
is counted and left.

A compared decision whose visitor then pays is a case: did he buy something that the live bundle
showed, something that the other would have shown? Cases wait in memory, as long as a purchase
counts, and end with the process; counts are kept.
"""

from __future__ import annotations

import json
import logging
import threading
import time
from collections import Counter, OrderedDict
from dataclasses import dataclass
from math import sqrt
from queue import Empty, Full, Queue
from typing import TYPE_CHECKING, Any, Final

from edge_agent.decide.gates import Shelf
from edge_agent.decide.trace import request_from
from edge_agent.domain.rules import NEUTRAL, Rules
from edge_agent.domain.time import SECOND_MS
from edge_agent.errors import EdgeAgentError
from edge_agent.shell.shadow_answer import answer_of

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from edge_agent.domain.decisions import Decision
    from edge_agent.domain.effects import JoinPurchases
    from edge_agent.domain.ids import DecisionId, ProductId, VisitorId
    from edge_agent.domain.policy import Policy
    from edge_agent.ports import Scorer, State

log = logging.getLogger(__name__)

# Decisions that wait to be scored again; more are not kept.
WAITING: Final = 16
CASES: Final = 2_000
# The thread works at most a tenth of the time: the core shares the interpreter with it.
REST_PER_WORK: Final = 9.0
REST_MAX_S: Final = 1.0
SURE: Final = 3.0
"""Standard errors by which a difference must stand out: it is looked at after every case."""
RANKED: Final = frozenset({"model", "popularity"})

_Look = tuple["Decision", Rules, "frozenset[ProductId]", "Mapping[ProductId, str]"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """What the live bundle showed somebody, and what the other would have shown."""

    visitor: VisitorId
    at_ms: int
    live: frozenset[ProductId]
    other: frozenset[ProductId]


@dataclass(frozen=True, slots=True, kw_only=True)
class Watch:
    """A comparison that runs.

    Attributes:
        name: The second bundle's.
        role: `shadow`: it may become live; `previous`: it was live, and guards the one that is.
        scorer: The second bundle's own; nobody else asks it.
        worse: Called in the shadow's thread when the bundle under trial is worse.
        proven: Called in the shadow's thread when a live bundle was long enough under guard.
    """

    name: str
    role: str
    scorer: Scorer
    worse: Callable[[], None]
    proven: Callable[[], None]


class Shadow:
    """Compares the live bundle with another one while there is one."""

    def __init__(self, state: State, policy: Policy) -> None:
        self._state = state
        self._policy = policy
        self._watch: Watch | None = None
        self._counts: Counter[str] = Counter()
        self._lock = threading.Lock()
        self._cases: OrderedDict[DecisionId, Case] = OrderedDict()
        self._waiting: Queue[_Look] = Queue(WAITING)
        self._stopping = threading.Event()
        self._thread: threading.Thread | None = None
        self._n_decisions = 0

    # --- called by whoever installs -----------------------------------------------------------

    def watch(self, watch: Watch | None, *, saved: str | None = None) -> None:
        """Begins a comparison in place of the one before; None ends it.

        Args:
            watch: The comparison.
            saved: What `saved` returned when the agent ended, if it was of the same bundle.
        """
        before = {} if watch is None or saved is None else json.loads(saved)
        is_same = watch is not None and before.get("bundle") == watch.name
        with self._lock:
            self._watch = watch
            self._counts = Counter(before["counts"] if is_same else {})
            self._cases.clear()
        if watch is not None and self._thread is None:
            self._thread = threading.Thread(target=self._run, name="shadow", daemon=True)
            self._thread.start()

    def stop(self) -> None:
        """Ends the thread; what waits is left."""
        self._stopping.set()
        if self._thread is not None:
            self._thread.join(REST_MAX_S)

    def saved(self) -> str | None:
        """Returns the counts as text, to be handed in after a restart; None without any."""
        with self._lock:
            if self._watch is None:
                return None
            return json.dumps({"bundle": self._watch.name, "counts": self._counts})

    @property
    def counts(self) -> dict[str, int]:
        """What was counted in this comparison."""
        with self._lock:
            return dict(sorted(self._counts.items()))

    def report(self) -> dict[str, Any] | None:
        """Returns the comparison as an operator reads it; None when there is none."""
        with self._lock:
            watch, counts = self._watch, Counter(self._counts)
        if watch is None:
            return None
        cases = counts["cases"]
        return {
            "bundle": watch.name,
            "role": watch.role,
            "decisions_compared": counts["scored"],
            "overlap_at_k": _share(counts["items_shared"], counts["items"]),
            "cases_with_a_purchase": cases,
            "hit_rate_live": _share(counts["live_hits"], cases),
            "hit_rate_other": _share(counts["other_hits"], cases),
            "hit_rate_difference": _share(counts["other_hits"] - counts["live_hits"], cases),
            "standard_error": round(_standard_error(counts), 4) if cases else None,
            "left_out": counts["skipped"] + counts["failed"],
        }

    # --- called in the core thread ------------------------------------------------------------

    def decided(self, decision: Decision, rules: Rules = NEUTRAL) -> None:
        """Hands each n-th decision over; it costs the core a look at two numbers."""
        every = self._policy.shadow_every
        if self._watch is None or not every or decision.level not in RANKED:
            return
        self._n_decisions += 1
        if self._n_decisions % every:
            return
        try:
            state = self._state
            look = (decision, rules, state.out_of_stock(), state.departments())
            self._waiting.put_nowait(look)
        except Full:
            with self._lock:
                self._counts["skipped"] += 1

    def bought(self, join: JoinPurchases) -> None:
        """Closes the cases of somebody who paid."""
        if self._watch is None or not self._cases:
            return
        products = frozenset(join.products)
        with self._lock:
            ended = [
                decision
                for decision, case in self._cases.items()
                if case.visitor in join.visitors and join.since_ms <= case.at_ms <= join.at_ms
            ]
            for decision in ended:
                self._close(self._cases.pop(decision), products)

    def _close(self, case: Case, products: frozenset[ProductId]) -> None:
        live, other = bool(case.live & products), bool(case.other & products)
        self._counts["cases"] += 1
        self._counts["live_hits"] += live
        self._counts["other_hits"] += other
        self._counts["live_only"] += live and not other
        self._counts["other_only"] += other and not live

    def forget(self, visitors: tuple[VisitorId, ...]) -> None:
        """Drops the cases of somebody who is forgotten."""
        with self._lock:
            for decision in [d for d, c in self._cases.items() if c.visitor in visitors]:
                del self._cases[decision]

    # --- the shadow's thread ------------------------------------------------------------------

    def _run(self) -> None:
        while not self._stopping.is_set():
            self._judge()
            try:
                look = self._waiting.get(timeout=REST_MAX_S)
            except Empty:
                continue
            begun_s = time.monotonic()
            try:
                self._score(*look)
            except Exception:
                # The thread's boundary: a bundle that fails here must not end the comparison.
                with self._lock:
                    self._counts["failed"] += 1
                    is_first = self._counts["failed"] == 1
                if is_first:
                    log.exception("shadow_failed")
            worked_s = time.monotonic() - begun_s
            self._stopping.wait(min(REST_MAX_S, worked_s * REST_PER_WORK))

    def _score(
        self,
        decision: Decision,
        rules: Rules,
        out_of_stock: frozenset[ProductId],
        departments: Mapping[ProductId, str],
    ) -> None:
        watch = self._watch
        request = request_from(json.loads(decision.record))
        if watch is None or request is None:
            return
        shelf = Shelf(
            out_of_stock=out_of_stock,
            departments=departments,
            minimum_ages=self._state.minimum_ages(),
            # A rule that names brands finds none here: the catalogue is the core's.
            product=lambda _: None,
            # Nor a price but those that the decision's record holds (`shadow_answer`).
            price=lambda _: None,
        )
        chosen = answer_of(
            watch.scorer, request, decision, shelf, rules=rules, policy=self._policy
        )
        case = Case(
            visitor=decision.moment.visitor or VISITOR_NOBODY,
            at_ms=decision.decided_at_ms,
            live=frozenset(each.scored.product for each in decision.chosen),
            other=frozenset(each.scored.product for each in chosen),
        )
        with self._lock:
            # Another comparison may have begun meanwhile.
            if watch is self._watch:
                self._note(decision, case)

    def _note(self, decision: Decision, case: Case) -> None:
        self._counts["scored"] += 1
        self._counts["items"] += max(len(case.live), len(case.other))
        self._counts["items_shared"] += len(case.live & case.other)
        if case.visitor != VISITOR_NOBODY:
            self._cases[decision.id] = case
        oldest_ms = decision.decided_at_ms - self._policy.bought_within_s * SECOND_MS
        while self._cases and (
            len(self._cases) > CASES or next(iter(self._cases.values())).at_ms < oldest_ms
        ):
            self._cases.popitem(last=False)

    def _judge(self) -> None:
        with self._lock:
            watch, counts = self._watch, Counter(self._counts)
        if watch is None:
            return
        if is_worse(counts, watch.role, self._policy):
            log.warning("bundle_worse", extra={"fields": self.report()})
            act = watch.worse
        elif watch.role == "previous" and counts["cases"] >= self._policy.shadow_min_cases * 2:
            act = watch.proven
        else:
            return
        try:
            act()
        except EdgeAgentError:
            # Judged again: the core may have been too busy.
            log.exception("verdict_failed")


VISITOR_NOBODY: Final[Any] = ""


def is_worse(counts: Mapping[str, int], role: str, policy: Policy) -> bool:
    """Returns whether the bundle under trial has fewer hits, by the margin and beyond doubt.

    Under trial is the shadow; where the other one is the bundle before, it is the live one.

    Source: the standard error of a difference of two paired proportions (McNemar's test).
    """
    cases = counts.get("cases", 0)
    if cases < max(policy.shadow_min_cases, 1):
        return False
    lost = counts.get("live_only", 0) - counts.get("other_only", 0)
    worse_by = (lost if role == "shadow" else -lost) / cases
    return worse_by >= policy.shadow_margin and worse_by >= SURE * _standard_error(counts)


def _standard_error(counts: Mapping[str, int]) -> float:
    n = counts.get("cases", 0)
    one, other = counts.get("live_only", 0), counts.get("other_only", 0)
    return sqrt(max(one + other - (one - other) ** 2 / n, 0.0)) / n if n else 0.0


def _share(part: int, whole: int) -> float | None:
    return round(part / whole, 4) if whole else None
