"""Memory and start of the agent in the gateway's own environment, where no pandas is.

The hour comes as fast as the agent takes it in, so its queue is as full as it ever gets.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Final

from edge_agent.hq.keys import public_text
from edge_agent.shell.signing import DEMO_KEY_ID, demo_private_key
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
    n_visitors: int
    n_events: int


def measure(setting: Setting) -> tuple[Measured, ...]:
    """Measures an hour's events, with few and with many visitors stored."""
    n_events = setting.sized(shop_hour.RATE * shop_hour.HOUR_S, quick=4_000)
    n_stored = setting.sized(100_000, quick=2_000)
    with running_broker(setting.place("broker"), config=BROKER) as broker:
        agent = BenchedAgent(
            folder=setting.place("memory"),
            port=broker.port,
            clock="replay",
            layout=_layout(broker.port),
            python=gateway_python(setting),
        )
        starts_s = _starts(setting, agent)
        weighed = _weighed(setting, agent, n_events=n_events, n_stored=n_stored)
        stored_starts_s = _starts(setting, agent)
    stored = f"{weighed.n_visitors:,} visitors stored"
    new = replace(agent, folder=setting.place("memory"))
    return (
        _memory(weighed, stored),
        _start(new, starts_s, "new database"),
        _start(agent, stored_starts_s, stored),
    )


def _layout(port: int) -> str:
    """Returns the shop with a link to HQ, where nobody takes the summaries: they pile up."""
    key = public_text(demo_private_key())
    keys = f'keys = {{ {DEMO_KEY_ID} = "{key}" }}'
    return f"{shop_hour.LAYOUT}\n[hq]\nport = {port}\n{keys}"


def _starts(setting: Setting, agent: BenchedAgent) -> tuple[float, ...]:
    agent.start()
    agent.stop()
    found = []
    for _ in range(setting.sized(10, quick=3)):
        found.append(agent.start())
        agent.stop()
    return tuple(found)


def _weighed(setting: Setting, agent: BenchedAgent, *, n_events: int, n_stored: int) -> Weighed:
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
    return Weighed(
        started_mib=started,
        resident_mib=resident,
        peak_mib=peak,
        mappings=mappings,
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


def _memory(weighed: Weighed, stored: str) -> Measured:
    return Measured(
        name=f"memory after {weighed.n_events:,} events, {stored}",
        unit="MiB",
        values=(weighed.peak_mib,),
        aim=MEMORY_AIM,
        note=(
            f"gateway's environment, HQ away; VmHWM; VmRSS {weighed.resident_mib:.1f} MiB then,"
            f" {weighed.started_mib:.1f} MiB when it had just subscribed"
        ),
        explain=partial(str, weighed.mappings),
    )


def _start(agent: BenchedAgent, starts_s: tuple[float, ...], stored: str) -> Measured:
    return Measured(
        name=f"subscribed after exec, {stored}",
        unit="s",
        values=starts_s,
        aim=START_AIM,
        note=f"gateway's environment; {len(starts_s)} starts, until agent/state says online",
        explain=partial(_start_explained, agent),
    )


def _start_explained(agent: BenchedAgent) -> str:
    with running_broker(agent.folder / "broker", config=BROKER, port=agent.port):
        if not agent.database.exists():
            agent.start()
            agent.stop()
        agent.profile = profile_path(f"start-{agent.store}")
        agent.start()
        agent.stop()
    return profile_text(agent.profile)
