"""What somebody who asks is told of answers that a screen gave to several people at once."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

import pytest

from edge_agent.domain.decisions import Decision
from edge_agent.domain.ids import ScreenId
from edge_agent.domain.policy import Retention
from edge_agent.domain.rules import Rules, Sharing
from edge_agent.shell.derived import Shop
from edge_agent.shell.held import held_of
from edge_agent.shell.person import Person
from tests.factories import PHONE, campaign, entered, world
from tests.fakes import NEW_YORK
from tests.properties.test_laws_state_store import DiskWorld

OTHER = "AC:23:3F:A0:11:33"


def mixed(heard: DiskWorld, *, share: float) -> Decision:
    """Returns what two people are told at once, of whom a share are a campaign's control group."""
    heard.rules = Rules(
        version="r1",
        digest="d1",
        campaigns=(campaign("c1", "k3", value=9.0, control_share=share),),
        sharing={ScreenId("dairy-1"): Sharing(mode="mixed")},
    )
    heard.take(entered("dairy", 0))
    (decision,) = heard.decisions(heard.take(entered("dairy", 1, who=OTHER)))
    heard.unit.commit()
    return decision


@pytest.mark.parametrize(("share", "in_place_of"), [(0.0, None), (1.0, ["c1"])])
def test_he_is_told_in_place_of_what_it_stood(
    tmp_path: Path, share: float, in_place_of: list[str] | None
) -> None:
    """As of his own answers: which campaign he did not hear, and what stood there."""
    heard = DiskWorld(tmp_path / "state.db", world())
    with closing(heard.connection):
        decision = mixed(heard, share=share)
        phone = heard.visitor("ble", PHONE)
        assert phone is not None
        held = held_of(
            Person(
                identifiers=(),
                visitors=(phone.id,),
                visits=(),
                baskets=(),
                borrowed=(),
                decisions=(),
            ),
            query=heard.unit.query,
            shop=Shop(
                state=heard.state,
                brands=lambda _products: {},
                price_levels=lambda _products: {},
                passages=frozenset(),
                zone=NEW_YORK,
            ),
            retention=Retention(),
            title_of=str,
            store="s1",
            now_ms=heard.now_ms,
        )
    (rows,) = (each["rows"] for each in held["sections"] if each["name"] == "shared")
    (told,) = rows
    assert told.get("in_place_of") == in_place_of
    assert told["campaigns"] == list(decision.campaigns)
    assert len(told["products"]) == len(decision.chosen)
