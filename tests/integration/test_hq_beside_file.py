"""HQ's campaigns beside the chain's file: all of both, or the change is refused and told."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

import pytest

from edge_agent.domain.time import DAY_MS, HOUR_MS
from edge_agent.shell.health import read_health
from tests.factories import T0
from tests.integration.test_rules_kept import Chain, chain

# As many campaigns as a policy may have.
MOST: Final = 200
N_OF_FILE: Final = 150
N_OF_HQ: Final = 60


def policy(version: str, n: int, *, name: str = "f") -> str:
    """Returns a policy of so many campaigns, for a zone where nobody comes."""
    one = (
        '[campaigns.{name}{n}]\nkind = "content"\ntext = "t"\nfrom = 2017-01-01\n'
        "until = 2019-01-01\nwhen = 'zone == \"entrance\"'\n"
    )
    sections = "".join(one.format(name=name, n=n) for n in range(n))
    return f'version = "{version}"\n{sections}'


def in_force(store: Chain) -> tuple[str, int]:
    """Returns the file's version in force, and how many campaigns are."""
    rules = store.driven.road.present.rules
    return rules.version.partition(".")[0], len(rules.campaigns)


def problems(store: Chain) -> tuple[str, ...]:
    """Returns what the agent's state, and HQ, is told of rules."""
    told: tuple[str, ...] = store.driven.agent._problems()
    return tuple(each for each in told if each not in {"no_model", "clock_wrong"})


def health(folder: Path) -> Any:
    """Returns what `edge-agent status` reads."""
    return read_health(folder / "s" / "state.db")


def test_a_file_that_leaves_no_room_for_hqs_campaigns_is_refused(tmp_path: Path) -> None:
    """What was in force goes on as a whole, over a start too; a file with room is taken."""
    with chain(tmp_path, text=policy("v1", 100)) as store:
        for n in range(N_OF_HQ):
            assert store.tell(f"hq{n}")[0] == "taken"
        assert in_force(store) == ("v1", 100 + N_OF_HQ)
        store.write(policy("v2", N_OF_FILE))
        assert in_force(store) == ("v1", 100 + N_OF_HQ)
        assert problems(store) == ("rules_refused",)
        assert "together with HQ's campaigns" in health(tmp_path).rules.problem
        assert str(MOST) in health(tmp_path).rules.problem
    with chain(tmp_path, text=policy("v2", N_OF_FILE)) as store:
        assert in_force(store) == ("v1", 100 + N_OF_HQ)
        assert problems(store) == ("rules_refused",)
        store.write(policy("v3", MOST - N_OF_HQ))
        assert in_force(store) == ("v3", MOST)
        assert problems(store) == ()
        assert health(tmp_path).rules.problem is None


def test_campaigns_of_hq_that_are_over_stand_in_no_files_way(tmp_path: Path) -> None:
    """Nothing that is said would end; HQ's next campaign has their room too."""
    with chain(tmp_path, text=policy("v1", 100)) as store:
        for n in range(N_OF_HQ):
            store.tell(f"hq{n}", ends_day=0 if n else 9)
        store.driven.tick(T0 + HOUR_MS)
        store.write(policy("v2", N_OF_FILE))
        assert in_force(store) == ("v2", N_OF_FILE + 1)
        assert problems(store) == ()
        assert store.tell("another")[0] == "taken"
        assert in_force(store) == ("v2", N_OF_FILE + 2)


def test_where_no_policy_goes_on_the_file_holds_and_hq_hears(tmp_path: Path) -> None:
    """What it forbids is forbidden, so HQ's campaigns are left out; room brings them back."""
    with chain(tmp_path, text="broken") as store:
        for n in range(N_OF_HQ):
            store.tell(f"hq{n}")
        assert in_force(store) == ("hq", N_OF_HQ)
        store.write(policy("v1", N_OF_FILE))
        assert in_force(store) == ("v1", N_OF_FILE)
        assert problems(store) == ("hq_campaigns_unused",)
        assert str(MOST) in health(tmp_path).hq_campaigns_problem
        told = store.driven.agent._gateway_state(T0 + DAY_MS)
        assert "hq_campaigns_unused" in told.problems
        store.write(policy("v2", N_OF_FILE + 1))
        assert in_force(store) == ("v2", N_OF_FILE + 1)
        store.write(policy("v3", 1))
        assert in_force(store) == ("v3", 1 + N_OF_HQ)
        assert problems(store) == ()
        assert health(tmp_path).hq_campaigns_problem is None


@pytest.mark.parametrize("starts", [False, True])
def test_a_name_that_the_file_takes_from_hq_is_told(tmp_path: Path, *, starts: bool) -> None:
    """The file's holds, as it always did; HQ hears that its own is not said any more."""
    later = policy("v2", 1, name="hq")
    with chain(tmp_path, text=policy("v1", 1)) as store:
        store.tell("hq0")
        assert problems(store) == ()
        if not starts:
            store.write(later)
            assert problems(store) == ("hq_campaigns_unused",)
    with chain(tmp_path, text=later) as store:
        assert in_force(store) == ("v2", 1)
        assert problems(store) == ("hq_campaigns_unused",)
        assert health(tmp_path).hq_campaigns_problem.endswith("of these names: hq0")
        store.write(policy("v3", 1))
        assert problems(store) == ()
