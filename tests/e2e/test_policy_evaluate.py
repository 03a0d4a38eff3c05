"""What other rules would have got on a recorded day: from exploration, and not without it."""

from __future__ import annotations

import json
import shutil
import sqlite3
import subprocess
from contextlib import closing
from pathlib import Path
from typing import Any, Final

import pytest

from tests.e2e.store import BUNDLE, unbroken
from tests.e2e.stream import morning
from tests.integration.commands import ran

pytestmark = pytest.mark.broker

EXPLORING: Final = 'version = "exploring"\n[exploration]\nshare = 0.5\n'
# What the store's best sellers are of counts half; dairy as it is.
OTHER: Final = 'version = "other"\n[rules.less]\ndepartments = ["GROCERY"]\nweight = 0.5\n'


@pytest.fixture(scope="module")
def explored(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What an agent left of a morning in which every second decision explored."""
    folder = tmp_path_factory.mktemp("explored")
    policy = folder / "policy.toml"
    policy.write_text(EXPLORING)
    unbroken(folder, morning(baskets=32), rules=policy)
    return folder


@pytest.fixture
def folder(explored: Path, tmp_path: Path) -> Path:
    """A copy of it, in another place and in the form that a demo leaves."""
    day = tmp_path / "day"
    day.mkdir()
    shutil.copy(explored / "agent.toml", day)
    shutil.copytree(explored / "state", day / "agent", ignore=shutil.ignore_patterns("control"))
    return day


def evaluated(folder: Path, *options: str, rules: str = "") -> tuple[int, dict[str, Any]]:
    """Returns the command's exit code and its report."""
    done = command(folder, *options, "--json", rules=rules)
    assert "Traceback" not in done.stderr
    return done.returncode, json.loads(done.stdout) if done.stdout else {"error": done.stderr}


def command(folder: Path, *options: str, rules: str = "") -> subprocess.CompletedProcess[str]:
    """Runs the command."""
    given = ["--state", str(folder), *options]
    if rules:
        path = folder / "other.toml"
        path.write_text(rules)
        given += ["--rules", str(path)]
    return ran("policy", "evaluate", *given)


def candidates(folder: Path) -> list[str]:
    """Returns every product that was ever among the candidates."""
    with closing(sqlite3.connect(folder / "agent" / "state.db")) as connection:
        records = connection.execute("SELECT record FROM decision WHERE tried IS NOT NULL")
        return sorted(
            {each[0] for (record,) in records for each in json.loads(record)["candidates"]}
        )


def tap_every_third(folder: Path) -> None:
    """Has every third first place tapped, whatever it was."""
    with closing(sqlite3.connect(folder / "agent" / "state.db")) as connection, connection:
        connection.execute(
            "INSERT INTO outcome SELECT id, 'tapped', json_extract(items, '$[0]'), at_ms"
            " FROM decision WHERE tried IS NOT NULL AND unicode(substr(id, -1)) % 3 = 0"
        )


def test_other_rules_are_estimated_from_what_was_explored(folder: Path) -> None:
    """Nearly every decision had a chance of what the others take, and is weighed by it."""
    _, report = evaluated(folder, rules=OTHER)
    assert report["rules"] == "other"
    assert report["n"] == report["explored"] > 250
    assert report["n_supported"] > 0.95 * report["n"]
    assert report["n_same"] < report["n"]
    assert 0.5 < report["mean_weight"] < 1.5
    assert set(report["estimates"]) == {"ips", "snips", "dr"}
    for each in (*report["estimates"].values(), *report["differences"].values()):
        assert each["low"] <= each["value"] <= each["high"]
    assert report["left_out"] == {
        "still_open": 0,
        "control": 0,
        "unreadable": 0,
        "rules_gone": 0,
    }


def test_what_the_day_would_have_got_without_exploring_can_be_relied_on(folder: Path) -> None:
    """Its own rules and model, of which half the log is, when enough visits tap their screens."""
    tap_every_third(folder)
    of_taps = ("--bundle", str(BUNDLE), "--reward", "tapped")
    code, report = evaluated(folder, *of_taps)
    assert (code, report["verdict"]) == (0, "enough overlap")
    assert report["n_same"] > report["n"] / 2
    assert report["effective"] > report["n"] / 3
    # Taps go by the decision's id, so that it makes no difference what stood first.
    assert report["differences"]["snips"]["low"] < 0 < report["differences"]["snips"]["high"]
    shown = command(folder, *of_taps)
    assert "verdict: enough overlap" in shown.stdout
    assert "inverse probabilities" in shown.stdout


def test_a_day_that_explored_comes_out_again(folder: Path) -> None:
    """Chance is made of what stands in the record: every decision takes the same again."""
    done = ran("replay", "--verify", folder, "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["differing"] == 0


def test_few_answers_are_told(folder: Path) -> None:
    """Of thirty visits as few bought what stood first as an interval cannot be made of."""
    code, report = evaluated(folder, "--bundle", str(BUNDLE), "--reward", "bought")
    assert (code, report["verdict"]) == (1, "too few answers")


def test_without_exploration_it_says_what_to_set(tmp_path: Path) -> None:
    """Certain decisions tell nothing of what was not taken; exit code 1."""
    unbroken(tmp_path, morning(baskets=3))
    shutil.move(tmp_path / "state", tmp_path / "agent")
    code, report = evaluated(tmp_path, rules=OTHER)
    assert (code, report["verdict"]) == (1, "too little overlap")
    assert report["explored"] == 0
    assert "`share` under [exploration]" in report["advice"]


def test_what_was_no_candidate_wants_more_candidates(folder: Path) -> None:
    """No share of exploration tries what stands below the candidates that are explored."""
    products = json.dumps(candidates(folder))
    forbidding = f'version = "other"\n[rules.none]\nproducts = {products}\nforbid = true\n'
    _, report = evaluated(folder, rules=forbidding)
    assert report["verdict"] == "too little overlap"
    assert "`n_logged_candidates` under [policy]" in report["advice"]


def test_rules_that_say_nothing_get_no_answer(folder: Path) -> None:
    """That is known without exploring, and of all decisions; what they lose is what was got."""
    tap_every_third(folder)
    code, report = evaluated(folder, rules='version = "no"\n[rules.none]\nforbid = true\n')
    assert (code, report["verdict"], report["advice"]) == (0, "enough overlap", "")
    assert report["n_silent"] == report["n_estimated"] == report["n"] > 250
    got = report["logged"]["value"]
    for name in ("ips", "snips", "dr"):
        assert report["estimates"][name] == {"value": 0.0, "low": 0.0, "high": 0.0}
        assert report["differences"][name]["value"] == pytest.approx(-got)


def test_what_the_store_did_not_say_wants_a_store_that_says_it(folder: Path) -> None:
    """No share of exploration tells what comes of words where there were none."""
    silence = ["*", "rule", "quiet"]
    with closing(sqlite3.connect(folder / "agent" / "state.db")) as connection, connection:
        connection.execute(
            "UPDATE decision SET items = '[]', record = json_set(record, '$.chosen', json('[]'),"
            " '$.request', NULL, '$.candidates', json('[]'), '$.ruled_out', json(?))"
            " WHERE tried IS NOT NULL AND unicode(substr(id, -1)) % 3 > 0",
            (json.dumps([silence]),),
        )
    code, report = evaluated(folder, rules=OTHER)
    assert (code, report["verdict"]) == (1, "too little overlap")
    assert report["no_chance"]["store_silent"] > report["n"] / 3
    assert "where the store said nothing" in report["advice"]
    none = evaluated(folder, rules='version = "no"\n[rules.none]\nforbid = true\n')[1]
    # Where neither says anything there is nothing to compare.
    assert none["n"] == report["n"] - report["no_chance"]["store_silent"]


def test_offers_that_the_store_did_not_make_want_a_store_that_makes_them(folder: Path) -> None:
    """They are other actions than their products alone; more candidates bring none of them."""
    offers = (
        'version = "offers"\n[campaigns.all]\ntext = "A third off"\nfrom = 2017-01-01\n'
        f"until = 2019-01-01\nproducts = {json.dumps(candidates(folder))}\nvalue = 1000.0\n"
    )
    report = evaluated(folder, rules=offers)[1]
    assert report["verdict"] == "too little overlap"
    assert set(report["no_chance"]) == {"no_such_offer"}
    assert "offers that the store did not make" in report["advice"]


def test_an_open_visit_is_left_out_until_its_answers_cannot_come(folder: Path) -> None:
    """Whoever is still in the store may still buy what stood first."""
    with closing(sqlite3.connect(folder / "agent" / "state.db")) as connection, connection:
        connection.execute("UPDATE visit SET ended_at_ms = NULL")
    with (folder / "agent.toml").open("a") as config:
        config.write("\n[policy]\nbought_within_s = 1_000_000\n")
    code, report = evaluated(folder, rules=OTHER)
    assert (code, report["n"]) == (1, 0)
    assert report["left_out"]["still_open"] > 250
    assert report["why"] == "nothing was logged that can be counted"
    assert "visits have ended" in report["advice"]


def test_a_fact_that_no_record_tells_is_named(folder: Path) -> None:
    """The day's rules never asked of the queue, so nobody knows what it was."""
    asking = OTHER + 'when = "queue > 3"\n'
    assert "no record tells queue" in command(folder, rules=asking).stdout


@pytest.mark.parametrize("share", [0.0, 1.0])
def test_a_control_groups_defaults_are_left_out_and_counted(folder: Path, share: float) -> None:
    """Nothing was explored there; where that is all there is, the hint is no larger share."""
    with closing(sqlite3.connect(folder / "agent" / "state.db")) as connection, connection:
        changed = connection.execute(
            "UPDATE decision SET record = json_set(record, '$.rules.missed', json('[\"c1\"]'))"
            " WHERE tried IS NOT NULL AND (?1 = 1 OR id = (SELECT min(id) FROM decision"
            " WHERE tried IS NOT NULL))",
            (share,),
        ).rowcount
    _, report = evaluated(folder, rules=OTHER)
    assert report["left_out"]["control"] == changed
    assert (report["n"] == 0) is (share == 1.0)
    assert ("lower `control_share`" in report["advice"]) is (share == 1.0)


def test_a_record_with_two_probabilities_is_left_out(folder: Path) -> None:
    """What does not fit together is no evidence, and is counted."""
    with closing(sqlite3.connect(folder / "agent" / "state.db")) as connection, connection:
        query = "SELECT id, record FROM decision WHERE tried IS NOT NULL LIMIT 1"
        decision, record = connection.execute(query).fetchone()
        told = json.loads(record)
        told["action_probability"] /= 2
        connection.execute(
            "UPDATE decision SET record = ? WHERE id = ?", (json.dumps(told), decision)
        )
    assert evaluated(folder, rules=OTHER)[1]["left_out"]["unreadable"] == 1


def test_decisions_under_rules_that_are_not_kept_any_more_are_left_out(folder: Path) -> None:
    """A bundle is evaluated under each decision's own rules, or under those that one says."""
    with closing(sqlite3.connect(folder / "agent" / "state.db")) as connection, connection:
        lost = connection.execute(
            "UPDATE decision SET record = json_set(record, '$.rules.version', 'gone')"
            " WHERE id = (SELECT min(id) FROM decision WHERE tried IS NOT NULL)"
        ).rowcount
    code, report = evaluated(folder, "--bundle", str(BUNDLE))
    assert (code in {0, 1}, report["left_out"]["rules_gone"]) == (True, lost)
    assert report["n"] > 250
    with closing(sqlite3.connect(folder / "agent" / "state.db")) as connection, connection:
        connection.execute("DELETE FROM rule_set")
    code, report = evaluated(folder, "--bundle", str(BUNDLE))
    assert (code, report["n"]) == (1, 0)
    assert report["left_out"]["rules_gone"] > 250
    assert "--rules" in report["advice"]
    assert evaluated(folder, "--bundle", str(BUNDLE), rules=EXPLORING)[1]["n"] > 250


def test_nothing_to_evaluate_is_wrong_use(folder: Path) -> None:
    """One of the two must be said."""
    done = command(folder)
    assert done.returncode == 2
    assert "--bundle" in done.stderr
