"""Which action stands in the first place, and with exactly which probability: Thompson sampling.

What a model says of a new product or campaign rests on others like it; only showing it tells. So a
bounded share of the decisions tries what may be better than it seems, and each decision knows the
probability with which it took its action, without which nobody could work out afterwards what
another model or other rules would have got (`edge_agent.offpolicy`).

**The action** is what stands in the first place. Everything after it follows from it without
chance (order, diversity), so that the probability of the first place is that of the whole slate.

**The posterior** of an action is Beta: the model's propensity counts as `PRIOR_SHOWN` showings,
beside its own showings and answers in the window. A finite number of draws of all actions stands
for it: an action's wins are the draws in which its draw times its worth is the best. So its
probability is a count and no integral:

    P(action) = (1 - share) * [action is the best by score] + share * wins / sum of all wins

Each action wins once besides, whatever the draws say: an action that the draws pass over in one
decision and not in another would have no probability there, and estimates that divide by it would
be wrong without a sign of it. The least is therefore `share / (draws + number of actions)`.

Source: Thompson, "On the likelihood that one unknown probability exceeds another" (1933);
Chapelle and Li, "An empirical evaluation of Thompson sampling" (NeurIPS 2011).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from hashlib import blake2b
from typing import TYPE_CHECKING, Final

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from edge_agent.domain.ids import DecisionId
    from edge_agent.domain.rules import Exploration

PRIOR_SHOWN: Final = 20.0
"""Showings that the model's propensity counts as: at 2 % less than half an answer, so that what is
new stays uncertain; after 200 showings of its own they weigh ten times as much."""
# A Beta's parameters are over 0: a propensity of 0 or 1 is as sure as this, and not surer.
_LEAST_PROPENSITY: Final = 1e-4
_WORD_BYTES: Final = 8
_WORD: Final = 2**64
_SEED_BYTES: Final = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class Action:
    """What may stand in the first place.

    Attributes:
        propensity: What the model says of it, 0..1.
        worth: What an answer is worth: value x context weight x lever.
        shown: How often it stood in the first place in the window.
        answered: How often that was answered.
    """

    propensity: float
    worth: float = 1.0
    shown: int = 0
    answered: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Explored:
    """Which action was taken, and how probable each was.

    Attributes:
        taken: Its index.
        probabilities: Of each action, in their order; they sum to 1.
        is_exploring: Whether chance and not the score chose, be it the same.
    """

    taken: int
    probabilities: tuple[float, ...]
    is_exploring: bool

    @property
    def probability(self) -> float:
        """That of the action taken."""
        return self.probabilities[self.taken]


def explored(
    actions: Sequence[Action], *, exploration: Exploration, decision: DecisionId, seed: str
) -> Explored | None:
    """Returns which action stands first; the same decision and seed give the same answer.

    Args:
        actions: Those that passed every gate, best by score first, and no more than the record
            holds: a decision is taken again from it.
        exploration: The share of decisions that explore, and the draws.
        decision: Its id, which all chance is made of.
        seed: The agent's.

    Returns:
        None where there is nothing to do: exploration is off, or there are not two actions, as in
        every silence. The best by score is taken then, with probability 1.
    """
    if exploration.share <= 0 or len(actions) <= 1:
        return None
    coin, ticket, beta_seed = _chance(decision, seed)
    wins = _wins(actions, exploration.draws, beta_seed)
    total = sum(wins)
    probabilities = [exploration.share * each / total for each in wins]
    probabilities[0] += 1.0 - exploration.share
    is_exploring = coin < exploration.share * _WORD
    return Explored(
        taken=_holder_of(ticket * total // _WORD, wins) if is_exploring else 0,
        probabilities=tuple(probabilities),
        is_exploring=is_exploring,
    )


def _chance(decision: DecisionId, seed: str) -> tuple[int, int, int]:
    """Returns the coin, the ticket (both under 2^64) and the seed of the draws."""
    text = f"{seed}\x00{decision}\x00exploration"
    digest = blake2b(text.encode(), digest_size=2 * _WORD_BYTES + _SEED_BYTES).digest()
    coin, ticket = digest[:_WORD_BYTES], digest[_WORD_BYTES : 2 * _WORD_BYTES]
    return (
        int.from_bytes(coin, "big"),
        int.from_bytes(ticket, "big"),
        int.from_bytes(digest[2 * _WORD_BYTES :], "big"),
    )


def _wins(actions: Sequence[Action], draws: int, seed: int) -> list[int]:
    """Returns in how many draws each action is the best, and one more for each."""
    means = np.clip(
        [each.propensity for each in actions], _LEAST_PROPENSITY, 1.0 - _LEAST_PROPENSITY
    )
    answered = np.array([each.answered for each in actions], dtype=np.float64)
    shown = np.array([each.shown for each in actions], dtype=np.float64)
    # A purchase may be told of a showing that the window has lost already.
    missed = np.maximum(shown - answered, 0.0)
    generator = _generator()
    generator.seed(seed)
    drawn = generator.beta(
        PRIOR_SHOWN * means + answered,
        PRIOR_SHOWN * (1.0 - means) + missed,
        size=(draws, len(actions)),
    )
    best = np.argmax(drawn * np.array([each.worth for each in actions]), axis=1)
    counted: list[int] = np.bincount(best, minlength=len(actions)).tolist()
    return [each + 1 for each in counted]


@cache
def _generator() -> np.random.RandomState:
    """Returns the one generator, which every use seeds anew: to make one costs 100 times as much.

    Its stream is frozen for good (NEP 19), so that a newer numpy replays an older decision. Made
    when first explored: it adds 7 MiB.
    """
    return np.random.RandomState()


def _holder_of(ticket: int, wins: list[int]) -> int:
    """Returns whose ticket it is, when each action holds as many as it has wins."""
    for index, held in enumerate(wins):
        if ticket < held:
            return index
        ticket -= held
    return len(wins) - 1
