"""A second policy runs muted beside the real one: what it would say is summed up by zone."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from typing import Any, Final

import pytest

from edge_agent.domain.effects import JoinPurchases, RecordDecision, SetCampaign
from edge_agent.domain.ids import CampaignId, VisitorId
from edge_agent.domain.rules import Rules
from edge_agent.domain.time import DAY_MS
from edge_agent.engine.context import Context
from edge_agent.replay.beside import answers_to
from edge_agent.shell.policy_shadow import WAITING, Look, Means, PolicyShadow
from edge_agent.shell.rule_files import rules_of
from edge_agent.shell.shadow_counts import Said, ShadowCounts, report_of
from edge_agent.wire.events import Event
from tests.factories import T0, campaign, entered, ref, sale, till, world
from tests.fakes import TinyScorer, World
from tests.integration.running_agent import wait_for

NO_DAIRY: Final = """version = "no-dairy"
[rules.none]
when = 'zone == "dairy"'
departments = ["DAIRY", "BAKERY"]
forbid = true
"""
ONE_A_DAY: Final = 'version = "one"\n[caps]\nper_visitor_day = 1\n'
OFFER: Final = """version = "offer"
[campaigns.c1]
kind = "offer"
products = ["d0"]
text = "Milk"
from = 2020-01-01
until = 2090-01-01
per_visitor = 1
value = 50.0
"""


def rules(text: str) -> Rules:
    """Returns rules as a file says them."""
    return rules_of(text, name="policy.toml")


class Store:
    """A store in memory, and a second policy that sees what is decided and bought there."""

    def __init__(self, ask: Callable[[Look, Means], Any] = answers_to, **numbers: Any) -> None:
        self.world: World = world(**{"shadow_every": 1, **numbers})
        self.shadow = PolicyShadow(
            self.world.memory, self.world.policy, context=self.world.context, ask=ask
        )
        products = sorted(self.world.catalogue._products)
        self.shadow.use_means(Means(scorer=TinyScorer(products), catalogue=self.world.catalogue))
        self._n_seen = 0

    def take(self, *events: Event) -> None:
        """Takes events in, each as the road does, and waits until their decisions are compared."""
        for each in events:
            self.world.take(each)
            self.show()
            wait_for(lambda: not self.shadow.is_busy, what="the comparison")

    def show(self) -> None:
        """Shows what was decided and bought since."""
        for effect in self.world.effects[self._n_seen :]:
            if isinstance(effect, RecordDecision):
                self.shadow.decided(effect.decision, self.world.rules)
            elif isinstance(effect, JoinPurchases):
                self.shadow.bought(effect)
        self._n_seen = len(self.world.effects)

    def zones(self) -> dict[str, dict[str, Any]]:
        """Returns what is told, by zone."""
        report = self.shadow.report()
        assert report is not None
        return {each["zone"]: each for each in report["zones"]}

    @property
    def records(self) -> list[str]:
        """Every decision's record."""
        found = (each for each in self.world.effects if isinstance(each, RecordDecision))
        return [each.decision.record for each in found]


def come(number: int, zone: str = "dairy", at_s: int | None = None) -> Event:
    """Returns that somebody comes into a zone."""
    who = f"AC:23:3F:00:00:{number:02X}"
    return entered(zone, number * 10 if at_s is None else at_s, who=who)


@pytest.fixture
def make() -> Iterator[Callable[..., Store]]:
    """Makes stores whose comparison ends with the test."""
    made: list[Store] = []

    def store(**given: Any) -> Store:
        made.append(Store(**given))
        return made[-1]

    yield store
    for each in made:
        each.shadow.stop()


@pytest.mark.parametrize("live", [NO_DAIRY, ONE_A_DAY, OFFER], ids=["rule", "caps", "offer"])
def test_the_same_rules_agree_wholly(make: Callable[..., Store], live: str) -> None:
    """With themselves rules agree in every decision, silences and repeated offers among them."""
    store = make()
    store.world.rules = rules(live)
    store.shadow.use(rules(live))
    for number in range(4):
        store.take(
            come(number % 2, at_s=number * 100), come(number % 2, "bakery", number * 100 + 50)
        )
    for zone in store.zones().values():
        assert zone["compared"] >= 3
        assert (zone["same_first"], zone["same_set"], zone["unknowable"]) == (1.0, 1.0, 0)
        assert (zone["difference_per_decision"], zone["standard_error"]) == (0.0, 0.0)
        assert zone["contacts_live"] == zone["contacts_shadow"]
    assert set(store.zones()) == {"dairy", "bakery"}


@pytest.mark.parametrize("text", [NO_DAIRY, OFFER, 'version = "empty"\n'], ids=["r", "o", "e"])
def test_what_it_would_say_is_what_it_says_when_it_is_live(
    make: Callable[..., Store], text: str
) -> None:
    """Beside a store without rules: the value and contacts of a store that has them."""
    beside, live = make(), make()
    live.world.rules = rules(text)
    beside.shadow.use(rules(text))
    live.shadow.use(rules(text))
    for number in range(4):
        for store in (beside, live):
            store.take(come(number, "bakery" if number % 2 else "dairy"))
    for zone, found in live.zones().items():
        would = beside.zones()[zone]
        assert would["expected_value_shadow"] == found["expected_value_live"]
        assert would["contacts_shadow"] == found["contacts_live"]


def test_a_shadow_explores_nothing(make: Callable[..., Store]) -> None:
    """What is compared is its best, not what chance would have put in its place."""
    store = make()
    store.world.rules = rules('version = "empty"\n')
    store.shadow.use(rules('version = "curious"\n[exploration]\nshare = 1.0\n'))
    store.take(*(come(number) for number in range(8)))
    assert store.zones()["dairy"]["same_first"] == 1.0


def test_what_is_forbidden_in_one_zone_differs_there_alone(make: Callable[..., Store]) -> None:
    """The agreement, the value and the contacts of the other zone stay as they are."""
    store = make()
    store.world.rules = rules('version = "empty"\n')
    store.shadow.use(rules(NO_DAIRY))
    for number in range(4):
        store.take(come(number), come(number, "bakery", number * 10 + 5))
    zones = store.zones()
    assert (zones["dairy"]["same_first"], zones["dairy"]["same_set"]) == (0.0, 0.0)
    assert zones["dairy"]["difference_per_decision"] < 0
    assert (zones["bakery"]["same_set"], zones["bakery"]["difference_per_decision"]) == (1.0, 0.0)


def test_a_cap_of_the_shadows_own_counts_what_was_really_said(make: Callable[..., Store]) -> None:
    """The first word to somebody is said under both, the second one only under the real rules."""
    store = make()
    store.shadow.use(rules(ONE_A_DAY))
    store.take(come(1), come(1, "bakery", 100))
    zones = store.zones()
    assert (zones["dairy"]["contacts_shadow"], zones["dairy"]["silences_shadow"]) == (1, 0)
    assert (zones["bakery"]["contacts_live"], zones["bakery"]["silences_shadow"]) == (1, 1)


def test_what_a_real_cap_silenced_cannot_be_known(make: Callable[..., Store]) -> None:
    """Nobody asked the model: such a moment is counted and compared with nothing."""
    store = make()
    store.world.rules = rules(ONE_A_DAY)
    store.shadow.use(rules('version = "empty"\n'))
    store.take(come(1), come(1, "bakery", 100))
    assert store.zones()["bakery"]["unknowable"] == 1
    assert store.zones()["bakery"]["compared"] == 0


def test_hqs_campaigns_are_said_by_both(make: Callable[..., Store]) -> None:
    """HQ's are joined to the real rules, so the shadow has them too; the file's own are not."""
    store = make()
    hqs, own = campaign("hq", "k3", value=9.0), campaign("own", "k4", value=9.0)
    store.world.memory.campaigns[CampaignId("hq")] = SetCampaign(
        campaign=CampaignId("hq"), section="{}", ends_at_ms=T0 + DAY_MS, at_ms=T0
    )
    store.world.rules = Rules(version="r", digest="r", campaigns=(hqs,))
    store.shadow.use(Rules(version="s", digest="s"))
    store.take(come(1))
    store.world.rules = Rules(version="r2", digest="r2", campaigns=(hqs, own))
    store.take(come(2, "bakery", 100))
    assert store.zones()["dairy"]["same_set"] == 1.0
    assert store.zones()["bakery"]["same_set"] == 0.0


def test_no_record_depends_on_a_shadow(make: Callable[..., Store]) -> None:
    """With none, with one, with one that fails in either thread: the same bytes."""

    def fail(*_: Any) -> Any:
        raise KeyError("somebody's number")

    alone, beside, failing, blind = make(), make(), make(ask=fail), make()
    blind.shadow._context = fail
    for store in (beside, failing, blind):
        store.shadow.use(rules(NO_DAIRY))
    for number in range(3):
        event = come(number)
        for store in (alone, beside, failing, blind):
            store.take(event)
    assert alone.records == beside.records == failing.records == blind.records
    for store in (failing, blind):
        report = store.shadow.report()
        assert report is not None
        assert (report["stepped_out"], report["failed"], report["zones"]) == ("KeyError", 1, [])
        assert "somebody" not in json.dumps(report)


def test_loading_again_lets_it_begin_again(make: Callable[..., Store]) -> None:
    """What made it fail may have been mended; what it counted under the same file is kept."""
    store = make()
    store.shadow.use(rules(NO_DAIRY))
    store.take(come(1))
    store.shadow._step_out(KeyError())
    store.take(come(2))
    assert store.zones()["dairy"]["compared"] == 1
    store.shadow.use(rules(NO_DAIRY))
    store.take(come(3))
    assert store.zones()["dairy"]["compared"] == 2
    store.shadow.refuse("policy.toml:1: no TOML")
    store.take(come(4))
    report = store.shadow.report()
    assert report is not None
    assert (report["problem"], report["version"]) == ("policy.toml:1: no TOML", "no-dairy")
    assert store.zones()["dairy"]["compared"] == 3


def test_what_cannot_be_kept_up_with_is_left(make: Callable[..., Store]) -> None:
    """The core never waits: a full queue is not even gathered for."""
    go_on = threading.Event()

    def wait(look: Look, means: Means) -> Any:
        go_on.wait()
        return answers_to(look, means)

    store = make(ask=wait)
    gathered: list[Context] = []

    def context() -> Context:
        gathered.append(store.world.context())
        return gathered[-1]

    store.shadow._context = context
    store.shadow.use(rules(NO_DAIRY))
    for number in range(WAITING + 5):
        store.world.take(come(number))
    store.show()
    report = store.shadow.report()
    go_on.set()
    assert report is not None
    assert report["left_out"] >= 4
    assert len(gathered) <= WAITING + 1


def test_only_each_nth_decision_is_looked_at(make: Callable[..., Store]) -> None:
    """A share bounds the cost, nought is none."""
    third, never = make(shadow_every=3), make(shadow_every=0)
    for store in (third, never):
        store.shadow.use(rules(NO_DAIRY))
        store.take(*(come(number) for number in range(9)))
    assert third.zones()["dairy"]["compared"] == 3
    assert never.zones() == {}


def test_a_purchase_is_a_hit_of_whoever_told_of_it(make: Callable[..., Store]) -> None:
    """He buys what the real rules showed and the shadow forbids; who is forgotten is no case."""
    store = make()
    store.shadow.use(rules(NO_DAIRY))
    who = "AC:23:3F:00:00:01"
    store.take(come(1), come(2))
    other = next(
        each.decision.moment.visitor
        for each in reversed(store.world.effects)
        if isinstance(each, RecordDecision) and each.decision.moment.visitor
    )
    store.shadow.forget((VisitorId(other),))
    assert len(store.shadow._cases) == 1
    store.take(
        till("basket.opened", 30, basket="b1", visitor=ref(value=who)),
        sale(40, *json.loads(store.records[0])["chosen"], basket="b1", visitor=ref(value=who)),
    )
    zone = store.zones()["dairy"]
    assert (zone["cases_with_a_purchase"], zone["hits_live"], zone["hits_shadow"]) == (1, 1, 0)
    assert not store.shadow._cases


def test_counts_go_on_after_a_restart_for_the_same_rules_alone(
    make: Callable[..., Store],
) -> None:
    """Counts of other contents say nothing, under whichever name; no shadow leaves no word."""
    store = make()
    assert store.shadow.saved() is None
    store.shadow.use(rules(NO_DAIRY))
    store.take(come(1))
    saved = store.shadow.saved()
    assert report_of(saved) == store.shadow.report()
    again, other, ended = make(), make(), make()
    again.shadow.use(rules(NO_DAIRY), saved=saved)
    assert again.shadow.report() == store.shadow.report()
    other.shadow.use(rules(NO_DAIRY.replace('"BAKERY"', '"WINE"')), saved=saved)
    assert other.zones() == {}
    ended.shadow.use(None, saved=saved)
    assert ended.shadow.report() is None
    assert report_of(ended.shadow.saved()) is None


def test_the_difference_comes_with_its_standard_error() -> None:
    """Gains of 1 and 3: a mean of 2, and the standard error of two such values, 1."""
    counts = ShadowCounts()
    for gain in (1.0, 3.0):
        counts.compared("dairy", Said(value=1.0), Said(value=1.0 + gain))
    told = report_of(
        json.dumps(
            {
                "version": "v",
                "digest": "d",
                "problem": None,
                "stepped_out": None,
                "left": {},
                "zones": counts.saved(),
            }
        )
    )
    assert told is not None
    (zone,) = told["zones"]
    assert (zone["difference_per_decision"], zone["standard_error"]) == (2.0, 1.0)
