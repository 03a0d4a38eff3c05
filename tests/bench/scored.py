"""The lines of `scoring` for the common table; each round a process, because memory is one too."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any, Final

from tests.bench.measured import Measured
from tests.bench.setting import ROOT, Setting

TITLE: Final = "Scoring one decision"
WHOS: Final = ("anonymous", "identified")
SHARES: Final = ("p50", "p99")


def measure(setting: Setting) -> tuple[Measured, ...]:
    """Measures a whole ranking against the bare ONNX call."""
    rounds = [_round() for _ in range(setting.sized(3, quick=1))]
    lines = [_line(rounds, who, share) for who in WHOS for share in SHARES]
    grown = Measured(
        name="memory that the bundle takes",
        unit="MiB",
        values=tuple(float(each["resident_growth_mib"]) for each in rounds),
        note=f"bundle {rounds[0]['bundle']}, loaded, each hour asked once",
    )
    return (*lines, grown)


def _round() -> dict[str, Any]:
    command = [sys.executable, "-m", "tests.bench.scoring", "--json"]
    said = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True)
    found: dict[str, Any] = json.loads(said.stdout)
    return found


def _line(rounds: list[dict[str, Any]], who: str, share: str) -> Measured:
    return Measured(
        name=f"ranking for an {who} visitor, {share}",
        unit="ms",
        values=tuple(float(each[f"rank_{who}_ms"][share]) for each in rounds),
        baseline=tuple(float(each["bare_onnx_ms"][share]) for each in rounds),
        against="bare ONNX call",
        note="baskets of 0-12 products; an identified visitor has 90 earlier ones",
    )
