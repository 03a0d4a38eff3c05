"""Thompson sampling by a finite number of draws: its probabilities are exact and replayable."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import chi2

from edge_agent.decide.exploration import Action, Explored, explored
from edge_agent.domain.ids import DecisionId
from edge_agent.domain.rules import Exploration

ACTIONS = (
    Action(propensity=0.06, shown=400, answered=25),
    Action(propensity=0.05, shown=400, answered=20),
    Action(propensity=0.04),
    Action(propensity=0.02, worth=1.5, shown=3, answered=1),
)
N_DECISIONS = 4_000
# A wrong probability is found out; one in a thousand right ones is held for wrong.
LEVEL = 0.001
# Of the first five decisions; of the first, in 136ths.
PINNED_TAKEN = [0, 3, 0, 0, 3]
PINNED_WEIGHTS = [85, 8, 8, 35]


def taken(
    number: int, actions: tuple[Action, ...] = ACTIONS, *, share: float = 0.5, draws: int = 64
) -> Explored:
    """What one decision takes."""
    result = explored(
        actions,
        exploration=Exploration(share=share, draws=draws),
        decision=DecisionId(f"decision-{number}"),
        seed="seed",
    )
    assert result is not None
    return result


@pytest.mark.parametrize("share", [0.1, 0.5, 1.0])
def test_logged_probabilities_are_those_with_which_actions_are_taken(share: float) -> None:
    """Over many decisions each action is taken as often as its probabilities add up to."""
    results = [taken(number, share=share) for number in range(N_DECISIONS)]
    observed = np.bincount([each.taken for each in results], minlength=len(ACTIONS))
    expected = np.sum([each.probabilities for each in results], axis=0)

    statistic = float(np.sum((observed - expected) ** 2 / expected))

    assert statistic < chi2.ppf(1 - LEVEL, len(ACTIONS) - 1)


def test_probabilities_are_right_within_one_set_of_draws() -> None:
    """Inverse probabilities count each action once per decision, in expectation."""
    results = [taken(number) for number in range(N_DECISIONS)]

    for action in range(len(ACTIONS)):
        weights = np.array([(r.taken == action) / r.probabilities[action] for r in results])
        error = weights.std() / np.sqrt(N_DECISIONS)
        assert abs(weights.mean() - 1.0) < 4 * error


@given(
    st.lists(
        st.builds(
            Action,
            propensity=st.floats(0, 1),
            worth=st.floats(0.01, 100),
            shown=st.integers(0, 10_000),
            answered=st.integers(0, 10_000),
        ),
        min_size=2,
        max_size=12,
    ).map(tuple),
    st.floats(0.001, 1.0),
    st.integers(1, 64),
)
def test_every_action_has_its_least_probability(
    actions: tuple[Action, ...], share: float, draws: int
) -> None:
    """Probabilities sum to one and none is under the written floor, whatever the counts say."""
    result = taken(1, actions, share=share, draws=draws)

    assert sum(result.probabilities) == pytest.approx(1.0)
    assert min(result.probabilities) >= share / (draws + len(actions)) * (1 - 1e-9)
    assert result.probabilities[0] >= 1.0 - share


def test_share_of_exploring_decisions_is_bounded() -> None:
    """As many decisions explore as the share says; all others take the best by score."""
    results = [taken(number, share=0.1) for number in range(N_DECISIONS)]

    exploring = sum(each.is_exploring for each in results)
    assert abs(exploring / N_DECISIONS - 0.1) < 4 * np.sqrt(0.1 * 0.9 / N_DECISIONS)
    assert all(each.taken == 0 for each in results if not each.is_exploring)


def test_same_decision_and_seed_take_the_same_action() -> None:
    """All chance is made of the decision's id and the seed: these are pinned for good."""
    results = [taken(number) for number in range(5)]

    assert results == [taken(number) for number in range(5)]
    assert [each.taken for each in results] == PINNED_TAKEN
    assert [round(p * 2 * 68) for p in results[0].probabilities] == PINNED_WEIGHTS


def test_what_is_little_known_is_tried_more_than_what_is_known_to_be_as_good() -> None:
    """Of two equals the one that nobody was shown yet has the wider posterior and wins more."""
    known = Action(propensity=0.03, shown=2_000, answered=60)
    best = Action(propensity=0.05, shown=2_000, answered=100)
    results = [taken(each, (best, known, Action(propensity=0.03))) for each in range(50)]

    mean = np.mean([each.probabilities for each in results], axis=0)
    assert mean[2] > 5 * mean[1]


def test_answers_move_probability_to_what_is_answered() -> None:
    """A new action that is answered often comes to win most draws."""
    new = Action(propensity=0.02)
    before = taken(1, (ACTIONS[0], new)).probabilities[1]

    after = taken(1, (ACTIONS[0], replace(new, shown=100, answered=30))).probabilities[1]

    assert after > before
    assert after > 0.45


def test_days_of_exploring_find_the_better_one_and_leave_the_worse_alone() -> None:
    """Of two new products that the model thinks alike of; trying stays within its share."""
    rng = np.random.default_rng(1)
    rates = np.array([0.05, 0.10, 0.01])
    actions = [Action(propensity=0.05, shown=500, answered=25), *[Action(propensity=0.04)] * 2]
    number, daily, n_best = 0, [], 0
    for _ in range(28):
        # A day goes by the days before it.
        shown, answered = np.zeros(3, dtype=int), np.zeros(3, dtype=int)
        for _ in range(300):
            number += 1
            first = taken(number, tuple(actions), share=0.2).taken
            shown[first] += 1
            answered[first] += int(rng.random() < rates[first])
            n_best += first == 0
        actions = [
            replace(each, shown=each.shown + int(s), answered=each.answered + int(a))
            for each, s, a in zip(actions, shown, answered, strict=True)
        ]
        daily.append(shown)

    better, worse = np.sum(daily[-7:], axis=0)[1:]
    assert better > 0.8 * 0.2 * 7 * 300
    assert worse < 0.1 * better
    assert n_best >= 0.79 * number


@pytest.mark.parametrize(("actions", "share"), [(ACTIONS, 0.0), (ACTIONS[:1], 0.5), ((), 0.5)])
def test_nothing_is_explored_when_off_or_without_a_choice(
    actions: tuple[Action, ...], share: float
) -> None:
    """Without a share, with one action or in silence there is no chance at all."""
    result = explored(
        actions, exploration=Exploration(share=share), decision=DecisionId("d"), seed="s"
    )

    assert result is None
