"""What a campaign does: the difference between its arms, with an interval that may be watched.

An arm is known by sufficient statistics alone: how many units, the sum of what came of them and
the sum of its squares. They add up over days and stores, so that HQ finds the same interval from
what the stores send as one store would from all their rows.

The interval is an asymptotic confidence sequence: it holds at all times at once, so that whoever
looks every hour and stops when it pleases him is wrong no more often than the level says. With
`n` units in both arms, `d` the difference of the arms' means and `v` its estimated variance,

    d +- sqrt(v * 2 (n r + 1) / (n r) * log(sqrt(n r + 1) / a))

where `a` is 1 less the level and `r` says at which `n` the interval is narrowest, `BEST_AT_UNITS`:
r = (-2 log a + log(-2 log a + 1)) / BEST_AT_UNITS. The difference of two means is asymptotically
the mean of n independent terms of variance n v, which is what the sequence asks for.

What is asymptotic holds for many units; for few of a rare outcome it does not by itself. With 5 %
in the control group and 2 % buyers, `v = s1^2/n1 + s0^2/n0` was wrong in 58 of 100 trials without
any effect: an arm without a buyer yet seems to be without variance. So `v` is never less than it
would be if both arms varied alike (the variance of both pooled), and there is no interval below
`UNITS_MIN` units an arm. So held, at most 4 of 100 were wrong in every mix that was tried
(`tests/unit/test_uplift_simulated.py`).

Units fall into the arms by chance alone, so that their numbers must agree with the share. Where
they are further from it than `UNBALANCED_ERRORS` standard errors, something decides who is counted
in which arm, and the difference may be its doing: that is told beside it (`is_balanced`).

Where the share of the control group differs, the arms are compared within each share and the
differences weighted by their units: a day with a larger share and better sales is no effect.

Source: Waudby-Smith, Arbour, Sinha, Kennedy, Ramdas, "Time-uniform central limit theory and
asymptotic confidence sequences", Annals of Statistics 52(6), 2024, 2613-2640 (arXiv:2103.06476):
the boundary is Robbins' normal mixture, `r` their rho squared in its closed approximation.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from decimal import Decimal
from typing import Final

from edge_agent.domain.decisions import CONTROL, TREATED

LEVEL: Final = 0.95
# Narrowest where a campaign of a store's week is: later is wider by little, earlier by more.
BEST_AT_UNITS: Final = 1_000
# Fewer in an arm say nothing of how it varies.
UNITS_MIN: Final = 30
MEASURES: Final = ("bought", "spend")
# Chance goes so far in fewer than one of a million looks: an alarm is no chance.
UNBALANCED_ERRORS: Final = 5.0


@dataclass(frozen=True, slots=True, kw_only=True)
class ArmTotals:
    """Sufficient statistics of one arm for one measure.

    Attributes:
        n: Units.
        total: Sum of what came of each.
        squares: Sum of its squares.
    """

    n: int = 0
    total: Decimal = Decimal(0)
    squares: Decimal = Decimal(0)

    def __add__(self, other: ArmTotals) -> ArmTotals:
        """Returns both together."""
        return ArmTotals(
            n=self.n + other.n,
            total=self.total + other.total,
            squares=self.squares + other.squares,
        )

    @property
    def mean(self) -> float:
        """What comes of a unit on average; of at least one."""
        return float(self.total / self.n)

    @property
    def deviation(self) -> float:
        """Sum of squared differences from the mean; of at least one."""
        return max(0.0, float(self.squares - self.total * self.total / self.n))


@dataclass(frozen=True, slots=True, kw_only=True)
class Effect:
    """A difference between treated and control, with its interval.

    Attributes:
        treated: Mean of the treated units, weighted over the shares.
        control: The same of the others.
        low: Lower end of the interval; None where there are too few units for one.
        high: Upper end.
    """

    treated: float
    control: float
    low: float | None = None
    high: float | None = None

    @property
    def difference(self) -> float:
        """Treated less control."""
        return self.treated - self.control

    @property
    def verdict(self) -> str:
        """`more`, `less`, `unsure`, or `too_few` units for an interval."""
        if self.low is None or self.high is None:
            return "too_few"
        if self.low > 0:
            return "more"
        return "less" if self.high < 0 else "unsure"


@dataclass(frozen=True, slots=True, kw_only=True)
class Uplift:
    """What one campaign does, by measure; there is one for campaigns with a control group alone.

    Attributes:
        n_treated: Units in the treated arm.
        n_control: Units in the other.
        effects: By measure: `bought` (share of visitors who bought) and `spend` (a visitor).
        is_balanced: Whether the arms are as large as the share of control makes them.
    """

    campaign: str
    n_treated: int
    n_control: int
    effects: dict[str, Effect]
    is_balanced: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class ArmFigures:
    """One arm of one campaign under one share of control: what leaves a store, and adds up."""

    campaign: str
    share: str
    arm: str
    totals: dict[str, ArmTotals]


def uplifts_of(figures: Iterable[ArmFigures]) -> tuple[Uplift, ...]:
    """Returns what each campaign does that both arms are known of, by campaign."""
    added: dict[str, dict[tuple[str, str], dict[str, ArmTotals]]] = defaultdict(dict)
    for each in figures:
        known = added[each.campaign].setdefault((each.share, each.arm), {})
        for measure, totals in each.totals.items():
            known[measure] = known.get(measure, ArmTotals()) + totals
    found = (_uplift(campaign, arms) for campaign, arms in sorted(added.items()))
    return tuple(each for each in found if each is not None)


def effect_of(strata: Iterable[tuple[ArmTotals, ArmTotals]]) -> Effect | None:
    """Returns the effect over strata of (treated, control); None where none has both.

    Args:
        strata: One pair for each share of control.
    """
    met = [(t, c) for t, c in strata if t.n > 0 and c.n > 0]
    if not met:
        return None
    # A share that is hardly met yet waits: it would keep the others from having an interval.
    enough = [(t, c) for t, c in met if min(t.n, c.n) >= UNITS_MIN]
    pairs = enough or met
    n = sum(t.n + c.n for t, c in pairs)
    weights = [(t.n + c.n) / n for t, c in pairs]
    treated = sum(w * t.mean for w, (t, _) in zip(weights, pairs, strict=True))
    control = sum(w * c.mean for w, (_, c) in zip(weights, pairs, strict=True))
    variance = sum(w * w * variance_of(t, c) for w, (t, c) in zip(weights, pairs, strict=True))
    if not enough or variance <= 0:
        return Effect(treated=treated, control=control)
    margin = margin_of(n, variance)
    difference = treated - control
    return Effect(
        treated=treated, control=control, low=difference - margin, high=difference + margin
    )


def variance_of(treated: ArmTotals, control: ArmTotals) -> float:
    """Returns the variance of the difference of two arms' means; infinite below two units.

    It is that of two arms that vary each in its way, or that of two that vary alike if it is more.
    """
    n1, n0 = treated.n, control.n
    if min(n1, n0) <= 1:
        return math.inf
    apart = treated.deviation / (n1 - 1) / n1 + control.deviation / (n0 - 1) / n0
    pooled = (treated.deviation + control.deviation) / (n1 + n0 - 2)
    return max(apart, pooled * (1 / n1 + 1 / n0))


def margin_of(n: int, variance: float, *, level: float = LEVEL) -> float:
    """Returns half the width of the interval.

    Args:
        n: Units in both arms.
        variance: Of the difference of the means.
        level: Probability that the interval holds the truth at all times.
    """
    alpha = 1 - level
    spread = -2 * math.log(alpha)
    r = (spread + math.log(spread + 1)) / BEST_AT_UNITS
    grown = n * r + 1
    return math.sqrt(variance * 2 * grown / (n * r) * math.log(math.sqrt(grown) / alpha))


def _uplift(campaign: str, arms: dict[tuple[str, str], dict[str, ArmTotals]]) -> Uplift | None:
    shares = sorted({share for share, _ in arms})
    none: dict[str, ArmTotals] = {}
    pairs = [(arms.get((each, TREATED), none), arms.get((each, CONTROL), none)) for each in shares]
    effects: dict[str, Effect] = {}
    for measure in MEASURES:
        nothing = ArmTotals()
        strata = [(t.get(measure, nothing), c.get(measure, nothing)) for t, c in pairs]
        effect = effect_of(strata)
        if effect is not None:
            effects[measure] = effect
    if not effects:
        return None
    first = next(iter(effects))
    counted = [
        (share, t[first].n, c[first].n)
        for share, (t, c) in zip(shares, pairs, strict=True)
        if first in t and first in c
    ]
    return Uplift(
        campaign=campaign,
        n_treated=sum(n for _, n, _ in counted),
        n_control=sum(n for _, _, n in counted),
        effects=effects,
        is_balanced=all(is_balanced(n1, n0, share=float(share)) for share, n1, n0 in counted),
    )


def is_balanced(n_treated: int, n_control: int, *, share: float) -> bool:
    """Returns whether two arms are as large as chance makes them.

    Args:
        n_treated: Units in the treated arm.
        n_control: Units in the control group.
        share: Share of control that they were drawn with, 0..1.

    Example:
        >>> is_balanced(900, 100, share=0.1), is_balanced(900, 200, share=0.1)
        (True, False)
    """
    n = n_treated + n_control
    error = math.sqrt(n * share * (1 - share))
    return abs(n_control - n * share) <= UNBALANCED_ERRORS * error
