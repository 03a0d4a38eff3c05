"""What decided is kept under its name for as long as a decision names it, whatever HQ changes."""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from edge_agent.domain.time import DAY_MS, SECOND_MS, rfc3339_from_ms
from edge_agent.hq.keys import public_text
from edge_agent.shell.kept_rules import kept_rules
from edge_agent.shell.rule_versions import unpacked
from edge_agent.shell.signing import DEMO_KEY_ID, demo_private_key, sign_command
from edge_agent.wire import topics
from tests.factories import T0, command
from tests.integration.driven_agent import STORE, DrivenAgent, driven_agent, entered

KEY: Final = demo_private_key()
SHORT: Final = "[retention]\ndecisions_days = 1\n"
POLICY: Final = 'version = "{version}"\n[rules.a]\nwhen = "hour >= 0"\nweight = {weight}\n'
LONG: Final = "chain-helsinki-kamppi-2026-12-christmas-campaign-week-"


@dataclass(slots=True)
class Chain:
    """A driven agent, its policy file, and HQ's hand."""

    driven: DrivenAgent
    rules: Path
    _versions: Iterator[int] = field(default_factory=lambda: itertools.count(1))

    def write(self, text: str) -> None:
        """Has the agent load another file."""
        self.rules.write_text(text, encoding="utf-8")
        agent = self.driven.agent
        found = (agent._rule_desk.read(), agent._rule_desk.read_shadow())
        agent._load_again(*found)
        self.driven.turn()

    def tell(self, name: str, *, text: str = "Hello", ends_day: int = 90) -> tuple[str, str]:
        """Sends a campaign of HQ's that is a text; returns how it is confirmed."""
        now_ms = self.driven.road.present.now_ms
        body = {
            "campaign": name,
            "starts_at": rfc3339_from_ms(T0 - DAY_MS),
            "ends_at": rfc3339_from_ms(T0 + ends_day * DAY_MS),
            "products": [],
            "text": text,
            "definition": {"kind": "content"},
        }
        times = {
            "issued_at": rfc3339_from_ms(now_ms - SECOND_MS),
            "expires_at": rfc3339_from_ms(now_ms + DAY_MS),
        }
        made = command("campaign", body, version=next(self._versions), **times)
        signed = sign_command(made, key=KEY, key_id=DEMO_KEY_ID)
        self.driven.raw(topics.hq_down(STORE, "campaign"), signed, link="hq")
        self.driven.turn()
        told = [each for each in self.driven.for_hq() if "confirm_id" in each][-1]
        return told["outcome"], told.get("reason") or ""

    def kept(self) -> dict[str, str]:
        """Returns the texts of the versions on the disk."""
        rows = self.driven.rows("SELECT version, text FROM rule_set")
        return {str(version): unpacked(text) for version, text in rows}

    def named(self) -> set[tuple[str, str]]:
        """Returns what the decisions on the disk name: version and digest."""
        records = (json.loads(text) for (text,) in self.driven.rows("SELECT record FROM decision"))
        return {(each["rules"]["version"], each["rules"]["digest"]) for each in records}

    def readable(self) -> set[tuple[str, str]]:
        """Returns the versions that are kept, as `replay --verify` finds them."""
        found = kept_rules(self.driven.agent._db, self.driven.agent.config)
        return {(version, each.digest) for version, each in found.items()}


@contextmanager
def chain(folder: Path, *, text: str = "", now_ms: int = T0, extra: str = "") -> Iterator[Chain]:
    """A chain's agent under a policy, with HQ's key."""
    rules = folder / "policy.toml"
    rules.write_text(text or POLICY.format(version="spring", weight=1.5), encoding="utf-8")
    more: dict[str, Any] = {"now_ms": now_ms, "rules": rules, "extra": extra}
    with driven_agent(folder / "s", key=public_text(KEY), **more) as driven:
        yield Chain(driven, rules)


def test_every_version_that_a_decision_names_is_kept_and_goes_with_it(tmp_path: Path) -> None:
    """More than a hundred in a day, each decided under; two days later one is left, in force."""
    with chain(tmp_path, extra=SHORT) as store:
        for n in range(120):
            at_ms = T0 + n * SECOND_MS
            store.driven.tick(at_ms)
            assert store.tell("hello", text=f"Hello {n}")[0] == "taken"
            store.driven.take(entered(at_ms, n))
        assert len(store.named()) >= 120
        assert store.named() <= store.readable()
        assert "spring" in store.kept()
        store.driven.tick(T0 + 3 * DAY_MS)
        store.driven.take(entered(T0 + 3 * DAY_MS, 999))
        for _ in range(4):
            store.driven.idle()
        assert store.named() <= store.readable()
        assert len(store.kept()) == 2
    with chain(tmp_path, extra=SHORT, now_ms=T0 + 3 * DAY_MS) as again:
        assert len(again.kept()) == 2
        assert again.named() <= again.readable()


def test_a_name_is_free_again_once_no_decision_names_it(tmp_path: Path) -> None:
    """Until then other contents are refused under it, by a running agent and after a start."""
    with chain(tmp_path, extra=SHORT) as store:
        store.driven.take(entered(T0, 1))
        store.write(POLICY.format(version="summer", weight=2))
        store.write(POLICY.format(version="spring", weight=3))
        assert "'spring' is the name of other contents" in store.driven.agent._rule_desk.problem
        store.driven.tick(T0 + 3 * DAY_MS)
        for _ in range(4):
            store.driven.idle()
        assert set(store.kept()) == {"summer"}
        store.write(POLICY.format(version="spring", weight=3))
        assert store.driven.agent._rule_desk.problem == ""
        assert set(store.kept()) == {"spring", "summer"}


def test_the_last_good_policy_is_kept_while_its_file_is_broken(tmp_path: Path) -> None:
    """Over starts and purges: it is what the agent goes on with."""
    good = POLICY.format(version="spring", weight=2)
    with chain(tmp_path, text=good, extra=SHORT) as store:
        store.tell("hello")
    for day in (3, 6):
        with chain(tmp_path, text="broken", now_ms=T0 + day * DAY_MS, extra=SHORT) as store:
            for _ in range(4):
                store.driven.idle()
            store.driven.turn()
            assert store.driven.road.present.rules.version.startswith("spring.")
            assert store.kept()["spring"] == good


def test_long_names_that_begin_alike_stay_two_beside_hqs_campaigns(tmp_path: Path) -> None:
    """The joined name tells all contents apart, and the text of each is kept."""
    with chain(tmp_path, text=POLICY.format(version=f"{LONG}1", weight=1.5)) as store:
        store.tell("hello")
        store.driven.take(entered(T0, 1))
        store.write(POLICY.format(version=f"{LONG}2", weight=9))
        store.driven.tick(T0 + SECOND_MS)
        store.driven.take(entered(T0 + SECOND_MS, 2))
        named = {each for each in store.named() if "." in each[0]}
        assert len({version for version, _ in named}) == len({digest for _, digest in named}) == 2
        assert named <= store.readable()


def test_a_version_of_a_batch_that_was_taken_back_is_written_with_the_next(
    tmp_path: Path,
) -> None:
    """A disk that failed once leaves no decision without its rules."""
    with chain(tmp_path) as store:
        agent = store.driven.agent
        store.rules.write_text(POLICY.format(version="summer", weight=2), encoding="utf-8")
        agent._load_again(agent._rule_desk.read(), agent._rule_desk.read_shadow())
        agent._unit.roll_back()
        agent._rebuild()
        store.driven.take(entered(T0, 1))
        assert store.named() <= store.readable()
        assert store.driven.rows("SELECT value FROM meta WHERE key = 'rules_in_force'") == [
            ("summer",)
        ]
