"""The conformance command's terminal: progress, questions to whoever stands there, the report."""

from __future__ import annotations

import json
import os
import select
import sys
from collections import Counter
from typing import TYPE_CHECKING, Final, Self

import typer
from rich.console import Console
from rich.table import Table

from edge_agent.conformance.person import Nobody, nothing

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from types import TracebackType

    from rich.status import Status

    from edge_agent.conformance.findings import Finding, Verdict
    from edge_agent.conformance.person import Answer, Person

_STYLES: Final[dict[Verdict, str]] = {"ok": "green", "wrong": "bold red", "not tried": "yellow"}
_LOOK_UP_S: Final = 0.1
_LINE_BYTES: Final = 4_096
_DEAF: Final = (
    "The broker grants no subscription to everything: messages on wrong topics were not heard."
)


class Terminal:
    """Shows what is going on, on standard error, and finds out whether anybody can be asked.

    Args:
        is_asked: Whether somebody at the device is to be asked, if there is a terminal at all.
    """

    def __init__(self, *, is_asked: bool) -> None:
        self._console = Console(stderr=True)
        self._status: Status | None = None
        self.person: Person = Nobody()
        if is_asked and sys.stdin.isatty():
            self.person = _AtTerminal(self)
        elif is_asked:
            self.say("standard input is no terminal: nobody is asked anything")

    def __enter__(self) -> Self:
        if self._console.is_terminal:
            self._status = self._console.status("connecting")
            self._status.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._status is not None:
            self._status.stop()

    def say(self, text: str) -> None:
        """Prints a line."""
        self._console.print(text, markup=False, highlight=False)

    def progress(self, what: str, number: int, n_all: int) -> None:
        """Shows what is tried now."""
        text = f"{number}/{n_all} {what}" if n_all else what
        if self._status is None:
            self.say(text)
        else:
            self._status.update(text)

    def countdown(self, left_s: float, n_events: int) -> None:
        """Shows how long there is still to be listened."""
        if self._status is not None:
            self._status.update(f"listening for {left_s:.0f} s more, {n_events} events so far")

    def ask(self, text: str, *, meanwhile: Callable[[], None] = nothing) -> str | None:
        """Asks a question and returns the answer's first letter; None when nobody is there."""
        if self._status is not None:
            self._status.stop()
        sys.stderr.write(f"\n{text} ")
        sys.stderr.flush()
        keyboard = sys.stdin.fileno()
        while not select.select([keyboard], [], [], _LOOK_UP_S)[0]:
            meanwhile()
        # A terminal gives a line at a time; what Python would read ahead, select would not see.
        line = os.read(keyboard, _LINE_BYTES)
        if self._status is not None:
            self._status.start()
        return line.decode(errors="replace").strip().lower()[:1] if line else None


class _AtTerminal:
    """Somebody who can be asked in this terminal."""

    def __init__(self, terminal: Terminal) -> None:
        self._terminal = terminal

    @property
    def is_there(self) -> bool:
        """Whether anybody can be asked."""
        return True

    def note(self, text: str) -> None:
        """Is told what is going on."""
        self._terminal.say(text)

    def does(
        self,
        task: str,  # noqa: ARG002 - a name for machines
        text: str,
        *,
        meanwhile: Callable[[], None] = nothing,
    ) -> Answer:
        """Is asked to do something."""
        question = f"DO   {text}\n     Enter when done, n if it cannot be done:"
        answer = self._terminal.ask(question, meanwhile=meanwhile)
        return None if answer is None else "no" if answer == "n" else "yes"

    def sees(self, question: str, text: str) -> Answer:  # noqa: ARG002 - the same
        """Is asked what is to be seen."""
        while (answer := self._terminal.ask(f"LOOK {text}\n     y or n:")) not in {"y", "n", None}:
            pass
        return None if answer is None else "yes" if answer == "y" else "no"


def show(
    findings: tuple[Finding, ...],
    about: Mapping[str, str],
    *,
    as_json: bool,
    hears_everything: bool,
) -> None:
    """Prints the report: a table on a terminal, a line a check elsewhere, or JSON."""
    counts = Counter(each.verdict for each in findings)
    summary = {verdict: counts[verdict] for verdict in _STYLES}
    if as_json:
        checks = [
            {
                "check": each.check,
                "verdict": each.verdict,
                "expected": each.expected,
                "came": each.came,
                "place": each.place,
            }
            for each in findings
        ]
        answer = {
            **about,
            "counts": summary,
            "hears_everything": hears_everything,
            "checks": checks,
        }
        typer.echo(json.dumps(answer, indent=2))
        return
    console = Console()
    if console.is_terminal:
        console.print(_table(findings, f"{about['device']} {about['name']}"))
    else:
        for each in findings:
            typer.echo(_line(each))
    if not hears_everything:
        typer.echo(_DEAF)
    typer.echo(", ".join(f"{n} {verdict}" for verdict, n in summary.items()))


def _table(findings: tuple[Finding, ...], title: str) -> Table:
    table = Table("", "check", "must hold", "came", "see", title=title)
    for each in findings:
        row = (each.check, each.expected, each.came, each.place)
        style = _STYLES[each.verdict]
        table.add_row(f"[{style}]{each.verdict}[/]", *(_plain(text) for text in row))
    return table


def _line(finding: Finding) -> str:
    told = f"{finding.verdict:<9} {finding.check:<17} {finding.came}"
    if finding.verdict == "ok":
        return told
    return f"{told}\n{'':<28}must hold: {finding.expected}\n{'':<28}see: {finding.place}"


def _plain(text: str) -> str:
    # What a device sent must not be read as the terminal's markup, nor as its control characters.
    shown = "".join(each if each.isprintable() else "?" for each in text)
    return shown.replace("[", "\\[")
