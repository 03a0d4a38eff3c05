"""A line of the report: what must hold, whether it does, what came, where it is written."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final, Literal

Verdict = Literal["ok", "wrong", "not tried"]
# So many faults of one kind are told; the others are counted.
FAULTS_SHOWN: Final = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """What became of one check.

    Attributes:
        check: The check's name.
        expected: What must hold, in a sentence.
        came: What was seen, or why nothing was tried.
        place: Where the contract says so.
    """

    check: str
    verdict: Verdict
    expected: str
    came: str
    place: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """Something that must hold, and where the contract says so."""

    name: str
    expected: str
    place: str

    def ok(self, came: str) -> Finding:
        """Returns that it holds."""
        return self._found("ok", came)

    def wrong(self, came: str) -> Finding:
        """Returns that it does not hold."""
        return self._found("wrong", came)

    def not_tried(self, why: str) -> Finding:
        """Returns that nobody knows whether it holds."""
        return self._found("not tried", why)

    def judged(self, faults: Iterable[str], *, else_ok: str) -> Finding:
        """Returns wrong with the first faults, or that it holds."""
        listed = list(dict.fromkeys(faults))
        if not listed:
            return self.ok(else_ok)
        more = len(listed) - FAULTS_SHOWN
        shown = "; ".join(listed[:FAULTS_SHOWN])
        return self.wrong(shown + (f"; and {more} more" if more > 0 else ""))

    def _found(self, verdict: Verdict, came: str) -> Finding:
        return Finding(
            check=self.name, verdict=verdict, expected=self.expected, came=came, place=self.place
        )


def counted(n: int, noun: str) -> str:
    """Returns how many there are of something.

    Example:
        >>> counted(1, "basket"), counted(2, "basket")
        ('1 basket', '2 baskets')
    """
    return f"{n} {noun}" if n == 1 else f"{n} {noun}s"


def exit_code(findings: Iterable[Finding]) -> int:
    """Returns 1 when anything is wrong, else 0.

    Example:
        >>> exit_code([Check(name="a", expected="b", place="c").not_tried("nobody asked")])
        0
    """
    return int(any(each.verdict == "wrong" for each in findings))
