"""Memory and start of the agent in the gateway's own environment, where no pandas is.

The hour comes as fast as the agent takes it in, so its queue is as full as it ever gets.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Final

from tests.bench import shop_hour
from tests.bench.gateway import gateway_python
from tests.bench.measured import Aim, Measured
from tests.bench.processes import (
    BROKER,
    BenchedAgent,
    benched_agent,
    profile_path,
    profile_text,
)
from tests.bench.setting import Setting
from tests.bench.wire_client import flood
from tests.integration.broker import running_broker

TITLE: Final = "Memory and start"
MEMORY_AIM: Final = Aim("most", 120.0)
START_AIM: Final = Aim("most", 0.8)
KIB_PER_MIB: Final = 1_024
N_MAPPINGS: Final = 15


@dataclass(frozen=True, slots=True, kw_only=True)
class Weighed:
    """What was read of one agent; `mappings` says what its memory is made of."""

    started_mib: float
    resident_mib: float
    peak_mib: float
    mappings: str
    starts_s: tuple[float, ...]
    n_visitors: int
    n_events: int


def measure(setting: Setting) -> tuple[Measured, ...]:
    """Measures an hour's events, with few and with many visitors stored."""
    n_events = setting.sized(shop_hour.RATE * shop_hour.HOUR_S, quick=4_000)
    found = []
    with running_broker(setting.place("broker"), config=BROKER) as broker:
        for n_stored in (0, setting.sized(100_000, quick=2_000)):
            agent = BenchedAgent(
                folder=setting.place("memory"),
                port=broker.port,
                clock="replay",
                layout=shop_hour.LAYOUT,
                python=gateway_python(setting),
            )
            weighed = _weighed(setting, agent, n_events=n_events, n_stored=n_stored)
            found.extend(_lines(agent, weighed))
    return tuple(found)


def _weighed(setting: Setting, agent: BenchedAgent, *, n_events: int, n_stored: int) -> Weighed:
    if n_stored:
        setting.say(f"memory: {n_stored:,} visitors are stored")
        with benched_agent(agent):
            flood(agent.port, shop_hour.earlier_visitors(agent.store, n_stored))
            agent.wait_events(2 * n_stored)
    setting.say(f"memory: {n_events:,} events")
    with benched_agent(agent):
        started = memory_mib(agent.pid, "VmRSS")
        flood(agent.port, shop_hour.hour(agent.store, n_events))
        agent.wait_events(2 * n_stored + n_events)
        resident, peak = (memory_mib(agent.pid, name) for name in ("VmRSS", "VmHWM"))
        mappings = mappings_text(agent.pid)
    starts_s = []
    for _ in range(setting.sized(10, quick=3)):
        starts_s.append(agent.start())
        agent.stop()
    return Weighed(
        started_mib=started,
        resident_mib=resident,
        peak_mib=peak,
        mappings=mappings,
        starts_s=tuple(starts_s),
        n_visitors=agent.n_rows("visitor"),
        n_events=n_events,
    )


def memory_mib(pid: int, name: str) -> float:
    """Returns a figure of `/proc/PID/status`, such as `VmRSS` (now) or `VmHWM` (the peak)."""
    for line in Path(f"/proc/{pid}/status").read_text(encoding="utf-8").splitlines():
        if line.startswith(f"{name}:"):
            return int(line.split()[1]) / KIB_PER_MIB
    raise OSError(f"the kernel does not tell {name}")


def mappings_text(pid: int) -> str:
    """Returns what the resident memory consists of, the largest first."""
    sizes: Counter[str] = Counter()
    name = ""
    for line in Path(f"/proc/{pid}/smaps").read_text(encoding="utf-8").splitlines():
        words = line.split()
        if not words[0].endswith(":"):
            name = words[5] if len(words) > 5 else "anonymous"
        elif words[0] == "Rss:":
            sizes[Path(name).name] += int(words[1])
    return "\n".join(
        f"{size / KIB_PER_MIB:8.1f} MiB  {name}" for name, size in sizes.most_common(N_MAPPINGS)
    )


def _lines(agent: BenchedAgent, weighed: Weighed) -> list[Measured]:
    stored = f"{weighed.n_visitors:,} visitors stored"
    note = (
        f"gateway's environment; VmHWM; VmRSS {weighed.resident_mib:.1f} MiB then, and"
        f" {weighed.started_mib:.1f} MiB when it had just subscribed"
    )
    where: Callable[[], str] = partial(str, weighed.mappings)
    return [
        Measured(
            name=f"memory after {weighed.n_events:,} events, {stored}",
            unit="MiB",
            values=(weighed.peak_mib,),
            aim=MEMORY_AIM,
            note=note,
            explain=where,
        ),
        Measured(
            name=f"subscribed after exec, {stored}",
            unit="s",
            values=weighed.starts_s,
            aim=START_AIM,
            note=f"{len(weighed.starts_s)} starts, until agent/state says online",
            explain=partial(_start_explained, agent),
        ),
    ]


def _start_explained(agent: BenchedAgent) -> str:
    with running_broker(agent.folder / "broker", config=BROKER, port=agent.port):
        agent.profile = profile_path(f"start-{agent.store}")
        agent.start()
        agent.stop()
    return profile_text(agent.profile)
