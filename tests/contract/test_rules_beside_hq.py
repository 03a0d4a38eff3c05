"""Which campaigns of a kept policy are HQ's, and other rules beside them."""

from __future__ import annotations

import sqlite3
import tomllib
import zlib
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Final

import pytest
from sqlite_utils import Database

from edge_agent import config
from edge_agent.decide.hq_campaigns import NO_FILE, joined, section_text
from edge_agent.domain.ids import CampaignId
from edge_agent.errors import ConfigError
from edge_agent.shell.rules_beside_hq import KeptTexts, kept_beside_hq, rules_beside_hq
from edge_agent.shell.schema import migrate, migrations

FILE: Final = """version = "v1"
[campaigns.ours]
text = "Ours"
products = ["1"]
from = 2017-12-01
until = 2017-12-09
"""
OTHER: Final = FILE.replace("v1", "other").replace("ours", "theirs")
SECTION: Final = {
    "text": "HQ's",
    "products": ["2"],
    "from": "2017-12-01T05:00:00Z",
    "until": "2017-12-09T05:00:00Z",
    "value": 0.5,
}
HQS: Final = {
    CampaignId("a"): section_text(SECTION),
    CampaignId("b"): section_text({**SECTION, "when": 'zone == "dairy"', "per_visitor": 2}),
}
CONFIG: Final = config.parse(
    'store = "s1"\ntimezone = "America/New_York"\ncurrency = "USD"\n'
    '[state]\ndirectory = "state"\n[zones.dairy]\n',
    name="agent.toml",
)


@pytest.fixture
def db() -> Iterator[sqlite3.Connection]:
    """An empty store's database."""
    with closing(sqlite3.connect(":memory:", isolation_level=None)) as connection:
        migrate(connection)
        yield connection


def keep(db: sqlite3.Connection, text: str) -> str:
    """Keeps a policy; returns its version."""
    version = str(tomllib.loads(text)["version"])
    row = (version, zlib.compress(text.encode()))
    db.execute("INSERT INTO rule_set (version, digest, text, since_ms) VALUES (?, 'd', ?, 0)", row)
    return version


def campaigns_at(path: Path, db: sqlite3.Connection, version: str | None) -> list[str]:
    """Returns the campaigns of a file as it would be in force where another version was."""
    beside = rules_beside_hq(path, kept=KeptTexts(db), config=CONFIG)
    told = {} if version is None else {"rules": {"version": version}}
    return [each.id for each in beside.at(told).campaigns]


@pytest.fixture
def other(tmp_path: Path) -> Path:
    """Another policy's file."""
    path = tmp_path / "other.toml"
    path.write_text(OTHER, encoding="utf-8")
    return path


@pytest.mark.parametrize("file", [tomllib.loads(FILE), NO_FILE])
def test_other_rules_are_joined_with_the_campaigns_of_then(
    db: sqlite3.Connection, other: Path, file: dict[str, object]
) -> None:
    """Those that HQ had when it was decided, beside a file or none; before, none of them."""
    keep(db, FILE)
    first = keep(db, joined(file, {CampaignId("a"): HQS[CampaignId("a")]}))
    both = keep(db, joined(file, HQS))
    assert campaigns_at(other, db, None) == ["theirs"]
    assert campaigns_at(other, db, "v1") == ["theirs"]
    assert campaigns_at(other, db, "long purged") == ["theirs"]
    assert campaigns_at(other, db, first) == ["a", "theirs"]
    assert campaigns_at(other, db, both) == ["a", "b", "theirs"]


def test_a_kept_policy_is_taken_without_hqs_campaigns(db: sqlite3.Connection) -> None:
    """So that at each decision it is joined with those of then; without a file it is none."""
    keep(db, FILE)
    both, alone = keep(db, joined(tomllib.loads(FILE), HQS)), keep(db, joined(NO_FILE, HQS))
    beside = kept_beside_hq(both, kept=KeptTexts(db), config=CONFIG)
    assert [each.id for each in beside.rules.campaigns] == ["ours"]
    assert [each.id for each in beside.at({"rules": {"version": both}}).campaigns] == [
        "a",
        "b",
        "ours",
    ]
    for version in (alone, None):
        assert kept_beside_hq(version, kept=KeptTexts(db), config=CONFIG).rules.is_neutral


def test_a_file_that_is_called_like_a_joined_one_is_a_file(
    db: sqlite3.Connection, other: Path
) -> None:
    """Its version ends as one with HQ's campaigns does, and its campaigns are the chain's."""
    keep(db, FILE)
    version = keep(db, FILE.replace("v1", "v1.0123456789ab"))
    assert campaigns_at(other, db, version) == ["theirs"]


def test_without_the_file_hqs_are_those_that_are_known_as_such(
    db: sqlite3.Connection, other: Path
) -> None:
    """The file alone may be kept no more: what HQ has now is told from the rest."""
    both = keep(db, joined(tomllib.loads(FILE), HQS))
    for name, section in HQS.items():
        db.execute("INSERT INTO campaign VALUES (?, ?, 0)", (name, section))
    assert campaigns_at(other, db, both) == ["a", "b", "theirs"]


def test_rules_that_hqs_campaigns_do_not_fit_are_told_of(
    db: sqlite3.Connection, other: Path
) -> None:
    """What was good beside the chain's file need not be beside another."""
    keep(db, FILE)
    text = section_text({**SECTION, "channels": ["fax"]})
    version = keep(db, joined(tomllib.loads(FILE), {CampaignId("a"): text}))
    with pytest.raises(ConfigError, match="HQ's campaigns of that day") as told:
        campaigns_at(other, db, version)
    assert "fax" in told.value.problems[0] or "channels" in told.value.problems[0]


def test_a_day_of_an_older_agent_is_read_as_it_was_written(other: Path) -> None:
    """Its texts are not packed; HQ's campaigns are found in them all the same."""
    with closing(sqlite3.connect(":memory:", isolation_level=None)) as db:
        migrations.apply(Database(db), stop_before="m029_rule_sets_in_use")
        whole = joined(tomllib.loads(FILE), HQS)
        version = str(tomllib.loads(whole)["version"])
        for row in (("v1", FILE), (version, whole)):
            db.execute("INSERT INTO rule_set VALUES (?, 'd', ?, 0)", row)
        assert campaigns_at(other, db, "v1") == ["theirs"]
        assert campaigns_at(other, db, version) == ["a", "b", "theirs"]
