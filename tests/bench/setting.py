"""Where and how long is measured, and on what machine."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import shutil
import sqlite3
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from edge_agent import __version__

ROOT: Final = Path(__file__).parents[2]
BUNDLE: Final = ROOT / "models" / "artifacts"
CACHE: Final = ROOT / ".cache" / "bench"
PACKAGES: Final = ("paho-mqtt", "pydantic", "numpy", "onnxruntime")


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """What every measurement is handed.

    Attributes:
        folder: For databases and logs, on a real disk.
        is_quick: Small sizes, to try things out; such figures are not for the README.
        say: Shows what is being done.
    """

    folder: Path
    is_quick: bool
    say: Callable[[str], None]

    def sized(self, full: int, *, quick: int) -> int:
        """Returns the size for this run."""
        return quick if self.is_quick else full

    def place(self, name: str) -> Path:
        """Returns a folder of its own for one agent or broker."""
        path = self.folder / f"{name}-{sum(1 for _ in self.folder.iterdir())}"
        path.mkdir(parents=True)
        return path


def machine(folder: Path) -> dict[str, Any]:
    """Returns what a figure depends on: machine, load, file system, versions and date."""
    return {
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "cpu": _cpu(),
        "cores": os.cpu_count(),
        "memory_mib": os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 2**20,
        "load_before": [round(each, 2) for each in os.getloadavg()],
        "kernel": platform.release(),
        "file_system": file_system(folder),
        "python": platform.python_version(),
        "sqlite": sqlite3.sqlite_version,
        "mosquitto": _mosquitto(),
        "edge-agent": __version__,
        **{name: importlib.metadata.version(name) for name in PACKAGES},
    }


def file_system(path: Path) -> str:
    """Returns the type of the file system that a path lies on."""
    best, found = "", "unknown"
    for line in Path("/proc/mounts").read_text(encoding="utf-8").splitlines():
        _, mounted, kind, *_ = line.split()
        inside = path.resolve().is_relative_to(mounted)
        if inside and len(mounted) >= len(best):
            best, found = mounted, kind
    return found


def _cpu() -> str:
    for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.machine()


def _mosquitto() -> str:
    path = shutil.which("mosquitto") or "/usr/sbin/mosquitto"
    said = subprocess.run([path, "-h"], capture_output=True, text=True, check=False).stdout
    return said.splitlines()[0].rpartition(" ")[2] if said else "unknown"
