"""The units of a gateway, agent and bridge: hardened, always restarted, with no secret in them."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from collections import defaultdict
from pathlib import Path
from typing import Final

import pytest

from edge_agent.shell.mqtt_client import TURN_WITHIN_S

PROVISIONING: Final = Path(__file__).parents[2] / "provisioning"
UNIT: Final = PROVISIONING / "edge-agent.service"
BRIDGE: Final = PROVISIONING / "edge-agent-bridge.service"
UNITS: Final = pytest.mark.parametrize("unit", [UNIT, BRIDGE], ids=["agent", "bridge"])
WORST_EXPOSURE: Final = 15
"""In tenths, as systemd-analyze takes it; a unit without any hardening has 96."""
RUN_S: Final = 120.0
ONLY_AS_ROOT: Final = "fchown"
"""SQLite gives its files to their folder's owner when it runs as root, which the unit does not."""

USES: Final = """
import onnxruntime, numpy, sqlite3, ssl, paho.mqtt.client, pydantic, starlette, uvicorn
import os, signal, socket, tempfile, threading
options = onnxruntime.SessionOptions()
options.intra_op_num_threads = 1
with tempfile.TemporaryDirectory() as folder:
    database = sqlite3.connect(os.path.join(folder, "state.db"))
    database.execute("PRAGMA journal_mode=WAL")
    database.execute("PRAGMA synchronous=FULL")
    database.execute("CREATE TABLE t (a)")
    database.execute("INSERT INTO t VALUES (1)")
    database.commit()
    database.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    database.close()
numpy.linalg.solve(numpy.eye(50), numpy.ones(50))
threading.Thread(target=lambda: None).start()
server = socket.create_server(("127.0.0.1", 0))
client = socket.create_connection(server.getsockname())
client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
client.close(); server.close()
notify = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
notify.close()
"""
"""What the agent does with the kernel: its packages loaded, a database, sockets, a thread."""
BRIDGE_USES: Final = """
import fcntl, os, socket, ssl, tempfile, threading
import edge_agent.bridge.service, edge_agent.cli.bridge
from edge_agent.bridge.drop_store import DropStore
with tempfile.TemporaryDirectory() as folder:
    with open(os.path.join(folder, "a.xml"), "w") as file:
        file.write("<a/>")
    store = DropStore(folder)
    store.open(1)
    store.read("folder", "a.xml", 10)
    store.refuse("working", store.move("folder", "working", "a.xml"), "no good")
    store.prune("refused", 1, 1, 0)
    store.close()
threading.Thread(target=lambda: None).start()
server = socket.create_server(("127.0.0.1", 0))
client = socket.create_connection(server.getsockname())
client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
client.close(); server.close()
notify = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
notify.close()
"""
"""What the bridge does with the kernel: its packages loaded, files moved, sockets, a thread."""


def _analyze(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["systemd-analyze", *arguments], capture_output=True, text=True, timeout=RUN_S, check=False
    )


def _exposure_is_low(unit: Path) -> bool:
    threshold = f"--threshold={WORST_EXPOSURE}"
    return _analyze("security", "--offline=true", threshold, str(unit)).returncode == 0


def _settings(unit: Path) -> dict[str, list[str]]:
    settings: dict[str, list[str]] = defaultdict(list)
    for line in unit.read_text().splitlines():
        if "=" in line and not line.startswith("#"):
            key, _, value = line.partition("=")
            settings[key].append(value)
    return settings


@UNITS
def test_the_unit_is_hardened(unit: Path) -> None:
    """The exposure that systemd measures stays under the gate."""
    assert _exposure_is_low(unit)


@pytest.mark.parametrize("removed", ["Protect", "CapabilityBoundingSet=", "SystemCallFilter="])
@UNITS
def test_the_gate_notices_a_missing_protection(tmp_path: Path, unit: Path, removed: str) -> None:
    """Without one of the great protections the same gate is shut."""
    weaker = tmp_path / unit.name
    lines = unit.read_text().splitlines()
    weaker.write_text("\n".join(line for line in lines if not line.startswith(removed)))
    assert not _exposure_is_low(weaker)


@UNITS
def test_systemd_understands_every_line(tmp_path: Path, unit: Path) -> None:
    """With a program that exists here, systemd has nothing to say about the unit."""
    here = tmp_path / unit.name
    here.write_text(re.sub(r"(?m)^ExecStart=\S+", "ExecStart=/bin/true", unit.read_text()))
    done = _analyze("verify", "--man=no", str(here))
    assert [line for line in done.stderr.splitlines() if unit.name in line] == []


def test_a_reload_is_the_signal_that_loads_mappings_again() -> None:
    """`systemctl reload` ends nothing: test_live_mappings.py sends the same signal."""
    assert _settings(UNIT)["ExecReload"] == ["/bin/kill -HUP $MAINPID"]


@UNITS
def test_it_is_watched_and_always_comes_back(unit: Path) -> None:
    """A crash, a hang and a failed start all end in another start."""
    settings = _settings(unit)
    assert settings["Type"] == ["notify"]
    assert settings["Restart"] == ["always"]
    assert settings["StartLimitIntervalSec"] == ["0"]
    assert int(settings["WatchdogSec"][0]) > TURN_WITHIN_S


@pytest.mark.parametrize(
    ("unit", "credentials"),
    [
        (UNIT, {"broker-password", "store_key", "hq-password"}),
        (BRIDGE, {"broker-password", "hook"}),
    ],
    ids=["agent", "bridge"],
)
def test_secrets_come_as_credentials(unit: Path, credentials: set[str]) -> None:
    """No secret is in the unit or in the environment, and the agent cannot read their folder."""
    settings = _settings(unit)
    assert "Environment" not in settings
    assert "EnvironmentFile" not in settings
    names = {value.split(":")[0] for value in settings["LoadCredential"]}
    assert names == credentials
    assert "/etc/edge-agent/secrets" in settings["InaccessiblePaths"][0]


@pytest.mark.parametrize(
    ("unit", "uses", "seen"),
    [
        (UNIT, USES, {"fdatasync", "connect", "mmap"}),
        (BRIDGE, BRIDGE_USES, {"flock", "connect", "mmap"}),
    ],
    ids=["agent", "bridge"],
)
def test_the_filter_allows_the_calls_that_are_made(
    tmp_path: Path, unit: Path, uses: str, seen: set[str]
) -> None:
    """Every system call of the packages at work is one that the unit allows."""
    allowed = _allowed_calls(_settings(unit)["SystemCallFilter"])
    log = tmp_path / "calls"
    strace = shutil.which("strace")
    assert strace is not None, "strace is missing: run tests/tools/setup.sh"
    subprocess.run(
        [strace, "-f", "-qq", "-c", "-U", "name", "-o", str(log), sys.executable, "-c", uses],
        check=True,
        timeout=RUN_S,
    )
    made = {line.strip() for line in log.read_text().splitlines()}
    made -= {"", "syscall", "total", ONLY_AS_ROOT} | {
        line for line in made if line.startswith("---")
    }
    assert seen <= made
    assert made - allowed == set()


def _allowed_calls(lines: list[str]) -> frozenset[str]:
    """What a list of SystemCallFilter lines leaves, the first of them being an allow-list."""
    allowed: frozenset[str] = frozenset()
    for line in lines:
        calls = frozenset[str]().union(*(_calls_of(one) for one in line.lstrip("~").split()))
        allowed = allowed - calls if line.startswith("~") else allowed | calls
    return allowed


def _calls_of(group: str) -> frozenset[str]:
    if not group.startswith("@"):
        return frozenset({group})
    calls: set[str] = set()
    for line in _analyze("syscall-filter", group).stdout.splitlines()[1:]:
        name = line.strip()
        if name.startswith("@"):
            calls |= _calls_of(name)
        elif name and not name.startswith("#"):
            calls.add(name)
    return frozenset(calls)
