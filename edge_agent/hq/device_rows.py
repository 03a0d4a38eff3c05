"""A store's devices as rows of HQ's database, and back as programs read them.

Rates and clocks are kept as whole thousandths, so that both databases hold the same.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from edge_agent.hq.database import Row
from edge_agent.state.alarms import is_clock_wrong
from edge_agent.state.tolerances import DEFAULT
from edge_agent.wire.summaries import DeviceState, GatewayState

THOUSANDTHS: Final = 1_000
# A device that no state named for so long is forgotten, as its gateway forgets it.
KEPT_MS: Final = 30 * 24 * 3_600_000
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


def device_rows(state: GatewayState) -> list[Row]:
    """Returns the devices of a state, in one order; the last of two that have one name."""
    named = {each.device: each for each in state.devices}
    at_ms = _ms(state.at)
    return [
        {"store": state.store, "state_id": state.state_id, "at_ms": at_ms, **_row(named[name])}
        for name in sorted(named)
    ]


def device_json(row: Row) -> dict[str, Any]:
    """Returns a device as programs read it."""
    skew_ms = row["skew_ms"]
    last_seen = datetime.fromtimestamp(int(row["last_seen_at_ms"] or 0) / THOUSANDTHS, UTC)
    return {
        "store": row["store"],
        "device": row["device"],
        "last_seen": last_seen.isoformat().replace("+00:00", "Z"),
        "per_hour": int(row["per_hour_thousandths"] or 0) / THOUSANDTHS,
        "skew_s": None if skew_ms is None else int(skew_ms) / THOUSANDTHS,
        "inside_at_closing": row["inside_at_closing"],
        "troubles": list(troubles(row)),
    }


def troubles(row: Row) -> tuple[str, ...]:
    """Returns what is wrong with a device, in the words of `edge-agent status`."""
    skew_ms = row["skew_ms"]
    skew_s = None if skew_ms is None else int(skew_ms) / THOUSANDTHS
    found = {
        "silent": bool(row["is_silent"]),
        "drifting": bool(row["is_drifting"]),
        "clock off": skew_s is not None and is_clock_wrong(DEFAULT.clock_share(skew_s)),
    }
    return tuple(name for name, is_so in found.items() if is_so)


def n_troubled(rows: Iterable[Row]) -> int:
    """Returns how many devices have a trouble."""
    return sum(bool(troubles(row)) for row in rows)


def _row(device: DeviceState) -> dict[str, str | int | None]:
    return {
        "device": device.device,
        "last_seen_at_ms": _ms(device.last_seen),
        "per_hour_thousandths": _thousandths(device.per_hour),
        "skew_ms": None if device.skew_s is None else _thousandths(device.skew_s),
        "is_silent": int(device.is_silent),
        "is_drifting": int(device.is_drifting),
        "inside_at_closing": device.inside_at_closing,
    }


def _thousandths(value: float) -> int:
    return round(value * THOUSANDTHS)


def _ms(instant: datetime) -> int:
    return (instant - _EPOCH) // timedelta(milliseconds=1)
