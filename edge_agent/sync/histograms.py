"""Fixed, log-spaced buckets: histograms of different stores and days add up exactly."""

from __future__ import annotations

from bisect import bisect_right
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterable

# Upper edges in seconds, each about 1.6 x the one before; the last bucket is open.
DWELL_EDGES_S: Final = (5, 10, 15, 25, 40, 60, 100, 160, 250, 400, 600, 1_000, 1_800, 3_600)


def dwell_histogram(durations_s: Iterable[float]) -> tuple[int, ...]:
    """Returns how many durations fall into each bucket, shortest bucket first.

    Bucket `i` holds durations in `[edge[i - 1], edge[i])`.

    Example:
        >>> dwell_histogram([3.0, 5.0, 9_999.0])
        (1, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1)
    """
    counts = [0] * (len(DWELL_EDGES_S) + 1)
    for duration_s in durations_s:
        counts[bisect_right(DWELL_EDGES_S, duration_s)] += 1
    return tuple(counts)


def summed(first: tuple[int, ...], second: tuple[int, ...]) -> tuple[int, ...]:
    """Returns the histogram of both."""
    return tuple(a + b for a, b in zip(first, second, strict=True))
