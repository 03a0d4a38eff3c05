"""The agent's own settings that decisions rest on: kept once, and found again by their number."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

import pytest

from edge_agent.config import Config
from edge_agent.domain.policy import Policy
from edge_agent.shell.sqlite_db import open_for_reading, open_for_writing
from edge_agent.shell.terms import kept_terms, noted


def config(**told: object) -> Config:
    """Returns a store's configuration."""
    zones = {"dairy": {"departments": ("DAIRY",)}, "till": {}}
    return Config.model_validate(
        {"store": "s1", "timezone": "America/New_York", "zones": zones, **told}, strict=False
    )


def test_the_same_terms_have_one_number(tmp_path: Path) -> None:
    """However often the agent starts; what no decision rests on makes no others."""
    with closing(open_for_writing(tmp_path / "state.db")) as connection:
        first = noted(connection, config())
        assert noted(connection, config(log_level="debug", locale="de")) == first
        assert noted(connection, config(timezone="Europe/Berlin")) != first
        assert noted(connection, config()) == first


def test_terms_come_back_as_they_were(tmp_path: Path) -> None:
    """Numbers, what zones sell and the time zone; all else is what the file says by now."""
    path = tmp_path / "state.db"
    policy = Policy(n_logged_candidates=7, sensitive_departments=("WINE",))
    with closing(open_for_writing(path)) as connection:
        number = noted(connection, config(policy=policy))
    now = config(
        timezone="Europe/Berlin", zones={"till": {"departments": ("COUPON",)}}, locale="de"
    )
    with closing(open_for_reading(path)) as connection:
        then = kept_terms(connection, now)[number or 0]
    assert then.policy == policy
    assert then.timezone == "America/New_York"
    assert {name: each.departments for name, each in then.zones.items()} == {
        "dairy": ("DAIRY",),
        "till": (),
    }
    assert then.locale == "de"


def test_a_disk_that_takes_nothing_keeps_no_agent_from_starting(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Its decisions name no terms; it warns of that, in a line without a trace."""
    path = tmp_path / "state.db"
    open_for_writing(path).close()
    with closing(open_for_reading(path)) as connection:
        assert noted(connection, config()) is None
    (told,) = caplog.records
    assert (told.getMessage(), told.levelname) == ("terms_not_kept", "WARNING")
    assert told.exc_info is None
