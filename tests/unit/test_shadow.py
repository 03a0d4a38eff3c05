"""A second bundle is compared with the live one; only a clear loss has consequences."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from typing_extensions import override

from edge_agent.domain.effects import JoinPurchases, RecordDecision
from edge_agent.domain.ids import ProductId
from edge_agent.domain.rules import Rule, Rules
from edge_agent.domain.scoring import ScoredProduct, ScoringRequest
from edge_agent.errors import BundleError
from edge_agent.shell import shadow
from edge_agent.shell.shadow import WAITING, Shadow, Watch, is_worse
from edge_agent.wire.events import Event
from tests.factories import campaign, entered, policy, ref, sale, till, world
from tests.fakes import TinyScorer, World
from tests.integration.running_agent import DEADLINE_S, wait_for

LOOKS_EVERY_S = 0.05
"""How often a thread that has nothing to do looks whether it is to end."""
EVERY_ONE: dict[str, Any] = {"shadow_every": 1, "shadow_min_cases": 4}


class Stubborn(TinyScorer):
    """Always offers the same products, whoever asks; may wait, may fail."""

    def __init__(self, *products: str, before: Callable[[], object] = lambda: None) -> None:
        super().__init__(ProductId(each) for each in products)
        self._before = before

    @override
    def rank(self, request: ScoringRequest) -> tuple[ScoredProduct, ...]:
        """Returns its products in their order."""
        self._before()
        return super().rank(request)


def events_of(number: int, *bought: str) -> tuple[Event, Event, Event]:
    """Returns what one visit sends: he comes in, a basket is opened, it is paid."""
    who, basket = f"AC:23:3F:00:00:{number:02X}", f"b{number}"
    begun_s = number * 10
    return (
        entered("dairy", begun_s, who=who),
        till("basket.opened", begun_s + 1, basket=basket, visitor=ref(value=who)),
        sale(begun_s + 2, *bought, basket=basket, visitor=ref(value=who)),
    )


class Store:
    """A store in memory whose decisions and purchases a comparison sees."""

    def __init__(self, **numbers: Any) -> None:
        self.world: World = world(**{**EVERY_ONE, **numbers})
        self.shadow = Shadow(self.world.memory, self.world.policy)
        self.verdicts: list[str] = []
        self._n_seen = 0

    def watch(self, scorer: TinyScorer, *, role: str = "shadow", saved: str | None = None) -> None:
        """Begins a comparison."""
        watch = Watch(
            name="other",
            role=role,
            scorer=scorer,
            worse=lambda: self._judged("worse"),
            proven=lambda: self._judged("proven"),
        )
        self.shadow.watch(watch, saved=saved)

    def _judged(self, verdict: str) -> None:
        self.verdicts.append(verdict)
        self.shadow.watch(None)

    def visit(self, number: int, *bought: str) -> None:
        """Lets somebody come in, be shown something, and pay for something."""
        self.take(*events_of(number, *bought))

    def take(self, come: Event, *others: Event) -> None:
        """Takes in a visit's events; the first one's decision is compared before he pays."""
        self.world.take(come)
        n = self._n_answered()
        self._show()
        wait_for(
            lambda: self.shadow.report() is None or self._n_answered() > n, what="a comparison"
        )
        self.world.take(*others)
        self._show()

    def _n_answered(self) -> int:
        counts = self.shadow.counts
        return counts.get("scored", 0) + counts.get("failed", 0)

    def _show(self) -> None:
        for effect in self.world.effects[self._n_seen :]:
            if isinstance(effect, RecordDecision):
                self.shadow.decided(effect.decision, self.world.rules)
            elif isinstance(effect, JoinPurchases):
                self.shadow.bought(effect)
        self._n_seen = len(self.world.effects)

    @property
    def records(self) -> list[str]:
        """Every decision's record."""
        found = (each for each in self.world.effects if isinstance(each, RecordDecision))
        return [each.decision.record for each in found]


@pytest.fixture
def make(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., Store]]:
    """Makes stores whose comparison ends with the test."""
    monkeypatch.setattr(shadow, "REST_MAX_S", LOOKS_EVERY_S)
    made: list[Store] = []

    def store(**numbers: Any) -> Store:
        made.append(Store(**numbers))
        return made[-1]

    yield store
    for each in made:
        each.shadow.stop()
        if each.shadow._thread is not None:
            each.shadow._thread.join(DEADLINE_S)
            assert not each.shadow._thread.is_alive()


def test_the_same_ranking_agrees_wholly_and_hits_alike(make: Callable[..., Store]) -> None:
    """Overlap one, no difference in hits, and no verdict."""
    store = make()
    store.watch(TinyScorer(ProductId(f"d{n}") for n in range(6)))
    for number in range(6):
        store.visit(number, "d0")
    report = store.shadow.report()
    assert report is not None
    assert report["overlap_at_k"] == 1.0
    assert report["cases_with_a_purchase"] == 6
    assert (report["hit_rate_live"], report["hit_rate_difference"]) == (1.0, 0.0)
    assert store.verdicts == []


def test_under_rules_both_bundles_go_through_them(make: Callable[..., Store]) -> None:
    """An offer and a weight move both answers alike: the rules are not what is compared."""
    store = make()
    rule = Rule(id="r", departments=frozenset({"BAKERY"}), weight=3.0)
    offer = campaign("c1", "k3", value=9.0)
    store.world.rules = Rules(version="r1", campaigns=(offer,), rules=(rule,))
    store.watch(TinyScorer(sorted(store.world.catalogue._products)))
    store.visit(1, "k3")
    report = store.shadow.report()
    assert report is not None
    assert report["overlap_at_k"] == 1.0
    assert report["hit_rate_live"] == report["hit_rate_other"] == 1.0


def test_a_worse_shadow_is_found_out_and_a_better_one_is_left(make: Callable[..., Store]) -> None:
    """People buy what the live one shows; a shadow that never shows it is told on."""
    store = make()
    store.watch(Stubborn("k3", "k4"))
    for number in range(5):
        store.visit(number, "d0")
    wait_for(lambda: store.verdicts == ["worse"], what="the verdict")
    better = make()
    better.watch(Stubborn("k3", "k4"))
    for number in range(5):
        better.visit(number, "k3")
    report = better.shadow.report()
    assert report is not None
    assert report["hit_rate_difference"] == 1.0
    assert better.verdicts == []


def test_a_live_bundle_that_is_worse_than_the_one_before_is_taken_back(
    make: Callable[..., Store],
) -> None:
    """In the guard's role it is the live one that is under trial, and it may prove itself."""
    store = make()
    store.watch(Stubborn("k3", "k4"), role="previous")
    for number in range(5):
        store.visit(number, "k3")
    wait_for(lambda: store.verdicts == ["worse"], what="the verdict")
    proven = make()
    proven.watch(Stubborn("k3", "k4"), role="previous")
    for number in range(9):
        proven.visit(number, "d0")
    wait_for(lambda: proven.verdicts == ["proven"], what="the verdict")


def test_no_record_depends_on_a_comparison(make: Callable[..., Store]) -> None:
    """With none, with a shadow, with one that fails: the same decisions, byte for byte."""

    def fail() -> None:
        raise BundleError("broken")

    alone, beside, failing = make(), make(), make()
    beside.watch(Stubborn("k3", "k4"))
    failing.watch(Stubborn("k3", before=fail))
    for number in range(4):
        events = events_of(number, "d0", "k3")
        for store in (alone, beside, failing):
            store.take(*events)
    assert alone.records == beside.records == failing.records
    assert len(alone.records) >= 4
    assert failing.shadow.counts["failed"] >= 4


def test_what_cannot_be_kept_up_with_is_counted_and_left(make: Callable[..., Store]) -> None:
    """The core never waits for the second bundle."""
    store = make()
    go_on = threading.Event()
    store.watch(Stubborn("d0", before=go_on.wait))
    for number in range(WAITING + 5):
        store.world.take(entered("dairy", number, who=f"AC:23:3F:00:01:{number:02X}"))
    store._show()
    assert store.shadow.counts["skipped"] >= 4
    go_on.set()


def test_only_each_nth_decision_is_scored_again(make: Callable[..., Store]) -> None:
    """A share bounds the cost, nought is none."""
    third, never = make(shadow_every=3), make(shadow_every=0)
    for store in (third, never):
        store.watch(Stubborn("d0"))
        for number in range(9):
            store.world.take(entered("dairy", number, who=f"AC:23:3F:00:02:{number:02X}"))
        store._show()
    wait_for(lambda: third.shadow.counts.get("scored") == 3, what="three comparisons")
    assert never.shadow.counts == {}


def test_counts_go_on_after_a_restart_for_the_same_bundle_alone(
    make: Callable[..., Store],
) -> None:
    """What was counted about another bundle says nothing."""
    store = make()
    store.watch(Stubborn("d0"))
    store.visit(1, "d0")
    saved = store.shadow.saved()
    assert saved is not None
    again = make()
    again.watch(Stubborn("d0"), saved=saved)
    assert again.shadow.counts["cases"] == 1
    other = make()
    other.watch(Stubborn("d0"), saved=saved.replace("other", "third"))
    assert other.shadow.counts == {}


@pytest.mark.parametrize(
    ("cases", "live_only", "other_only", "verdict"),
    [
        (999, 999, 0, False),
        (1_000, 0, 0, False),
        (1_000, 19, 0, False),
        (1_000, 30, 0, True),
        (1_000, 130, 100, False),
        (10_000, 700, 300, True),
        (1_000, 0, 500, False),
    ],
    ids=["few", "alike", "margin", "clear", "doubtful", "sure", "better"],
)
def test_worse_takes_cases_margin_and_certainty(
    cases: int, live_only: int, other_only: int, *, verdict: bool
) -> None:
    """Too few cases, too small or too uncertain a loss have no consequence, in either role."""
    rules = policy(shadow_min_cases=1_000, shadow_margin=0.02)
    counts = {"cases": cases, "live_only": live_only, "other_only": other_only}
    assert is_worse(counts, "shadow", rules) is verdict
    turned = {"cases": cases, "live_only": other_only, "other_only": live_only}
    assert is_worse(turned, "previous", rules) is verdict
