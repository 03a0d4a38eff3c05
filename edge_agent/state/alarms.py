"""What must be told of the devices: who fell silent, which counter drifts, whose clock is wrong.

An alarm is a state, not an event: what is told is that it began and that it ended. One that began
holds until its cause is well out of the way, so that a value on the edge is no news every minute.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal

if TYPE_CHECKING:
    from collections.abc import Iterable

    from edge_agent.state.devices import Standing

Kind = Literal["silent", "drifting", "clock"]
KINDS: Final[tuple[Kind, ...]] = ("silent", "drifting", "clock")

# An alarm of a clock ends when no more of the error is left.
_ENDS_AT_SHARE: Final = 0.5
# So many devices are told by name; of the others the number.
NAMED_MAX: Final = 5
# Of fewer devices "all" tells nothing.
_ALL_FROM: Final = 3


@dataclass(frozen=True, slots=True, kw_only=True, order=True)
class Alarm:
    """Something is wrong with a device."""

    kind: Kind
    source: str


def alarms_of(
    standings: Iterable[Standing], *, before: frozenset[Alarm], k: int
) -> frozenset[Alarm]:
    """Returns what is wrong now.

    Args:
        standings: How the devices are.
        before: What was wrong at the last look.
        k: A counter that counted fewer entries a day gives no alarm: HQ hears of alarms.
    """
    found: set[Alarm] = set()
    for each in standings:
        wrong: dict[Kind, bool] = {
            "silent": each.is_silent,
            "drifting": each.is_drifting and each.entries >= k,
            "clock": is_clock_wrong(
                each.clock_share, was_wrong=Alarm(kind="clock", source=each.source) in before
            ),
        }
        found.update(Alarm(kind=kind, source=each.source) for kind in KINDS if wrong[kind])
    return frozenset(found)


def problems_of(alarms: Iterable[Alarm], *, n_devices: int) -> tuple[str, ...]:
    """Returns the alarms as the agent's state tells them, few lines however many there are.

    Example:
        >>> problems_of([Alarm(kind="silent", source="door-7")], n_devices=9)
        ('device_silent:door-7',)
    """
    told: list[str] = []
    for kind in KINDS:
        names = sorted(each.source for each in alarms if each.kind == kind)
        if kind == "silent" and len(names) == n_devices >= _ALL_FROM:
            # The network, the broker or the whole store; not each of them.
            told.append("device_silent:all")
            continue
        told += [f"device_{kind}:{name}" for name in names[:NAMED_MAX]]
        if len(names) > NAMED_MAX:
            told.append(f"device_{kind}:and {len(names) - NAMED_MAX} more")
    return tuple(told)


def kinds_of(problems: Iterable[str]) -> tuple[str, ...]:
    """Returns problems without the devices' names: HQ is told those in its list of devices.

    Example:
        >>> kinds_of(["no_model", "device_silent:door-7", "device_silent:all"])
        ('no_model', 'device_silent')
    """
    return tuple(dict.fromkeys(each.partition(":")[0] for each in problems))


def is_clock_wrong(clock_share: float, *, was_wrong: bool = False) -> bool:
    """Returns whether a device's clock is wrong, or not yet right again."""
    return clock_share > (_ENDS_AT_SHARE if was_wrong else 1.0)
