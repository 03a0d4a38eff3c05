"""What another policy would have got: estimates, their intervals, and when they say nothing."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import pytest
from scipy.stats import t as reference_t

from edge_agent.decide.exploration import Action, explored
from edge_agent.domain.ids import DecisionId
from edge_agent.domain.rules import Exploration
from edge_agent.offpolicy.estimators import (
    effective_sample_size,
    inverse_probability,
    self_normalised,
)
from edge_agent.offpolicy.evaluation import ENOUGH, TOO_FEW, TOO_LITTLE, WRONG, evaluated
from edge_agent.offpolicy.intervals import student_t
from edge_agent.offpolicy.log import Flags, Floats, Ints, Log
from edge_agent.offpolicy.reward_model import predictions

N_RUNS = 500
# What is asked for is 90 %; intervals are made to be of 95 %.
LEAST_COVERAGE = 0.9
N_ACTIONS = 5
SLOPES = np.linspace(-1.0, 1.0, N_ACTIONS)


@dataclass(frozen=True, kw_only=True)
class World:
    """Visitors of one trait, five actions, and a policy that explores evenly."""

    n: int = 1_000
    share: float = 0.5
    per_visit: int = 1
    base: float = -2.2
    # Above this trait the other policy says nothing.
    quiet_from: float = np.inf

    def answer(self, trait: Floats) -> Floats:
        """How probably each action is answered, shape (n, 5)."""
        odds: Floats = np.exp(1.2 * np.outer(trait, SLOPES) + self.base)
        return odds / (1.0 + odds)

    def log(self, rng: np.random.Generator) -> Log:
        """What one run logs, as another policy looks at it."""
        n_visits = self.n // self.per_visit
        trait = np.repeat(rng.normal(size=n_visits), self.per_visit)
        rows = np.arange(len(trait))
        probable = np.full((len(trait), N_ACTIONS), self.share / N_ACTIONS)
        probable[rows, np.where(trait > 0.5, 4, 2)] += 1.0 - self.share
        action = (probable.cumsum(axis=1) > rng.random(len(trait))[:, None]).argmax(axis=1)
        # A visit that is in the mood for one thing is in the mood for the next.
        mood = np.repeat(rng.random(n_visits), self.per_visit)
        other, is_silent = choice_of(trait), trait > self.quiet_from
        return Log(
            rewards=(mood < self.answer(trait)[rows, action]).astype(np.float64),
            probabilities=probable[rows, action],
            target=((action == other) & ~is_silent).astype(np.float64),
            is_supported=~is_silent,
            is_silent=is_silent,
            units=np.repeat(np.arange(n_visits), self.per_visit),
            features=features_of(trait, action),
            target_features=features_of(trait, other),
        )

    def truth(self) -> float:
        """What the other policy gets of all visitors there are."""
        trait = np.random.default_rng(0).normal(size=1_000_000)
        answered = self.answer(trait)[np.arange(len(trait)), choice_of(trait)]
        return float(np.where(trait > self.quiet_from, 0.0, answered).mean())

    def truth_of_log(self) -> float:
        """What the logged policy gets of all visitors there are."""
        trait = np.random.default_rng(0).normal(size=1_000_000)
        rows, answer = np.arange(len(trait)), self.answer(trait)
        best = answer[rows, np.where(trait > 0.5, 4, 2)]
        return float((self.share * answer.mean(axis=1) + (1.0 - self.share) * best).mean())


def choice_of(trait: Floats) -> Ints:
    """What the other policy takes: always one action."""
    return np.where(trait > 0, 4, 0)


def features_of(trait: Floats, action: Ints) -> Floats:
    """What the reward is predicted from; it is no logistic model, and may be wrong."""
    one = np.eye(N_ACTIONS)[action]
    return np.column_stack([trait, one, one * trait[:, None]])


@pytest.mark.parametrize(
    "world",
    [
        World(),
        World(n=3_000, share=0.1),
        World(n=2_000, share=0.2, per_visit=4),
        World(n=4_000, share=0.3, base=-4.0),
        World(quiet_from=0.2),
        World(n=3_000, share=0.2, per_visit=4, quiet_from=0.8),
    ],
    ids=["much exploration", "little", "visits", "rare answers", "silences", "silent visits"],
)
def test_intervals_cover_the_truth(world: World) -> None:
    """Of 500 logs at least 450 have result and difference within each estimator's interval."""
    truth, rng = world.truth(), np.random.default_rng(1)
    more = truth - world.truth_of_log()
    covered = {"ips": 0, "snips": 0, "dr": 0}
    differing = dict(covered)
    values: list[list[float]] = []
    for _ in range(N_RUNS):
        found = evaluated(world.log(rng))
        for name, interval in found.estimates.items():
            covered[name] += interval.low <= truth <= interval.high
            difference = found.differences[name]
            differing[name] += difference.low <= more <= difference.high
        values.append([found.estimates[name].value for name in covered])

    assert min(covered.values()) >= LEAST_COVERAGE * N_RUNS, covered
    assert min(differing.values()) >= LEAST_COVERAGE * N_RUNS, differing
    bias = np.abs(np.mean(values, axis=0) - truth)
    assert np.all(bias < 4 * np.std(values, axis=0) / np.sqrt(N_RUNS) + 0.002)


def test_decisions_of_one_visit_are_one_observation() -> None:
    """Four decisions of one mood that are taken for four moods give too narrow an interval."""
    log = World(n=4_000, per_visit=4).log(np.random.default_rng(2))
    width = {
        name: each.high - each.low
        for name, each in (
            ("visits", evaluated(log).logged),
            ("decisions", evaluated(replace(log, units=np.arange(log.n))).logged),
        )
        if each is not None
    }

    assert width["visits"] > 1.3 * width["decisions"]


def test_doubly_robust_is_steadier_than_inverse_probabilities() -> None:
    """A model that is about right takes away what chance in the actions adds."""
    rng = np.random.default_rng(3)
    found = [evaluated(World().log(rng)).estimates for _ in range(50)]

    spread = {name: np.std([each[name].value for each in found]) for name in ("ips", "dr")}
    assert spread["dr"] < spread["ips"]


def test_a_difference_on_the_same_decisions_is_surer_than_two_results() -> None:
    """The other policy mostly takes what was taken: only where it does not, chance counts."""
    rng = np.random.default_rng(4)
    log = World().log(rng)
    almost = replace(log, target=log.probabilities * (1 + 0.1 * (log.target - log.probabilities)))
    found = evaluated(almost)

    difference, result = found.differences["ips"], found.estimates["ips"]
    assert difference.high - difference.low < 0.5 * (result.high - result.low)


def test_same_policy_gets_what_was_got() -> None:
    """A policy that takes every action as probably as the log did has weight one throughout."""
    log = World().log(np.random.default_rng(5))
    found = evaluated(replace(log, target=log.probabilities, target_features=log.features))

    assert found.logged is not None
    assert found.effective == pytest.approx(log.n)
    assert found.verdict == ENOUGH
    for name in ("ips", "snips", "dr"):
        assert found.estimates[name].value == pytest.approx(found.logged.value)
        assert found.differences[name].value == pytest.approx(0.0)


def test_predictions_rest_on_no_decision_of_the_same_visit() -> None:
    """Another reward of a visit changes no prediction for it, and some for others."""
    log = World(per_visit=4).log(np.random.default_rng(6))
    before, _ = predictions(log)
    own = log.units == 7
    after, _ = predictions(replace(log, rewards=np.where(own, 1.0 - log.rewards, log.rewards)))

    assert np.array_equal(before[own], after[own])
    assert not np.array_equal(before, after)


def test_without_exploration_there_is_too_little_overlap() -> None:
    """What was taken with certainty says nothing of what was not taken."""
    log = World().log(np.random.default_rng(7))
    certain = replace(
        log, probabilities=np.ones(log.n), is_supported=log.target > 0, target=log.target
    )

    found = evaluated(certain)
    assert found.verdict == TOO_LITTLE
    assert "had no chance" in found.why


def test_few_untried_differences_are_too_little_overlap_too() -> None:
    """Where everything else is the same, the estimate would always say: no difference."""
    log = World().log(np.random.default_rng(8))
    same = np.arange(log.n) >= log.n // 50
    found = evaluated(
        replace(
            log,
            probabilities=np.ones(log.n),
            target=same.astype(np.float64),
            is_supported=same,
        )
    )

    assert found.verdict == TOO_LITTLE
    assert found.why == "wherever the other takes something else, that had no chance"


@pytest.mark.parametrize(
    ("world", "verdict"),
    [
        (World(n=200, share=0.05), TOO_LITTLE),
        (World(n=1_000, base=-6.0), TOO_FEW),
        (World(n=4_000), ENOUGH),
    ],
)
def test_verdict_says_when_an_estimate_rests_on_too_little(world: World, verdict: str) -> None:
    """Few effective decisions and few answers are told apart from enough of both."""
    assert evaluated(world.log(np.random.default_rng(9))).verdict == verdict


def quieted(log: Log, is_silent: Flags) -> Log:
    """The log, as a policy looks at it that says nothing in some of its decisions."""
    return replace(
        log,
        is_silent=is_silent,
        is_supported=log.is_supported & ~is_silent,
        target=np.where(is_silent, 0.0, log.target),
    )


def test_silence_is_no_answer_in_every_estimate() -> None:
    """Who says what was said, and nothing to some, loses just what those answered."""
    log = World(n=4_000).log(np.random.default_rng(15))
    same = replace(log, target=log.probabilities, target_features=log.features)
    is_silent = log.units % 3 == 0
    found = evaluated(quieted(same, is_silent))

    assert (found.n_silent, found.n_supported) == (is_silent.sum(), log.n - is_silent.sum())
    assert found.n_estimated == log.n
    assert found.verdict == ENOUGH
    assert found.logged is not None
    assert found.logged.value == pytest.approx(log.rewards.mean())
    for name in ("ips", "snips", "dr"):
        kept = np.where(is_silent, 0.0, log.rewards).mean()
        assert found.estimates[name].value == pytest.approx(kept), name
        assert found.differences[name].high < 0, name


def test_what_says_nothing_at_all_gets_nothing_and_needs_no_overlap() -> None:
    """It is known for sure; what it loses is as unsure as what was got."""
    log = World(n=4_000).log(np.random.default_rng(16))
    found = evaluated(quieted(log, np.ones(log.n, dtype=np.bool_)))

    assert (found.verdict, found.n_supported) == (ENOUGH, 0)
    assert set(found.estimates) == {"ips", "snips", "dr"}
    assert {tuple(each) for each in found.estimates.values()} == {(0.0, 0.0, 0.0)}
    assert all(each.low < each.value < each.high < 0 for each in found.differences.values())


def test_silences_do_not_make_up_for_what_had_no_chance() -> None:
    """However much it leaves unsaid: nothing is known of the little that it says."""
    log = World(n=4_000).log(np.random.default_rng(17))
    is_silent = np.arange(log.n) >= log.n // 50
    none = replace(quieted(log, is_silent), is_supported=np.zeros(log.n, dtype=np.bool_))

    assert evaluated(none).verdict == TOO_LITTLE


def test_silences_that_few_would_have_answered_are_told_apart_by_too_few() -> None:
    """Without exploration all else is the same, and their answers are all that there is."""
    log = World(n=4_000).log(np.random.default_rng(18))
    certain = replace(log, probabilities=np.ones(log.n), target=np.ones(log.n))
    few, many = (evaluated(quieted(certain, log.units < n)) for n in (30, 2_000))

    assert (few.verdict, many.verdict) == (TOO_FEW, ENOUGH)
    assert "where the other says nothing" in few.why


def test_wrong_probabilities_are_found_out() -> None:
    """Right weights average one: a log that says half of each probability is not believed."""
    log = World(n=4_000).log(np.random.default_rng(10))

    assert evaluated(replace(log, probabilities=log.probabilities / 2)).verdict == WRONG


def test_an_empty_log_has_too_little_overlap() -> None:
    """Nothing to go by is no error."""
    log = World().log(np.random.default_rng(11))

    assert evaluated(log.only(np.zeros(log.n, dtype=np.bool_))).verdict == TOO_LITTLE


def test_clipping_is_told_and_lowers_the_estimate() -> None:
    """How many weights were cut, and at what, stands beside the result."""
    log = World(n=3_000, share=0.1).log(np.random.default_rng(12))
    clipped, whole = evaluated(log, clip=10.0), evaluated(log)

    assert (whole.clip, whole.n_clipped) == (None, 0)
    assert clipped.clip == 10.0
    assert clipped.n_clipped == int(np.count_nonzero(log.weights > 10.0)) > 0
    assert clipped.estimates["ips"].value < whole.estimates["ips"].value


def test_arrays_of_other_lengths_are_refused() -> None:
    """A log whose columns do not belong together is no log."""
    log = World().log(np.random.default_rng(13))

    with pytest.raises(ValueError, match="one length"):
        replace(log, rewards=log.rewards[1:])
    with pytest.raises(ValueError, match="over 0"):
        replace(log, probabilities=np.zeros(log.n))
    with pytest.raises(ValueError, match="takes no action"):
        replace(log, is_silent=log.target > 0)


@pytest.mark.parametrize("freedom", [4, 5, 10, 30, 1_000])
def test_quantiles_of_student_s_t(freedom: int) -> None:
    """The series is within one percent of a reference."""
    assert student_t(freedom) == pytest.approx(float(reference_t.ppf(0.975, freedom)), rel=0.01)


def test_self_normalised_estimate_ignores_the_scale_of_weights() -> None:
    """Twice the weights change nothing, where inverse probabilities would double."""
    rewards, weights = np.array([0.0, 1.0, 1.0]), np.array([1.0, 2.0, 0.5])

    assert self_normalised(rewards, 2 * weights).value == self_normalised(rewards, weights).value
    assert inverse_probability(rewards, 2 * weights).value == pytest.approx(5 / 3)
    assert effective_sample_size(2 * weights) == pytest.approx(effective_sample_size(weights))


def test_logged_exploration_tells_what_another_choice_would_have_got() -> None:
    """Thompson's exact probabilities, logged one by one, lead to the truth about a new product."""
    rng = np.random.default_rng(14)
    actions = (Action(propensity=0.3, shown=100, answered=30), Action(propensity=0.2))
    rates = np.array([0.3, 0.5])
    results = [
        explored(
            actions,
            exploration=Exploration(share=0.3, draws=16),
            decision=DecisionId(f"decision-{number}"),
            seed="seed",
        )
        for number in range(2_000)
    ]
    taken = np.array([each.taken for each in results if each is not None])
    n = len(taken)
    found = evaluated(
        Log(
            rewards=(rng.random(n) < rates[taken]).astype(np.float64),
            probabilities=np.array([each.probability for each in results if each is not None]),
            target=(taken == 1).astype(np.float64),
            is_supported=np.ones(n, dtype=np.bool_),
            is_silent=np.zeros(n, dtype=np.bool_),
            units=np.arange(n),
            features=np.eye(2)[taken],
            target_features=np.tile([0.0, 1.0], (n, 1)),
        )
    )

    assert found.verdict == ENOUGH
    for name, interval in found.estimates.items():
        assert interval.low <= 0.5 <= interval.high, name
        assert found.differences[name].low > 0
