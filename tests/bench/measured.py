"""What a measurement returns: figures of alternating rounds, their baseline, and the aim."""

from __future__ import annotations

import statistics
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final, Literal, Protocol

from typing_extensions import override

from tests.bench.setting import Setting

DECIMALS: Final = 2
# Under this, two decimals hide the figure.
SMALL: Final = 1.0


@dataclass(frozen=True, slots=True)
class Spread:
    """Median, least and most of the rounds."""

    median: float
    least: float
    most: float

    @override
    def __str__(self) -> str:
        """Returns the median, with the range behind it if there is one."""
        if self.least == self.most:
            return number(self.median)
        return f"{number(self.median)} ({number(self.least)}-{number(self.most)})"


@dataclass(frozen=True, slots=True)
class Aim:
    """What is aimed at, of the ratio where there is a baseline, else of the figure itself."""

    at: Literal["least", "most"]
    limit: float

    def is_met_by(self, figure: float) -> bool:
        """Tells whether a figure is on the right side."""
        return figure >= self.limit if self.at == "least" else figure <= self.limit

    @override
    def __str__(self) -> str:
        """Returns the aim as it stands in a table."""
        return f"{'≥' if self.at == 'least' else '≤'} {number(self.limit)}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """One line of the table.

    Attributes:
        name: What was measured.
        unit: Of the values and of the baseline's.
        values: One figure a round.
        baseline: The baseline's figure of the same rounds, in the same order; may be empty.
        against: What the baseline is.
        aim: What is aimed at; None where nothing is.
        note: What a reader must know to read the figure right.
        explain: Returns the text that shows where the time or space goes.
    """

    name: str
    unit: str
    values: tuple[float, ...]
    baseline: tuple[float, ...] = ()
    against: str = ""
    aim: Aim | None = None
    note: str = ""
    explain: Callable[[], str] | None = None

    @property
    def value(self) -> Spread:
        """The figure over the rounds."""
        return _spread(self.values)

    @property
    def base(self) -> Spread | None:
        """The baseline over the rounds."""
        return _spread(self.baseline) if self.baseline else None

    @property
    def ratio(self) -> Spread | None:
        """Figure by baseline, round by round."""
        if not self.baseline:
            return None
        pairs = zip(self.values, self.baseline, strict=True)
        return _spread(tuple(ours / theirs for ours, theirs in pairs))

    @property
    def is_met(self) -> bool | None:
        """Whether the median meets the aim; None without one."""
        if self.aim is None:
            return None
        return self.aim.is_met_by((self.ratio or self.value).median)

    def document(self) -> dict[str, Any]:
        """Returns it as it goes into the JSON file."""
        ratio = self.ratio
        return {
            "name": self.name,
            "unit": self.unit,
            "values": list(self.values),
            "against": self.against,
            "baseline": list(self.baseline),
            "ratio": None
            if ratio is None
            else {"median": ratio.median, "min": ratio.least, "max": ratio.most},
            "aim": None if self.aim is None else str(self.aim),
            "met": self.is_met,
            "note": self.note,
        }


class Measurement(Protocol):
    """What a module of this package offers to be run."""

    TITLE: str

    def measure(self, setting: Setting) -> tuple[Measured, ...]:
        """Measures, and returns the lines of the table."""
        ...


def number(value: float) -> str:
    """Returns a figure as it stands in a table.

    Example:
        >>> number(12345.6), number(12.345), number(0.1234)
        ('12,346', '12.35', '0.123')
    """
    thousand = 1_000
    if abs(value) >= thousand:
        return f"{value:,.0f}"
    decimals = DECIMALS + 1 if abs(value) < SMALL else DECIMALS
    return f"{value:.{decimals}f}".rstrip("0").rstrip(".")


def _spread(values: tuple[float, ...]) -> Spread:
    return Spread(statistics.median(values), min(values), max(values))
