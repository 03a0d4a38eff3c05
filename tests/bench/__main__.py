"""Measures, prints one table and says where the time goes where an aim is missed.

`python -m tests.bench [--quick] [--json FILE] [NAME ...]`; names are those of the files.
All but `days` run when none is named.
"""

from __future__ import annotations

import argparse
import importlib
import json
import shutil
import sys
import tempfile
from pathlib import Path
from typing import Any, Final, cast

from rich.console import Console
from rich.table import Table

from tests.bench.measured import Measured, Measurement
from tests.bench.setting import CACHE, Setting, machine

NAMES: Final = (
    "quiet",
    "mapped",
    "recommending",
    "latency",
    "memory",
    "disk",
    "scored",
    "deciding",
    "mapping",
    "people",
)
# Only when it is asked for: it takes twenty minutes and has nothing to do with the machine.
LONG: Final = ("days",)
VERDICTS: Final = {True: "[green]met[/]", False: "[red]missed[/]", None: ""}
MISSED: Final = 1


def main() -> int:
    """Runs what is named, or all; returns 1 when an aim is missed."""
    options = _options()
    console = Console(stderr=True, highlight=False)
    CACHE.mkdir(parents=True, exist_ok=True)
    folder = Path(tempfile.mkdtemp(prefix="run-", dir=CACHE))
    setting = Setting(folder=folder, is_quick=options.quick, say=console.print)
    where = machine(folder)
    try:
        sections = {name: _measured(name, setting) for name in options.names or NAMES}
        _show(sections, where, is_quick=options.quick)
        _explain(sections)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    if options.json is not None:
        options.json.write_text(_document(sections, where, is_quick=options.quick))
    lines = [line for section in sections.values() for line in section]
    return MISSED if any(line.is_met is False for line in lines) else 0


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.bench", description=__doc__)
    parser.add_argument(
        "names", nargs="*", metavar="NAME", help=f"of {', '.join((*NAMES, *LONG))}"
    )
    parser.add_argument("--quick", action="store_true", help="small sizes, to try things out")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write every figure there too")
    options = parser.parse_args()
    unknown = sorted(set(options.names) - {*NAMES, *LONG})
    if unknown:
        parser.error(
            f"there is no measurement {unknown[0]!r}; there are {', '.join((*NAMES, *LONG))}"
        )
    return options


def _measured(name: str, setting: Setting) -> tuple[Measured, ...]:
    module = cast("Measurement", importlib.import_module(f"tests.bench.{name}"))
    setting.say(f"[bold]{module.TITLE}[/]")
    return module.measure(setting)


def _show(
    sections: dict[str, tuple[Measured, ...]], where: dict[str, Any], *, is_quick: bool
) -> None:
    title = "Measured" + (" (quick: not for the README)" if is_quick else "")
    table = Table(title=title, title_justify="left")
    for column in ("what", "measured", "baseline", "ratio", "aim", ""):
        table.add_column(column, overflow="fold")
    for section in sections.values():
        for line in section:
            table.add_row(*_cells(line))
        table.add_section()
    # The same width in a terminal, a file and a log.
    console = Console(width=132, highlight=False)
    console.print(table)
    console.print("Median (least-most of the rounds); ratios are taken within a round.")
    for section in sections.values():
        for line in section:
            console.print(f"- {line.name}: {line.note}" if line.note else f"- {line.name}")
    console.print(", ".join(f"{name} {value}" for name, value in where.items()))


def _cells(line: Measured) -> tuple[str, ...]:
    base, ratio = line.base, line.ratio
    return (
        line.name,
        f"{line.value} {line.unit}",
        "" if base is None else f"{base} {line.unit}, {line.against}",
        "" if ratio is None else f"{ratio} x",
        "" if line.aim is None else f"{line.aim}{'' if ratio is None else ' x'}",
        VERDICTS[line.is_met],
    )


def _explain(sections: dict[str, tuple[Measured, ...]]) -> None:
    for section in sections.values():
        for line in section:
            if line.is_met is False and line.explain is not None:
                text = line.explain()
                sys.stdout.write(f"\nMissed: {line.name}. Where it goes:\n{text}\n")


def _document(
    sections: dict[str, tuple[Measured, ...]], where: dict[str, Any], *, is_quick: bool
) -> str:
    measured = [line.document() for section in sections.values() for line in section]
    document = {"machine": where, "quick": is_quick, "measured": measured}
    return json.dumps(document, indent=2) + "\n"


if __name__ == "__main__":
    sys.exit(main())
