"""Logged decisions as arrays: what an estimate of another policy rests on, and nothing else.

A row is one decision. **The action** is what stood in its first place: see `decide.exploration`.
Where the other policy says nothing, what it gets is known without a log: no answer, which is 0.
"""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from typing import TYPE_CHECKING, TypeAlias

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from typing import Self

Floats: TypeAlias = NDArray[np.float64]
Ints: TypeAlias = NDArray[np.int64]
Flags: TypeAlias = NDArray[np.bool_]


@dataclass(frozen=True, slots=True, kw_only=True)
class Log:
    """Decisions under one policy, and how another one looks at them.

    Attributes:
        rewards: What became of each, 0..1; float64, shape (n,).
        probabilities: With which the action was taken, over 0; float64, shape (n,).
        target: With which the other policy takes that same action; float64, shape (n,).
        is_supported: Whether whatever the other policy takes there had a probability; bool, (n,).
        is_silent: Whether the other policy takes nothing there, and so cannot be answered; bool,
            shape (n,).
        units: Decisions of one unit (a visit) share their fate; int64, shape (n,).
        features: Of moment and action, what a reward is predicted from; float64, shape (n, d).
        target_features: The same as the other policy expects them, float64, shape (n, d).
    """

    rewards: Floats
    probabilities: Floats
    target: Floats
    is_supported: Flags
    is_silent: Flags
    units: Ints
    features: Floats
    target_features: Floats

    def __post_init__(self) -> None:
        """Refuses arrays that do not fit together.

        Raises:
            ValueError: Lengths differ, an action that was taken had no probability, or what says
                nothing takes something.
        """
        n = len(self.rewards)
        if any(len(getattr(self, field.name)) != n for field in fields(self)):
            raise ValueError("arrays of a log have one length")
        if n and float(self.probabilities.min()) <= 0:
            raise ValueError("an action that was taken has a probability over 0")
        if np.any(self.is_silent & ((self.target > 0) | self.is_supported)):
            raise ValueError("where the other policy says nothing it takes no action")

    @property
    def n(self) -> int:
        """How many decisions."""
        return len(self.rewards)

    @property
    def weights(self) -> Floats:
        """How much likelier the other policy takes the action, float64, shape (n,)."""
        ratio: Floats = self.target / self.probabilities
        return ratio

    def only(self, rows: Flags) -> Self:
        """Returns some of the rows."""
        return replace(
            self, **{field.name: getattr(self, field.name)[rows] for field in fields(self)}
        )
