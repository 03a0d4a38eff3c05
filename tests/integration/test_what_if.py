"""A day with control groups, caps, HQ's campaigns and HQ's contacts, asked again by `replay`."""

from __future__ import annotations

import itertools
import json
from collections import Counter
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import pytest

from edge_agent.domain.time import DAY_MS, HOUR_MS, MINUTE_MS, rfc3339_from_ms
from edge_agent.hq.keys import public_text
from edge_agent.shell.signing import DEMO_KEY_ID, demo_private_key, sign_command
from edge_agent.shell.sqlite_db import open_for_reading
from edge_agent.wire import topics
from tests.factories import T0, command
from tests.integration.commands import ran
from tests.integration.driven_agent import (
    CONFIG,
    STORE,
    DrivenAgent,
    driven_agent,
    entered,
    told,
)
from tests.integration.running_agent import BUNDLE

KEY: Final = demo_private_key()
MORE: Final = f"""
[zones.bakery]
departments = ["BAKERY"]
[screens.bakery-1]
zone = "bakery"
[model]
bundle = "{BUNDLE}"
"""
CARDS: Final = tuple({"kind": "loyalty", "value": f"640000000900{n}"} for n in range(2))
PURPOSES: Final = ["personal_recommendations", "profiling", "sending_to_hq"]
STEP_MS: Final = 6 * MINUTE_MS
STEPS: Final = 30
POLICY: Final = """version = "{version}"
[caps]
{caps}
[control]
share = {control}
slot_s = 1800
{exploration}
[campaigns.dairy]
text = "Dairy week"
products = ["1029743", "995242"]
from = 2017-01-01
until = 2018-01-01
value = 50.0
per_visitor = 2
[campaigns.bread]
kind = "service"
text = "Warm bread"
when = 'zone == "bakery"'
from = 2017-01-01
until = 2018-01-01
{more}
"""
CAPS: Final = "per_visitor_day = 12\ncooldown_s = 400\nignored_after = 2"
EXPLORATION: Final = "[exploration]\nshare = 0.3"


def policy(
    version: str, *, caps: str = CAPS, control: float = 0.4, exploration: str = "", more: str = ""
) -> str:
    """Returns a policy's text."""
    return POLICY.format(
        version=version, caps=caps, control=control, exploration=exploration, more=more
    )


@dataclass(slots=True)
class Day:
    """A short day in a store, always the same people."""

    agent: DrivenAgent
    _versions: Iterator[int] = field(default_factory=lambda: itertools.count(1))

    def hq(self, kind: str, **body: Any) -> None:
        """Has HQ command something, which is taken."""
        now_ms = self.agent.road.present.now_ms
        times = {
            "issued_at": rfc3339_from_ms(now_ms - 1),
            "expires_at": rfc3339_from_ms(now_ms + DAY_MS),
        }
        signed = sign_command(
            command(kind, body, version=next(self._versions), **times), key=KEY, key_id=DEMO_KEY_ID
        )
        self.agent.raw(topics.hq_down(STORE, kind), signed, link="hq")
        self.agent.turn()
        (*_, last) = [each for each in self.agent.for_hq() if "confirm_id" in each]
        assert (last["outcome"], last.get("reason") or "") == ("taken", "")

    def campaign(self, name: str, *, ends_at_ms: int, **definition: Any) -> None:
        """Has HQ define a campaign."""
        self.hq(
            "campaign",
            campaign=name,
            starts_at=rfc3339_from_ms(T0 - DAY_MS),
            ends_at=rfc3339_from_ms(ends_at_ms),
            products=["1082185"],
            value="80",
            currency="USD",
            text=f"{name}: HQ's offer",
            definition=definition,
        )

    def mailed(self, card: dict[str, str], *ids: str) -> None:
        """Has HQ tell late of what it sent somebody in the morning."""
        at = rfc3339_from_ms(T0 - HOUR_MS)
        rows = [{"id": each, "at": at, "channel": "e-mail", "campaign": "dairy"} for each in ids]
        self.hq("contact", visitor=card, contacts=rows)

    def come(self, at_ms: int, n: int) -> None:
        """Lets people come to both screens, and one pay for two things in one instant."""
        self.agent.tick(at_ms)
        for k, zone in enumerate(("dairy", "bakery")):
            self.agent.take(entered(at_ms + k, n % 5, zone=zone, event_id=f"t{n}{zone}"))
            card = CARDS[n % 2]
            moved = told("app-gw", "zone.entered", at_ms + k, f"a{n}{k}", visitor=card, zone=zone)
            self.agent.take(moved)
        basket = f"b{n}"
        self.agent.take(
            told("pos-2", "loyalty.scanned", at_ms + 9, f"l{n}", basket=basket, visitor=CARDS[0]),
            *(
                told(
                    "pos-2", "basket.item_added", at_ms + 10, f"i{n}{k}", basket=basket, product=k
                )
                for k in ("1095275", "995242")
            ),
        )

    def run(self) -> None:
        """Plays it: HQ's first campaign after a while, its e-mails, its second, and one ends."""
        for card in CARDS:
            consent = told(
                "desk", "consent.granted", T0, f"c{card['value']}", visitor=card, purposes=PURPOSES
            )
            self.agent.take(consent)
        happens = {
            4: lambda: self.campaign("hq-a", ends_at_ms=T0 + HOUR_MS, redeem_within_s=86_400),
            8: lambda: self.mailed(CARDS[1], "m1", "m2"),
            12: lambda: self.campaign("hq-b", ends_at_ms=T0 + DAY_MS, per_visitor=3),
            15: lambda: self.mailed(CARDS[1], "m1"),
            16: lambda: self.campaign("hq-b", ends_at_ms=T0 + DAY_MS, per_visitor=1),
        }
        for n in range(STEPS):
            self.come(T0 + n * STEP_MS, n)
            happens.get(n, lambda: None)()
        self.agent.tick(T0 + DAY_MS)


def played(folder: Path, rules: str) -> Path:
    """Plays the day under rules; returns the folder that its agent left."""
    folder.mkdir()
    path = folder / "policy.toml"
    path.write_text(rules, encoding="utf-8")
    key = public_text(KEY)
    with driven_agent(folder / "agent", rules=path, key=key, extra=MORE) as agent:
        Day(agent).run()
    top = f'rules = "{path}"\n'
    text = CONFIG.format(store=STORE, folder=folder / "agent", clock="replay", hq="", top=top)
    (folder / "agent.toml").write_text(text + MORE, encoding="utf-8")
    return folder


def rows(folder: Path, sql: str) -> list[tuple[Any, ...]]:
    """Returns rows of a day's database."""
    with closing(open_for_reading(folder / "agent" / "state.db")) as connection:
        return [tuple(row) for row in connection.execute(sql)]


def asked(folder: Path, rules: str | Path, *, version: str = "asked") -> dict[str, Any]:
    """Asks a day what it would have been; returns the report."""
    path = rules if isinstance(rules, Path) else folder / f"{version}.toml"
    if not isinstance(rules, Path):
        path.write_text(rules, encoding="utf-8")
    done = ran("replay", "--json", "--state", folder, "--with", path)
    assert done.returncode == 0, done.stderr
    report: dict[str, Any] = json.loads(done.stdout)
    return report


def assert_nothing_differs(report: dict[str, Any]) -> None:
    """Says that a day came out as it was, to the last digit."""
    assert (report["differing"], report["unknowable"]) == (0, 0), report["why"]
    assert report["was"] == report["would"]


@pytest.fixture(scope="module")
def day(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The day under the first policy."""
    return played(tmp_path_factory.mktemp("day") / "played", policy("v1", exploration=EXPLORATION))


@pytest.fixture(scope="module")
def free(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The day under campaigns that nobody is left without, and no caps."""
    rules = policy("free", caps="", control=0.0)
    return played(tmp_path_factory.mktemp("free") / "played", rules)


@pytest.fixture(scope="module")
def capped(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same with caps."""
    rules = policy("capped", control=0.0)
    return played(tmp_path_factory.mktemp("capped") / "played", rules)


def test_a_days_own_policy_asked_again_changes_nothing(day: Path) -> None:
    """The same file under another name: control groups, caps, HQ's campaigns, e-mails, chance."""
    report = asked(day, policy("v1-again", exploration=EXPLORATION))
    # Which campaigns somebody was left without follows from keys that are made anew each time.
    assert any(name.startswith("hq-") for name in report["was"]["offers"])
    assert report["was"]["silences"]["day_cap"] > 0
    arms = Counter(
        arm
        for (record,) in rows(day, "SELECT record FROM decision")
        for arm in json.loads(record)["rules"].get("arms", {}).values()
    )
    assert min(arms["control"], arms["treated"]) > 0
    assert_nothing_differs(report)


def test_the_bundle_of_the_day_changes_nothing(day: Path) -> None:
    """It decides under the chain's file that the day ended under, and HQ's campaigns of then."""
    assert_nothing_differs(asked(day, BUNDLE))


@pytest.mark.parametrize("caps", ["", "per_visitor_day = 24\ncooldown_s = 60\nignored_after = 3"])
def test_other_caps_come_out_as_they_are_played(
    free: Path, capped: Path, tmp_path: Path, caps: str
) -> None:
    """HQ's e-mails count from when HQ told of them, whether or not the day's own rules counted."""
    before = free if not caps else played(tmp_path / "loose", policy("l", caps=caps, control=0.0))
    would, really = (
        asked(before, policy("b", control=0.0)),
        asked(capped, policy("c", control=0.0)),
    )
    assert_nothing_differs(really)
    assert set(really["was"]["offers"]) == {"dairy", "bread", "hq-a", "hq-b"}
    assert really["was"]["silences"]["day_cap"] > 10
    assert would["differing"] > 10
    assert would["would"] == really["was"]


def test_an_estimate_knows_hqs_campaigns(free: Path) -> None:
    """The day's own file takes the same everywhere, where HQ's offers stood first too."""
    path = free / "again.toml"
    path.write_text(policy("free-again", caps="", control=0.0), encoding="utf-8")
    report = json.loads(
        ran("policy", "evaluate", "--state", free, "--rules", path, "--json").stdout
    )
    assert report["n"] > 50
    assert report["n_same"] == report["n"]


def test_the_file_may_name_a_campaign_as_hq_does(free: Path) -> None:
    """What a file says of a campaign holds against HQ's of the same name, as in the store."""
    own = """[campaigns.hq-b]
text = "Ours"
products = ["1029743"]
from = 2017-01-01
until = 2018-01-01
value = 500.0
"""
    report = asked(free, policy("own", caps="", control=0.0, more=own))
    assert report["would"]["offers"]["hq-b"] > report["was"]["offers"]["hq-b"]
    assert report["would"]["offers"]["hq-a"] < report["was"]["offers"]["hq-a"]


def test_a_contact_is_known_from_when_hq_first_told_of_it(day: Path) -> None:
    """Told again with what came of it, it is known no later."""
    found = rows(day, "SELECT DISTINCT at_ms, known_at_ms FROM contact")
    assert found == [(T0 - HOUR_MS, T0 + 8 * STEP_MS)]
