"""Recorded decisions as another model or other rules look at them: rows of `offpolicy.log.Log`.

Each decision is taken again (`again`) without exploration, and compared with what was taken. The
action is the first place: its product, and the campaign that offers it. Where the other says
nothing it gets no answer. Where the store said nothing and the other would, what that gets is not
known; where both say nothing there is nothing to compare.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final

import numpy as np

from edge_agent.decide.under_rules import action_of
from edge_agent.offpolicy.log import Log
from edge_agent.replay.again import Knowledge, taken_again

# Kinds of outcome that are an answer, by what is asked for.
REWARDS: Final[Mapping[str, frozenset[str]]] = {
    "bought": frozenset({"bought", "redeemed"}),
    "tapped": frozenset({"tapped"}),
    "answered": frozenset({"bought", "redeemed", "tapped"}),
}
FEATURES: Final = ("propensity", "worth", "in_basket", "history", "receipt", "offer")
"""What the reward is predicted from: moment and action as the record holds both."""


class Lack(StrEnum):
    """Why what the other takes had no probability.

    Nothing was explored; it was not among the candidates that were; its campaign was not among
    theirs, or its product was there with another or without; the store said nothing; or no record
    tells what the other's conditions ask of.
    """

    NOT_EXPLORED = "not_explored"
    NO_CANDIDATE = "no_candidate"
    NO_SUCH_OFFER = "no_such_offer"
    STORE_SILENT = "store_silent"
    NO_RECORD = "no_record"


_NOTHING: Final = (0.0,) * len(FEATURES)
_LEAST: Final = 1e-6
_CAMPAIGN: Final = 7


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One decision.

    Attributes:
        unit: The visit that it was taken in.
        reward: 1 where what stood first was answered, else 0.
        probability: With which it stood there.
        is_same: Whether the other takes the same.
        is_tried: Whether what the other takes had a probability.
        is_explored: Whether anything else had one.
        is_silent: Whether the other takes nothing at all.
        lack: Why what the other takes had no probability; None where it had one, or takes nothing.
        is_control: Whether what sells best stands there for a control group, in the log or by the
            other's rules. Nothing is tried there, so that it tells nothing of what the other takes
            elsewhere; which unit is in a control group follows from its hash and not from what it
            did, so that the rest may be looked at alone.
        features: `FEATURES` of what was taken.
        other: `FEATURES` of what the other takes; nothing where that had no probability.
    """

    unit: str
    reward: float
    probability: float
    is_same: bool
    is_tried: bool
    is_explored: bool
    is_silent: bool
    lack: Lack | None
    is_control: bool
    features: tuple[float, ...]
    other: tuple[float, ...]


def row_of(
    told: dict[str, Any], outcomes: Iterable[tuple[str, str]], known: Knowledge, *, reward: str
) -> Row:
    """Returns a recorded decision as a row.

    Args:
        told: Its record, decoded; something was chosen.
        outcomes: What became of it: kind and product.
        known: The other model and rules, which explore nothing.
        reward: A key of `REWARDS`.

    Raises:
        ValueError, KeyError, TypeError, AttributeError: It is no whole record.
    """
    taken = _first(told)
    probabilities = _probabilities(told, taken)
    # What conditions ask of was not recorded.
    is_unknown = "rules" not in told and not known.rules.is_neutral
    again = None if is_unknown else taken_again(told, known)
    is_silent = again is not None and not again.chosen
    other = action_of(again.chosen[0]) if again is not None and again.chosen else None
    kinds = REWARDS[reward]
    product = told["chosen"][0]
    is_answered = any(kind in kinds and named == product for kind, named in outcomes)
    listed = {_name(each): each for each in told["candidates"]}
    is_tried = other is not None and probabilities.get(other, 0.0) > 0
    return Row(
        unit=_unit(told),
        reward=float(is_answered),
        probability=probabilities[taken],
        is_same=other == taken,
        is_tried=is_tried,
        is_explored=len(probabilities) > 1,
        is_silent=is_silent,
        lack=None if is_tried or is_silent else _lack(other, probabilities),
        is_control=bool(told.get("rules", {}).get("missed") or (again and again.missed)),
        features=_features(told, listed[taken]),
        other=_features(told, listed[other]) if is_tried and other is not None else _NOTHING,
    )


def row_of_silence(told: dict[str, Any], known: Knowledge) -> Row | None:
    """Returns a recorded decision that said nothing as a row; None where the other says nothing.

    Args:
        told: Its record, decoded; nothing was chosen.
        known: The other model and rules.

    Raises:
        ValueError, KeyError, TypeError, AttributeError: It is no whole record.
    """
    lack, is_control = Lack.STORE_SILENT, False
    if "rules" not in told and not known.rules.is_neutral:
        if told["request"] is None:
            # Law silenced it, and silences it under any rules.
            return None
        lack = Lack.NO_RECORD
    else:
        try:
            again = taken_again(told, known)
        except ValueError:
            if told["request"] is not None:
                raise
            # A rule silenced it, so that nobody asked the model what the other would say.
        else:
            if not again.chosen:
                return None
            is_control = bool(again.missed)
    return Row(
        unit=_unit(told),
        reward=0.0,
        probability=1.0,
        is_same=False,
        is_tried=False,
        is_explored=False,
        is_silent=False,
        lack=lack,
        is_control=is_control,
        features=_NOTHING,
        other=_NOTHING,
    )


def log_of(rows: list[Row]) -> Log:
    """Returns rows as arrays."""
    numbers: dict[str, int] = {}
    n_features = len(FEATURES)
    return Log(
        rewards=np.array([each.reward for each in rows], dtype=np.float64),
        probabilities=np.array([each.probability for each in rows], dtype=np.float64),
        target=np.array([each.is_same for each in rows], dtype=np.float64),
        is_supported=np.array([each.is_tried for each in rows], dtype=np.bool_),
        is_silent=np.array([each.is_silent for each in rows], dtype=np.bool_),
        units=np.array([numbers.setdefault(each.unit, len(numbers)) for each in rows], np.int64),
        features=np.array([each.features for each in rows]).reshape(-1, n_features),
        target_features=np.array([each.other for each in rows]).reshape(-1, n_features),
    )


def _unit(told: dict[str, Any]) -> str:
    unit: str = told["visit"] or told["visitor"] or told["decision"]
    return unit


def _lack(other: str | None, probabilities: Mapping[str, float]) -> Lack:
    """Returns why an action had no probability among those that had one."""
    if other is None:
        return Lack.NO_RECORD
    if len(probabilities) == 1:
        return Lack.NOT_EXPLORED
    product, _, campaign = other.partition(" ")
    there = [each.partition(" ") for each in probabilities]
    is_known = not campaign or any(named == campaign for _, _, named in there)
    is_otherwise = any(named == product for named, _, _ in there)
    return Lack.NO_SUCH_OFFER if is_otherwise or not is_known else Lack.NO_CANDIDATE


def _first(told: dict[str, Any]) -> str:
    product: str = told["chosen"][0]
    campaign = told.get("rules", {}).get("offers", {}).get(product)
    return product if campaign is None else f"{product} {campaign}"


def _name(candidate: list[Any]) -> str:
    named = candidate[_CAMPAIGN:]
    return f"{candidate[0]} {named[0]}" if named else str(candidate[0])


def _probabilities(told: dict[str, Any], taken: str) -> dict[str, float]:
    """Returns how probable each action was that could have been taken."""
    explored = told.get("rules", {}).get("probabilities", ())
    if not explored:
        return {taken: told["action_probability"]}
    names = [_name(each) for each in told["candidates"]]
    found = dict(zip(names, explored, strict=False))
    if found[taken] != told["action_probability"]:
        raise ValueError("two probabilities for one action")
    return found


def _features(told: dict[str, Any], candidate: list[Any]) -> tuple[float, ...]:
    propensity, value, context, lever = candidate[1:5]
    request = told["request"]
    likely = min(max(propensity, _LEAST), 1 - _LEAST)
    return (
        math.log(likely / (1 - likely)),
        math.log(max(value * context * lever, _LEAST)),
        float(len(request["basket"])),
        float(bool(request["history"])),
        float(told["place"]["channel"] == "receipt"),
        float(len(candidate) > _CAMPAIGN),
    )
