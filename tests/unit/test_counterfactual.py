"""A recorded decision as others look at it: what counts, what was possible, what is the same."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from edge_agent.domain.decisions import Decision
from edge_agent.domain.ids import ProductId
from edge_agent.domain.rules import NEUTRAL, Exploration, Rule, Rules
from edge_agent.replay.again import Knowledge
from edge_agent.replay.counterfactual import FEATURES, Lack, Row, log_of, row_of, row_of_silence
from tests.factories import campaign, entered, request, world
from tests.fakes import World

EXPLORING = Rules(version="r1", digest="d1", exploration=Exploration(share=0.5, draws=16))


def store(rules: Rules) -> World:
    """A store whose chain has rules."""
    heard = world()
    heard.rules = rules
    return heard


def others(heard: World, rules: Rules) -> Knowledge:
    """What a decision is taken again with: other rules, which explore nothing."""
    return Knowledge(
        scorer=heard.scorer,
        catalogue=heard.catalogue,
        departments=heard.catalogue.departments,
        policy=heard.policy,
        rules=replace(rules, exploration=Exploration()),
    )


def asked(heard: World, number: int = 0) -> Decision:
    """One decision for a kiosk."""
    (decision,) = heard.decisions(heard.ask(request(), cause=f"r{number}"))
    return decision


def row(
    heard: World,
    decision: Decision,
    rules: Rules,
    outcomes: tuple[tuple[str, str], ...] = (),
    *,
    reward: str = "answered",
) -> Row:
    """The decision as other rules look at it."""
    told: dict[str, Any] = json.loads(decision.record)
    return row_of(told, outcomes, others(heard, rules), reward=reward)


def test_same_rules_take_what_was_taken_unless_chance_did() -> None:
    """Without exploring, the best by score stands first; each had its logged probability."""
    heard = store(EXPLORING)
    for number in range(60):
        decision = asked(heard, number)
        record = json.loads(decision.record)
        found = row(heard, decision, EXPLORING)
        best = record["candidates"][0][0]
        assert found.is_same == (decision.chosen[0].scored.product == best)
        assert found.is_tried
        assert found.is_explored
        assert found.probability == record["action_probability"]


def test_other_rules_take_something_else_that_had_a_chance() -> None:
    """What the best one loses, the next gains."""
    heard = store(EXPLORING)
    decision = asked(heard)
    (best, *_), (second, *_) = json.loads(decision.record)["candidates"][:2]
    forbidding = Rules(
        version="r2", rules=(Rule(id="no", products=frozenset({best}), weight=0.0),)
    )
    found = row(heard, decision, forbidding)
    assert found.is_tried
    assert found.is_same == (decision.chosen[0].scored.product == second)
    assert len(found.features) == len(found.other) == len(FEATURES)


def test_what_was_never_a_candidate_had_no_chance() -> None:
    """An offer of a campaign that was not there then."""
    heard = store(EXPLORING)
    decision = asked(heard)
    campaigns = (campaign("c1", "k3", value=1_000.0),)
    found = row(heard, decision, Rules(version="r2", campaigns=campaigns))
    assert (found.is_same, found.is_tried, found.lack) == (False, False, Lack.NO_SUCH_OFFER)
    assert set(found.other) == {0.0}


def test_an_offer_is_another_action_than_its_product_alone() -> None:
    """The same product without the campaign that offered it was not what was tried."""
    offering = replace(EXPLORING, campaigns=(campaign("c1", "k3", value=1_000.0),))
    heard = store(replace(offering, exploration=Exploration()))
    decision = asked(heard)
    assert row(heard, decision, offering).is_same
    assert not row(heard, decision, EXPLORING).is_same


@pytest.mark.parametrize(("logged", "other"), [(1.0, 1.0), (1.0, 0.0), (0.0, 1.0), (0.0, 0.0)])
def test_a_control_groups_default_is_none_of_what_is_compared(logged: float, other: float) -> None:
    """In the log, or where the others would put it: nothing was tried there."""

    def sharing(share: float) -> Rules:
        offer = campaign("c1", "k3", value=1_000.0, control_share=share)
        # Another campaign has a control group of its own, so that the unit stands in the record.
        weak = campaign("c2", "k2", value=0.001, control_share=0.5)
        return replace(EXPLORING, campaigns=(offer, weak))

    heard = store(sharing(logged))
    found = row(heard, asked(heard), sharing(other))
    assert found.is_control is (logged + other > 0)
    assert not found.is_silent


@pytest.mark.parametrize(
    ("kind", "reward", "counts"),
    [
        ("bought", "answered", 1.0),
        ("tapped", "answered", 1.0),
        ("redeemed", "bought", 1.0),
        ("tapped", "bought", 0.0),
        ("bought", "tapped", 0.0),
        ("dismissed", "answered", 0.0),
        ("popular_bought", "answered", 0.0),
    ],
)
def test_only_an_answer_to_the_first_place_counts(kind: str, reward: str, counts: float) -> None:
    """Of the kind that is asked for; what stood beside it is not what was tried."""
    heard = store(EXPLORING)
    decision = asked(heard)
    first, second, *_ = (each.scored.product for each in decision.chosen)
    assert row(heard, decision, EXPLORING, ((kind, first),), reward=reward).reward == counts
    assert row(heard, decision, EXPLORING, ((kind, second),), reward=reward).reward == 0.0


def test_without_rules_a_decision_is_certain_and_tells_nothing_of_conditions() -> None:
    """The same model takes the same; what rules would have taken cannot be known."""
    heard = world()
    (decision,) = heard.decisions(heard.take(entered("dairy")))
    same = row(heard, decision, NEUTRAL)
    assert (same.probability, same.is_same, same.is_explored) == (1.0, True, False)
    other = row(heard, decision, EXPLORING)
    assert (other.is_tried, other.is_silent, other.lack) == (False, False, Lack.NO_RECORD)


FORBIDDING = Rules(version="r2", rules=(Rule(id="no", is_forbidden=True),))


def test_what_others_leave_unsaid_is_silence_and_lacks_nothing() -> None:
    """No answer comes of it, which no probability is needed for."""
    heard = store(EXPLORING)
    found = row(heard, asked(heard), FORBIDDING)
    assert (found.is_silent, found.is_tried, found.lack) == (True, False, None)
    log = log_of([found])
    assert (log.is_silent.tolist(), log.is_supported.tolist()) == ([True], [False])


def test_why_something_had_no_chance_is_told_apart() -> None:
    """Nothing was explored, or what is taken was not among what was."""
    heard = store(replace(EXPLORING, exploration=Exploration()))
    decision = asked(heard)
    (best, *_) = json.loads(decision.record)["candidates"][0]
    without = Rules(version="r2", rules=(Rule(id="no", products=frozenset({best}), weight=0.0),))
    assert row(heard, decision, without).lack is Lack.NOT_EXPLORED
    heard = store(EXPLORING)
    decision = asked(heard)
    listed = frozenset(ProductId(each[0]) for each in json.loads(decision.record)["candidates"])
    beyond = Rules(version="r2", rules=(Rule(id="no", products=listed, is_forbidden=True),))
    found = row(heard, decision, beyond)
    assert found.lack is Lack.NO_CANDIDATE


def test_where_the_store_said_nothing_only_words_of_the_others_count() -> None:
    """Nothing is known of them; where both say nothing there is nothing to compare."""
    heard = store(FORBIDDING)
    told: dict[str, Any] = json.loads(asked(heard).record)
    assert told["chosen"] == []
    assert row_of_silence(told, others(heard, FORBIDDING)) is None
    found = row_of_silence(told, others(heard, EXPLORING))
    assert found is not None
    assert (found.lack, found.is_tried, found.reward) == (Lack.STORE_SILENT, False, 0.0)
    quiet = {**told, "request": None}
    asked_for = row_of_silence(quiet, others(heard, EXPLORING))
    assert asked_for is not None
    assert asked_for.lack is Lack.STORE_SILENT


def test_rows_of_one_visit_are_one_unit() -> None:
    """Arrays have a row a decision, in order, and number the visits."""
    heard = store(EXPLORING)
    decision = asked(heard)
    one = row(heard, decision, EXPLORING)
    log = log_of([one, replace(one, unit="other", reward=1.0), one])
    assert log.units.tolist() == [0, 1, 0]
    assert log.rewards.tolist() == [0.0, 1.0, 0.0]
    assert log.features.shape == (3, len(FEATURES))
    assert log_of([]).features.shape == (0, len(FEATURES))
    assert np.all(log.probabilities == one.probability)
