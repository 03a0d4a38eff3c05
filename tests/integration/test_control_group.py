"""A day with a campaign of which half is left without it: arms, purchases, HQ, and the record."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, field
from datetime import UTC, datetime
from fractions import Fraction
from pathlib import Path
from typing import Any, Final

import pytest

from edge_agent.decide.control import arm_of
from edge_agent.domain.decisions import CONTROL, TREATED
from edge_agent.domain.ids import CampaignId, UnitId
from edge_agent.domain.time import DAY_MS, MINUTE_MS, SECOND_MS
from edge_agent.hq.inbox import Refused, message_from
from edge_agent.hq.store import opened_store
from edge_agent.wire import topics
from tests.factories import T0
from tests.integration.commands import ran
from tests.integration.driven_agent import CONFIG, STORE, DrivenAgent, driven_agent, told
from tests.integration.running_agent import BUNDLE

OFFERED: Final = "1029743"
OTHER: Final = "1095275"
POLICY: Final = """version = "tea-1"
[campaigns.tea]
text = "Tea week"
from = 2017-12-01
until = 2017-12-20
products = ["1029743"]
control_share = 0.5
[campaigns.plain]
kind = "service"
text = "Bags are free today"
from = 2017-12-01
until = 2017-12-20
"""
MODEL: Final = f'[model]\nbundle = "{BUNDLE}"\n'
SLOTS: Final = 14
IN_SLOT: Final = 5
CARDS: Final = 40
# Every so many visitors buy what is offered, whatever their arm is.
BUYS_EVERY: Final = 3
TEA: Final = CampaignId("tea")


@dataclass(slots=True)
class Day:
    """A store's day under the policy, played into an agent that may be started again."""

    folder: Path
    policy: Path
    agent: DrivenAgent | None = None
    _n: int = 0
    _stack: list[Any] = field(default_factory=list)

    def start(self, now_ms: int) -> DrivenAgent:
        """Starts the agent on its folder."""
        made = driven_agent(
            self.folder / "agent",
            now_ms=now_ms,
            extra=MODEL,
            rules=self.policy,
        )
        self._stack.append(made)
        self.agent = made.__enter__()
        return self.agent

    def stop(self) -> None:
        """Ends the agent."""
        self._stack.pop().__exit__(None, None, None)

    @property
    def running(self) -> DrivenAgent:
        """The agent."""
        assert self.agent is not None
        return self.agent

    def told(self, source: str, kind: str, at_ms: int, **data: Any) -> dict[str, Any]:
        """Returns an event with an id of its own."""
        self._n += 1
        return told(source, kind, at_ms, f"e{self._n}", **data)

    def enter(self, track: str, at_ms: int) -> None:
        """Has somebody come into the zone of the screen."""
        self.running.tick(at_ms)
        who = {"kind": "track", "value": track}
        self.running.take(self.told("cam-1", "zone.entered", at_ms, visitor=who, zone="dairy"))

    def shop(
        self, at_ms: int, basket: str, *, track: str = "", card: str = "", buys: bool
    ) -> None:
        """Has somebody put something on the belt, show a card perhaps, and pay."""
        self.running.tick(at_ms)
        more: dict[str, Any] = {}
        if track:
            more["visitor"] = {"kind": "track", "value": track}
        elif card:
            more["visitor"] = {"kind": "loyalty", "value": card}
        events = [self.told("pos-2", "basket.opened", at_ms, basket=basket, **more)]
        if card:
            shown = {"kind": "loyalty", "value": card}
            events.append(
                self.told("pos-2", "loyalty.scanned", at_ms, basket=basket, visitor=shown)
            )
        line = {"product": OFFERED if buys else OTHER, "quantity": 1, "amount": "2.50"}
        events.append(self.told("pos-2", "basket.item_added", at_ms, basket=basket, product=OTHER))
        self.running.take(*events)
        self.running.tick(at_ms + MINUTE_MS)
        self.running.take(
            self.told(
                "pos-2", "sale.completed", at_ms + MINUTE_MS, basket=basket,
                currency="USD", lines=[line], total="2.50",
            )
        )  # fmt: skip

    def play(self) -> None:
        """Strangers in slots, some with a card at the till, and card holders without a phone."""
        agent = self.start(T0 - MINUTE_MS)
        for card in range(CARDS):
            who = {"kind": "loyalty", "value": number(card)}
            agent.take(
                self.told(
                    "desk", "consent.granted", T0 - MINUTE_MS, visitor=who,
                    purposes=["personal_recommendations"],
                )
            )  # fmt: skip
        for slot in range(SLOTS):
            self._play_slot(slot, T0 + slot * 15 * MINUTE_MS)

    def _play_slot(self, slot: int, at_ms: int) -> None:
        for n in range(IN_SLOT):
            self.enter(f"t{slot}-{n}", at_ms + n * 10 * SECOND_MS)
        if slot == SLOTS // 2:
            self.stop()
            self.start(at_ms + MINUTE_MS)
        late = {"kind": "track", "value": f"t{slot}-0"}
        self.running.take(
            self.told(
                "cam-1", "zone.entered", at_ms - 5 * MINUTE_MS, visitor=late, zone="entrance"
            )
        )
        for n in range(IN_SLOT):
            number_of = slot * IN_SLOT + n
            self.shop(
                at_ms + (2 + 2 * n) * MINUTE_MS, f"b{slot}-{n}", track=f"t{slot}-{n}",
                card=number(number_of % CARDS) if n == 1 else "",
                buys=number_of % BUYS_EVERY == 0,
            )  # fmt: skip
        for n in range(3):
            card = slot * 3 + n
            if card < CARDS:
                self.shop(
                    at_ms + (690 + 65 * n) * SECOND_MS, f"c{slot}-{n}", card=number(card),
                    buys=card % BUYS_EVERY == 0,
                )  # fmt: skip


def number(card: int) -> str:
    """Returns the number of a card."""
    return f"64000000{card:05}"


@pytest.fixture(scope="module")
def day(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Day]:
    """A day that is over, its summaries made."""
    folder = tmp_path_factory.mktemp("control")
    policy = folder / "policy.toml"
    policy.write_text(POLICY, encoding="utf-8")
    made = Day(folder=folder, policy=policy)
    made.play()
    made.running.tick(T0 + DAY_MS)
    made.running.idle()
    yield made
    made.stop()


def records(day: Day) -> list[tuple[int, str | None, dict[str, Any]]]:
    """Returns when, for whom and what of every decision that drew arms, oldest first."""
    rows = day.running.rows("SELECT at_ms, visitor, record FROM decision ORDER BY at_ms, id")
    found = [(at_ms, visitor, json.loads(text)) for at_ms, visitor, text in rows]
    return [each for each in found if "arms" in (each[2].get("rules") or {})]


def unit_in(record: dict[str, Any]) -> UnitId:
    """Returns the unit that a record's arms were drawn for."""
    return UnitId(record["rules"]["known"]["unit"])


def test_every_arm_follows_from_its_record_and_control_is_left_without(day: Day) -> None:
    """Both arms are there, of people and of slots; a control unit is never offered the tea."""
    arms = defaultdict(set)
    defaults = 0
    for _, visitor, record in records(day):
        unit, (arm,) = unit_in(record), record["rules"]["arms"].values()
        assert list(record["rules"]["arms"]) == ["tea"]
        assert arm == arm_of(unit, TEA, share=0.5)
        arms[unit[0], arm].add(unit)
        offered = set(record["rules"]["offers"].values())
        assert ("tea" in offered) <= (arm == TREATED)
        shut = [each for each in record["rules"]["shut"] if each[0] == "control"]
        reasons = [why for _, why, named in shut if "tea" in named]
        assert len(reasons) == (arm == CONTROL)
        if visitor is not None:
            # Nothing else is shown where it would have been, but what stands there for nobody.
            gets_default = reasons == ["this is its control group, which gets the store's default"]
            assert (record["level"] == "default") == gets_default
            assert (record["rules"].get("missed") == ["tea"]) == gets_default
            if gets_default:
                assert record["rules"]["notice"] is None
            defaults += gets_default
    assert defaults > SLOTS
    assert {key for key, units in arms.items() if len(units) >= 4} == {
        (kind, arm) for kind in "ps" for arm in (TREATED, CONTROL)
    }


def test_turning_out_to_be_known_changes_no_arm(day: Day) -> None:
    """A stranger's unit is his until the day is over, card, late event and restart or not."""
    units, members = defaultdict(set), defaultdict(set)
    for _, visitor, record in records(day):
        if visitor is not None:
            units[visitor].add(unit_in(record))
            members[visitor].add(record["member"])
    assert all(len(each) == 1 for each in units.values())
    strangers = {visitor for visitor, (unit,) in units.items() if unit.startswith("s")}
    became_known = {visitor for visitor in strangers if len(members[visitor]) > 1}
    assert len(became_known) >= SLOTS - 1
    slots = {next(iter(units[visitor])) for visitor in strangers}
    assert SLOTS <= len(slots) < len(strangers)


def recomputed(day: Day) -> dict[tuple[str, str], Fraction]:
    """Returns what the summary should say, from the decision log and the sales alone."""
    window_ms = 10_800 * SECOND_MS
    first: dict[tuple[str, str], tuple[int, str]] = {}
    for at_ms, visitor, record in records(day):
        unit = unit_in(record)
        if visitor is not None:
            member = str(unit) if unit.startswith("p") else visitor
            first.setdefault((unit, member), (at_ms, record["rules"]["arms"]["tea"]))
    carriers = defaultdict(set)
    for _, visitor, record in records(day):
        unit = unit_in(record)
        if visitor is not None:
            carriers[unit if unit.startswith("p") else visitor].update(
                {visitor, record["member"]} if unit.startswith("p") else {visitor}
            )
    sales = day.running.rows(
        "SELECT b.carrier, s.completed_at_ms, l.amount FROM sale s JOIN basket b"
        " ON b.id = s.basket JOIN sale_line l ON l.basket = s.basket WHERE l.product = ?",
        OFFERED,
    )
    of_units: dict[tuple[str, str], list[tuple[int, Fraction]]] = defaultdict(list)
    for (name, member), (at_ms, arm) in first.items():
        paid = [
            Fraction(amount)
            for carrier, sold_ms, amount in sales
            if carrier in carriers[member] and at_ms <= sold_ms < at_ms + window_ms
        ]
        of_units[name, arm].append((bool(paid), sum(paid, Fraction(0))))
    figures: dict[tuple[str, str], Fraction] = defaultdict(Fraction)
    for (_, arm), visitors in of_units.items():
        bought = Fraction(sum(b for b, _ in visitors), len(visitors))
        spend = sum((s for _, s in visitors), Fraction(0)) / len(visitors)
        figures[arm, "visitors"] += len(visitors)
        figures[arm, "units"] += 1
        for name, value in (("bought", bought), ("spend", spend)):
            figures[arm, name] += value
            figures[arm, f"{name}_squares"] += value * value
    return figures


def test_what_hq_is_told_is_what_the_decision_log_says(day: Day) -> None:
    """Units, visitors, sums and squares of both arms, worked out anew in another way."""
    (summary,) = day.running.summaries("uplift")
    expected = recomputed(day)
    assert len(summary["cells"]) == 2
    for cell in summary["cells"]:
        arm = cell["keys"]["arm"]
        assert cell["keys"] == {"campaign": "tea", "share": "0.5", "arm": arm}
        assert cell["n_visitors"] == expected[arm, "visitors"] >= 10
        assert cell["counts"]["units"] == expected[arm, "units"]
        for name, text in cell["sums"].items():
            # A unit's mean leaves in millionths.
            assert abs(Fraction(text) - expected[arm, name]) < Fraction(1, 10_000), name
    assert 10 < sum(expected[arm, "bought"] for arm in (TREATED, CONTROL)) < 30


def test_hq_shows_the_uplift_that_the_store_shows(day: Day, tmp_path: Path) -> None:
    """From the message over the gate and HQ's tables to both commands: the same figures."""
    (summary,) = day.running.summaries("uplift")
    topic = topics.hq_summary(STORE, "uplift")
    message = message_from(topic, json.dumps(summary).encode())
    assert not isinstance(message, Refused)
    database = tmp_path / "hq.db"
    with closing(opened_store(str(database))) as hq:
        hq.take([message], received_at=datetime.now(UTC))
    config = tmp_path / "agent.toml"
    folder = day.folder / "agent"
    text = CONFIG.format(store=STORE, folder=folder, clock="replay", hq="", top="")
    config.write_text(text, encoding="utf-8")
    at_hq = shown("hq", "report", "--database", str(database))
    in_store = shown("status", "--config", str(config))
    assert at_hq["uplift"] == in_store["uplift"]
    (tea,) = at_hq["uplift"]
    expected = recomputed(day)
    assert (tea["campaign"], tea["n_treated"]) == ("tea", expected[TREATED, "units"])
    difference = (
        expected[TREATED, "bought"] / expected[TREATED, "units"]
        - expected[CONTROL, "bought"] / expected[CONTROL, "units"]
    )
    assert tea["effects"]["bought"]["uplift"] == pytest.approx(float(difference), abs=1e-4)


def shown(*command: str) -> dict[str, Any]:
    """Returns what a command reports."""
    found = ran(*command, "--json")
    assert found.returncode == 0, found.stderr
    report: dict[str, Any] = json.loads(found.stdout)
    return report


def test_the_day_comes_out_of_its_records_again(day: Day) -> None:
    """Arms, gates and order, taken anew without the key: no record differs."""
    folder = day.folder / "agent"
    top = f'rules = "{day.policy}"\n'
    text = CONFIG.format(store=STORE, folder=folder, clock="replay", hq="", top=top) + MODEL
    (day.folder / "agent.toml").write_text(text, encoding="utf-8")
    report = shown("replay", "--verify", str(day.folder))
    assert report["differing"] == 0
    assert report["decisions"] >= len(records(day)) > 100
