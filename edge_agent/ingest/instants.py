"""When something happened, as devices write it: numbers since 1970, ISO 8601, and other forms.

Nothing here reads a clock: the arrival time is handed in, and takes the place of a time that is
absent, unreadable or impossible.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta, timezone, tzinfo
from decimal import Decimal
from functools import lru_cache
from typing import Any, Final, Literal, NamedTuple
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from edge_agent.domain.time import DAY_MS, SECOND_MS, datetime_from_ms, ms_from_datetime
from edge_agent.ingest.conversions import NotConvertible, exact, number_of

# Devices without a battery-backed clock start in 1970, or at a maker's date of up to 2000.
EARLIEST_MS: Final = 946_771_200_000  # 2000-01-02T00:00:00Z
FUTURE_MS: Final = DAY_MS
_US: Final = {
    "s": Decimal(1_000_000),
    "ms": Decimal(1_000),
    "us": Decimal(1),
    "ns": Decimal("0.001"),
}
_MILLISECOND_US: Final = 1_000
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND: Final = timedelta(microseconds=1)
_TEXT_MAX: Final = 64
# The same field is a number in one release of a device and a text in the next.
_ISO: Final = re.compile(r"\s*[0-9]{4}-[0-9]{2}-[0-9]{2}[Tt ]")
_UTC_NAMES: Final = re.compile(r" ?(?:z|utc|gmt)$", re.IGNORECASE)
_LEAP: Final = re.compile(r"(:[0-5][0-9]:)60(?![0-9])")
_DAYS_END: Final = re.compile(r"^(\d{4}-\d\d-\d\d[Tt ])24:00(?=(?::00(?:[.,]0+)?)?(?![0-9:]))")
# A zone as an offset from UTC: "UTC+8:00", "GMT-3", "+0530".
_OFFSET: Final = re.compile(r"(?:UTC|GMT)?([+-])([0-9]{1,2}?):?([0-9]{2})?")


class Moment(NamedTuple):
    """An instant, why it is the arrival's if it is, and its microseconds beyond `at_ms`.

    All that decides goes by whole milliseconds; the rest is told on, as the device said it.
    """

    at_ms: int
    replaced: Literal["absent", "unreadable", "impossible"] | None = None
    beyond_us: int = 0


def moment_of(
    value: Any,
    *,
    received_at_ms: int,
    unit: str | None = None,
    form: str | None = None,
    zone: str | None = None,
    fold: str = "nearest",
    max_age_days: float | None = None,
) -> Moment:
    """Returns the instant that a device means.

    Args:
        value: A number, a text, or None.
        received_at_ms: Arrival, on the gateway's clock.
        unit: Unit of a number since 1970, whose text may be ISO 8601 all the same; None for texts.
        form: `strptime` form of a text that is not ISO 8601.
        zone: Name of the zone of a text without one.
        fold: Which of two equal local times is meant.
        max_age_days: Oldest time that is believed.
    """
    if value is None or value == "":
        return Moment(received_at_ms, "absent")
    try:
        at_us = _instant(value, unit, form, zone, fold, received_at_ms)
    except (NotConvertible, ValueError, OverflowError, KeyError, OSError):
        return Moment(received_at_ms, "unreadable")
    at_ms, beyond_us = divmod(at_us, _MILLISECOND_US)
    oldest_ms = EARLIEST_MS
    if max_age_days is not None:
        oldest_ms = max(oldest_ms, received_at_ms - round(max_age_days * DAY_MS))
    if not oldest_ms <= at_ms <= received_at_ms + FUTURE_MS:
        return Moment(received_at_ms, "impossible")
    return Moment(at_ms, None, beyond_us)


def seconds_since_1970(value: Any) -> Decimal:
    """Returns an ISO 8601 text with a zone as seconds since 1970, for differences.

    Raises:
        NotConvertible: It is no such text.
    """
    try:
        found = _iso(str(value).strip()[:_TEXT_MAX])
    except ValueError:
        raise NotConvertible("not a time") from None
    if found.tzinfo is None:
        # Differences of two local times need no zone.
        found = found.replace(tzinfo=UTC)
    return Decimal(ms_from_datetime(found)) / 1_000


def _instant(
    value: Any,
    unit: str | None,
    form: str | None,
    zone: str | None,
    fold: str,
    received_at_ms: int,
) -> int:
    if unit is not None and not (isinstance(value, str) and _ISO.match(value)):
        number = number_of(value)
        if isinstance(number, int) and unit in {"s", "ms"}:
            return number * (SECOND_MS * _MILLISECOND_US if unit == "s" else _MILLISECOND_US)
        return int(exact(number) * _US[unit])
    if isinstance(value, bool) or not isinstance(value, (str, int)):
        raise NotConvertible("a number needs its unit")
    text = str(value).strip()[:_TEXT_MAX]
    if form is not None:
        found = datetime.strptime(text, form)  # noqa: DTZ007 - the zone follows below
    else:
        if not isinstance(value, str):
            raise NotConvertible("a number needs its unit")
        found = _iso(text)
    if found.tzinfo is None:
        return _local(found, zone, fold, received_at_ms)
    return _us(found)


def _iso(text: str) -> datetime:
    try:
        return datetime.fromisoformat(text)
    except ValueError:
        # A small z (RFC 3339, 5.6), UTC by its name, a leap second, the day's end as 24:00.
        plain = _LEAP.sub(r"\g<1>59", _UTC_NAMES.sub("+00:00", text).replace("\u2212", "-"))
        found = datetime.fromisoformat(_DAYS_END.sub(r"\g<1>00:00", plain))
        return found + timedelta(days=_DAYS_END.search(plain) is not None)


def _us(found: datetime) -> int:
    return (found - _EPOCH) // _MICROSECOND


def _local(found: datetime, zone: str | None, fold: str, received_at_ms: int) -> int:
    if zone is None:
        raise NotConvertible("no zone")
    place = zone_of(zone)
    both = [_us(found.replace(tzinfo=place, fold=each)) for each in (0, 1)]
    if both[0] == both[1] or fold == "earlier":
        return both[0]
    if both[1] < both[0]:
        # A time the clocks jumped over: as if they had not jumped yet.
        return both[0]
    if fold == "later":
        return both[1]
    return min(both, key=lambda each: (abs(received_at_ms * _MILLISECOND_US - each), each))


@lru_cache(maxsize=32)
def zone_of(name: str) -> tzinfo:
    """Returns a time zone by its name, or a fixed offset as devices write it.

    Raises:
        NotConvertible: There is no such zone.

    Example:
        >>> zone_of("UTC+8:00").utcoffset(None), zone_of("-0330").utcoffset(None)
        (datetime.timedelta(seconds=28800), datetime.timedelta(days=-1, seconds=73800))
    """
    found = _OFFSET.fullmatch(name.strip())
    try:
        if found is None:
            return ZoneInfo(name)
        offset = timedelta(hours=int(found[2]), minutes=int(found[3] or 0))
        return timezone(-offset if found[1] == "-" else offset)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise NotConvertible("no such time zone") from None


def datetime_of(at_ms: int, beyond_us: int = 0) -> datetime:
    """Returns the aware UTC datetime of an instant, clipped to what the calendar holds."""
    try:
        whole = datetime_from_ms(at_ms)
        return whole + beyond_us * _MICROSECOND if beyond_us else whole
    except OverflowError:
        return datetime(1970, 1, 1, tzinfo=UTC) + timedelta(0)
