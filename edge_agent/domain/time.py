"""Instants as whole milliseconds since 1970-01-01T00:00:00Z, and the store's calendar.

The core and the database share this one representation: it compares, adds and sorts without
surprises, and a decision's record holds it exactly. RFC 3339 text exists on the wire only.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta, tzinfo
from typing import Final

SECOND_MS: Final = 1_000
MINUTE_MS: Final = 60_000
HOUR_MS: Final = 3_600_000
DAY_MS: Final = 86_400_000

WEEK: Final = timedelta(days=7)

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MILLISECOND: Final = timedelta(milliseconds=1)


def ms_from_datetime(instant: datetime) -> int:
    """Returns whole milliseconds since the epoch, rounded down.

    Example:
        >>> ms_from_datetime(datetime(2017, 12, 2, 10, 15, 3, 120999, tzinfo=UTC))
        1512209703120
    """
    return (instant - _EPOCH) // _MILLISECOND


def monday_of(week: int, *, near: date) -> date | None:
    """Returns the Monday of an ISO week, of the year that brings it nearest; None if it has none.

    Source: ISO 8601, week dates.

    Example:
        >>> monday_of(1, near=date(2017, 12, 28))
        datetime.date(2018, 1, 1)
    """
    found = []
    for year in (near.year - 1, near.year, near.year + 1):
        try:
            found.append(date.fromisocalendar(year, week, 1))
        except ValueError:
            # Most years have 52.
            continue
    return min(found, key=lambda monday: abs(monday - near), default=None)


def datetime_from_ms(instant_ms: int) -> datetime:
    """Returns the aware UTC datetime of an instant."""
    return _EPOCH + instant_ms * _MILLISECOND


def rfc3339_from_ms(instant_ms: int) -> str:
    """Returns an instant as RFC 3339 text with milliseconds and `Z`.

    Example:
        >>> rfc3339_from_ms(1512209703120)
        '2017-12-02T10:15:03.120Z'
    """
    return f"{datetime_from_ms(instant_ms):%Y-%m-%dT%H:%M:%S}.{instant_ms % SECOND_MS:03d}Z"


@dataclass(frozen=True, slots=True, kw_only=True)
class LocalTime:
    """What a clock on the store's wall shows."""

    day: str
    hour: int
    weekday: int
    week: int


def local_time(instant_ms: int, zone: tzinfo) -> LocalTime:
    """Returns the store-local day (ISO 8601), hour, weekday (Monday is 0) and ISO week."""
    local = datetime_from_ms(instant_ms).astimezone(zone)
    return LocalTime(
        day=local.date().isoformat(),
        hour=local.hour,
        weekday=local.weekday(),
        week=local.isocalendar().week,
    )


def local_day_start_ms(day: str, zone: tzinfo) -> int:
    """Returns the instant at which a store-local day begins: its local midnight."""
    return local_day_end_ms((date.fromisoformat(day) - timedelta(days=1)).isoformat(), zone)


def local_day_end_ms(day: str, zone: tzinfo) -> int:
    """Returns the instant at which a store-local day ends: the next local midnight."""
    following = date.fromisoformat(day) + timedelta(days=1)
    midnight = datetime(following.year, following.month, following.day, tzinfo=zone)
    return ms_from_datetime(midnight.astimezone(UTC))
