"""HQ's clock: the one place where this program reads the time."""

from __future__ import annotations

from datetime import UTC, datetime


def utc_now() -> datetime:
    """Returns the present instant."""
    return datetime.now(UTC)  # noqa: TID251 - HQ's own shell
