"""The digest of a decision's row as it was written: of its record, and of what stands beside it.

It is no signature: it finds what was changed by mistake, by rot or by hand. Whoever makes a
digest that fits his change must also have changed what `replay --verify` finds otherwise.
"""

from __future__ import annotations

from hashlib import blake2b
from typing import TYPE_CHECKING, Any, Final, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Mapping

    from edge_agent.shell.rows import Row

COLUMNS: Final = (
    "id",
    "at_ms",
    "moment",
    "visitor",
    "visit",
    "channel",
    "place",
    "zone",
    "level",
    "items",
    "popular",
    "record",
    "campaigns",
    "missed",
    "tried",
    "member",
    "spent_us",
    "terms",
    "goods",
)
"""All columns of a decision's row but the digest, in the order in which they are digested."""
_RECORD: Final = COLUMNS.index("record")
# Of each of the two: by chance one change in 2^64 is not found.
_BYTES: Final = 8
_NONE: Final = "\x00"
_NEXT: Final = "\x1f"


class Fit(NamedTuple):
    """Whether a row is as it was written: its record, and the columns beside it."""

    record: bool
    beside: bool


def with_digest(row: Row) -> Row:
    """Returns a decision's row with its digest at the end."""
    return (*row, _digest_of(row))


def fit_of(row: Mapping[str, Any]) -> Fit | None:
    """Returns whether a row fits its digest; None where it is from before there were any."""
    digest = row.get("digest")
    if digest is None:
        # Whatever wrote the number of the goods wrote a digest too.
        return None if row.get("goods") is None else Fit(record=True, beside=False)
    made = _digest_of(tuple(row.get(name) for name in COLUMNS))
    return Fit(record=digest[:_BYTES] == made[:_BYTES], beside=digest[_BYTES:] == made[_BYTES:])


def _digest_of(row: Row) -> bytes:
    beside = _NEXT.join(
        [_NONE if each is None else str(each) for each in (*row[:_RECORD], *row[_RECORD + 1 :])]
    )
    return _hashed(str(row[_RECORD])) + _hashed(beside)


def _hashed(text: str) -> bytes:
    return blake2b(text.encode("utf-8", "surrogatepass"), digest_size=_BYTES).digest()
