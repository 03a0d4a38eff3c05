"""A recorded day decided again under other rules: what comes out is what those rules really do."""

from __future__ import annotations

import json
from contextlib import closing
from pathlib import Path
from typing import Any, Final

import pytest

from edge_agent.shell.sqlite_db import open_for_reading
from tests.e2e.store import BUNDLE, running_store
from tests.e2e.stream import Morning, morning
from tests.integration.commands import ran

pytestmark = pytest.mark.broker

BASKETS: Final = 12
# Nothing in it rests on what a record without rules does not hold: queues, who is known, arms; nor
# on how often a screen goes back to its default, which follows from what it showed.
RULES: Final = """
version = "other"

[caps]
per_visitor_day = 9
cooldown_s = 45
ignored_after = 3

[margins]
"PRODUCE" = 1.5

[rules.no-frozen]
when = 'channel == "screen" && zone == "produce"'
departments = ["DAIRY", "FROZEN"]
forbid = true

[rules.bread]
departments = ["BAKERY"]
weight = 1.4

[rules.dear]
when = 'channel == "screen"'
price_from = 5.00
forbid = true

[rules.little-dairy]
departments = ["DAIRY", "PRODUCE"]
price_below = 1.50
weight = 1.2

[campaigns.milk]
text = "Milk week"
from = 2017-12-01
until = 2017-12-31
products = ["1029743", "995242", "1082185"]
value = 2.5
per_visitor = 2

[campaigns.hello]
kind = "service"
text = "The bakery has fresh bread at five"
from = 2017-12-01
until = 2017-12-31
channels = ["screen"]
when = "basket_size == 0"
per_visitor = 1
"""
_SAID: Final = """
    SELECT record FROM decision WHERE visitor IS NOT NULL AND channel != 'staff' ORDER BY id
"""


def recorded(folder: Path, day: Morning, *, rules: str | None = None) -> Path:
    """Plays a morning, under rules or none, and returns the folder that its agent left."""
    with running_store(folder) as store:
        if rules is not None:
            path = folder / "policy.toml"
            path.write_text(rules)
            config = store.agent.config
            config.write_text(f'rules = "{path}"\n{config.read_text()}')
        store.start_agent()
        store.open_day(day)
        store.publish(day.day)
        store.close_day()
    (folder / "state").rename(folder / "agent")
    return folder


@pytest.fixture(scope="module")
def day() -> Morning:
    """A short morning."""
    return morning(baskets=BASKETS)


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory, day: Morning) -> Path:
    """The morning as it was without rules."""
    return recorded(tmp_path_factory.mktemp("plain"), day)


@pytest.fixture(scope="module")
def ruled(tmp_path_factory: pytest.TempPathFactory, day: Morning) -> Path:
    """The morning as it was under rules."""
    return recorded(tmp_path_factory.mktemp("ruled"), day, rules=RULES)


def asked(folder: Path, other: Path) -> dict[str, Any]:
    """Runs the command on a recorded morning and returns its report."""
    done = ran("replay", "--json", "--state", folder, "--with", other)
    assert done.returncode == 0, done.stderr
    report: dict[str, Any] = json.loads(done.stdout)
    return report


def records_in(folder: Path) -> list[dict[str, Any]]:
    """Returns the records of what was decided for somebody, in order."""
    with closing(open_for_reading(folder / "agent" / "state.db")) as connection:
        return [json.loads(record) for (record,) in connection.execute(_SAID)]


def test_a_day_comes_out_as_the_rules_really_decide_it(
    plain: Path, ruled: Path, tmp_path: Path
) -> None:
    """Asked of a day without rules, or played under them: the same is said to the same people."""
    policy = tmp_path / "policy.toml"
    policy.write_text(RULES)
    would = asked(plain, policy)
    assert would["would"]["offers"]["milk"] > 5
    assert would["would"]["silences"]["day_cap"] > 0
    really = asked(ruled, policy)
    assert really["differing"] == 0
    assert really["was"] == really["would"]
    assert really["unknowable"] == 0
    assert would["would"] == really["was"]


def test_the_same_model_changes_nothing(plain: Path) -> None:
    """With the bundle that decided, every answer is the one that was given."""
    report = asked(plain, BUNDLE)
    assert report["decisions"] > 100
    assert report["differing"] == 0
    assert report["was"] == report["would"]
    assert report["was"]["contacts"] == sum(bool(record["chosen"]) for record in records_in(plain))


def test_another_bundle_decides_under_the_rules_of_the_day(ruled: Path) -> None:
    """With the bundle that decided, a day under rules comes out as it was, campaigns and all."""
    report = asked(ruled, BUNDLE)
    assert report["was"]["offers"]["milk"] > 5
    assert report["differing"] == 0
    assert report["was"] == report["would"]


def test_what_differs_is_told_with_its_reason(plain: Path, tmp_path: Path) -> None:
    """A department that is forbidden leaves every answer, and each change says why."""
    policy = tmp_path / "policy.toml"
    department = "GROCERY"
    policy.write_text(f'version = "f"\n[rules.f]\ndepartments = ["{department}"]\nforbid = true\n')
    report = asked(plain, policy)
    assert report["why"]["ruled out: rule"] > 0
    ruled_out = [each for each in report["changes"] if each["why"] == "ruled out: rule"]
    assert all(set(each["was"]["products"]) - set(each["would"]["products"]) for each in ruled_out)


def test_neither_a_day_nor_rules_alone_is_enough(plain: Path, tmp_path: Path) -> None:
    """What is missing is said, without a trace of Python."""
    for options in (["--state", str(plain)], ["--with", str(tmp_path)]):
        done = ran("replay", *options)
        assert done.returncode == 2
        assert "--state DIR and --with" in done.stderr
        assert "Traceback" not in done.stderr
