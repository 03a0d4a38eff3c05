"""`edge-agent policy`: what another model or other rules would have got, from logged decisions."""

from __future__ import annotations

import json
from collections import Counter
from contextlib import closing
from dataclasses import asdict, dataclass, replace
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer
from rich.console import Console
from rich.progress import track
from rich.table import Table

from edge_agent import config as configuration
from edge_agent.cli.errors import shown
from edge_agent.cli.logged_decisions import Logged, LoggedDecision, logged_in
from edge_agent.cli.policy_advice import advice_on
from edge_agent.cli.recorded_day import RecordedDay, found_in, known_of, live_bundle
from edge_agent.cli.run import DEFAULT_CONFIG
from edge_agent.decide.rule_book import book_of
from edge_agent.domain.rules import Exploration
from edge_agent.domain.time import rfc3339_from_ms
from edge_agent.offpolicy.evaluation import ENOUGH, Evaluation, evaluated
from edge_agent.offpolicy.intervals import CONFIDENCE
from edge_agent.replay.again import NO_WHOLE_RECORD
from edge_agent.replay.counterfactual import Lack, Row, log_of, row_of, row_of_silence
from edge_agent.shell.bundles import load_bundle
from edge_agent.shell.kept_rules import kept_rules
from edge_agent.shell.rules_beside_hq import KeptTexts, rules_beside_hq
from edge_agent.shell.sqlite_db import open_for_reading

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Mapping

    from edge_agent.domain.rules import Rules
    from edge_agent.replay.again import Knowledge
    from edge_agent.shell.rules_beside_hq import RulesBesideHq

app = typer.Typer(
    no_args_is_help=True,
    help="What another model or other rules would have got, from the decisions that were logged.",
)

NAMES: Final = {
    "ips": "inverse probabilities",
    "snips": "self-normalised",
    "dr": "doubly robust",
}
LACKS: Final = {
    Lack.NOT_EXPLORED: "nothing explored",
    Lack.NO_CANDIDATE: "no candidate",
    Lack.NO_SUCH_OFFER: "not so offered",
    Lack.STORE_SILENT: "the store said nothing",
    Lack.NO_RECORD: "decided without rules",
}


class Reward(StrEnum):
    """What counts as an answer to what stood first."""

    ANSWERED = "answered"
    BOUGHT = "bought"
    TAPPED = "tapped"


@app.callback()
def _described() -> None:
    """What another model or other rules would have got, from the decisions that were logged."""


@app.command()
@shown
def evaluate(
    *,
    bundle: Annotated[
        Path | None,
        typer.Option(exists=True, file_okay=False, help="Another model: a bundle's folder."),
    ] = None,
    rules: Annotated[
        Path | None, typer.Option(exists=True, dir_okay=False, help="Other rules: a policy.toml.")
    ] = None,
    state: Annotated[
        Path | None,
        typer.Option(
            exists=True,
            file_okay=False,
            help="The folder that `demo --state DIR` left; else the configured agent's.",
        ),
    ] = None,
    config: Annotated[Path, typer.Option("--config", "-c", help="The agent's file.")] = (
        DEFAULT_CONFIG
    ),
    reward: Annotated[
        Reward, typer.Option(help="What counts: bought in time, tapped, or either.")
    ] = Reward.ANSWERED,
    clip: Annotated[
        float | None,
        typer.Option(min=1.0, help="Let no decision weigh more; left out, weights stay."),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Report as JSON.")] = False,
) -> None:
    """Estimate what another model or other rules would have got on the logged decisions.

    Each decision is taken again from its record. What the other puts first is compared with what
    stood first, which was logged with its probability; what came of it is weighed by that. The
    reward is the share of decisions whose first place was answered. The other is taken without
    exploring. Where it says nothing, nothing is answered. Where it takes what had no chance in
    the log, nothing can be known: that needs exploration: `share` in the section `exploration` of
    policy.toml. Nor can it where the store said nothing and the other would. Left out, and
    counted, is where what sells best stands for a control group: nothing is explored there; and,
    where no `--rules` are given, decisions whose own rules are not kept any more.

    \b
    Examples:
      edge-agent policy evaluate --bundle /root/ranker-2026.12.1
      edge-agent policy evaluate --rules new-policy.toml --reward bought
      edge-agent policy evaluate --rules new-policy.toml --state demo-state --json

    \b
    Exit codes: 0 the estimate can be relied on; 1 the verdict says why not; 2 wrong use.
    """  # noqa: D301 - click wants the control character itself
    if bundle is None and rules is None:
        raise typer.BadParameter("say what to evaluate: --bundle, --rules or both")
    day = _day(state, config)
    with closing(open_for_reading(day.database)) as connection:
        logged = logged_in(connection, bought_within_s=day.config.policy.bought_within_s)
        others = _others(day, connection, bundle=bundle, rules=rules)
        taken = _taken(logged, others, reward=reward.value)
    found = evaluated(log_of(taken.rows), clip=clip)
    report = {
        "bundle": None if bundle is None else others.default.scorer.version,
        "rules": None if rules is None else others.default.rules.version,
        "database": str(day.database),
        "reward": reward.value,
        "from": None if logged.from_ms is None else rfc3339_from_ms(logged.from_ms),
        "until": None if logged.until_ms is None else rfc3339_from_ms(logged.until_ms),
        "left_out": {
            "still_open": logged.n_open,
            "control": taken.n_control,
            "unreadable": taken.n_unreadable,
            "rules_gone": taken.n_rules_gone,
        },
        "no_chance": {each.value: taken.lacks[each] for each in Lack if taken.lacks[each]},
        "never_recorded": sorted(book_of(others.default.rules).names - taken.facts),
        "explored": sum(each.is_explored for each in taken.rows),
        **_told(found),
        "advice": advice_on(
            found, taken.rows, n_control=taken.n_control, n_rules_gone=taken.n_rules_gone
        ),
    }
    if as_json:
        typer.echo(json.dumps(report, indent=2))
    else:
        _print(report)
    if found.verdict != ENOUGH:
        raise typer.Exit(1)


class _Others:
    """What a decision is taken again with: the other model, and the other rules or its own."""

    def __init__(
        self, default: Knowledge, own: Mapping[str, Rules], *, rules: RulesBesideHq | None
    ) -> None:
        self.default = default
        self._own = own
        self._rules = rules
        self._known: dict[str, Knowledge] = {}

    def of(self, told: dict[str, Any]) -> Knowledge | None:
        """Returns it for one decision; None where its own rules are not kept any more."""
        if "rules" not in told:
            return self.default
        version = told["rules"]["version"]
        if version not in self._known:
            rules = self._kept(told) if self._rules is None else self._rules.at(told)
            if rules is None:
                return None
            unexploring = replace(rules, exploration=Exploration())
            self._known[version] = replace(self.default, rules=unexploring)
        return self._known[version]

    def _kept(self, told: dict[str, Any]) -> Rules | None:
        rules = self._own.get(told["rules"]["version"])
        return rules if rules is not None and rules.digest == told["rules"]["digest"] else None


def _day(state: Path | None, config: Path) -> RecordedDay:
    if state is not None:
        return found_in(state)
    loaded = configuration.load(config)
    return RecordedDay(database=loaded.database, config=loaded)


def _others(
    day: RecordedDay, connection: sqlite3.Connection, *, bundle: Path | None, rules: Path | None
) -> _Others:
    key = day.config.model_key
    model = live_bundle(day) if bundle is None else load_bundle(bundle, public_key=key)
    known = replace(known_of(day, connection, model), currency=day.config.currency)
    other = None
    if rules is not None:
        other = rules_beside_hq(rules, kept=KeptTexts(connection), config=day.config)
        known = replace(known, rules=replace(other.rules, exploration=Exploration()))
    return _Others(known, kept_rules(connection, day.config), rules=other)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Taken:
    """Decisions taken again, those left out, and the facts that any of them recorded.

    Attributes:
        n_control: Those where what sells best stands for a control group.
        n_unreadable: Those that could not be taken again.
        n_rules_gone: Those whose own rules are not kept any more.
    """

    rows: list[Row]
    n_control: int
    n_unreadable: int
    n_rules_gone: int
    facts: frozenset[str]

    @property
    def lacks(self) -> Counter[Lack]:
        """Why what the other takes had no chance, of those where it had none."""
        return Counter(each.lack for each in self.rows if each.lack is not None)


def _taken(logged: Logged, others: _Others, *, reward: str) -> _Taken:
    found: list[Row] = []
    facts: set[str] = set()
    control = unreadable = gone = 0
    console = Console(stderr=True)
    for each in track(logged.decisions, "taking decisions again", console=console, transient=True):
        try:
            told = json.loads(each.record)
            known = others.of(told)
            row = None if known is None else _row(each, told, known, reward=reward)
            asked = told.get("rules", {}).get("known", {}).get("facts", ())
        except NO_WHOLE_RECORD:
            unreadable += 1
            continue
        gone += known is None
        if row is None:
            continue
        control += row.is_control
        found += () if row.is_control else (row,)
        facts.update(asked)
    return _Taken(
        rows=found,
        n_control=control,
        n_unreadable=unreadable,
        n_rules_gone=gone,
        facts=frozenset(facts),
    )


def _row(
    logged: LoggedDecision, told: dict[str, Any], known: Knowledge, *, reward: str
) -> Row | None:
    if logged.is_silent:
        return row_of_silence(told, known)
    return row_of(told, logged.outcomes, known, reward=reward)


def _told(found: Evaluation) -> dict[str, Any]:
    told = asdict(found)
    for name in ("logged", "estimates", "differences"):
        told.pop(name)
    if found.logged is not None:
        told["logged"] = found.logged._asdict()
    told["estimates"] = {name: each._asdict() for name, each in found.estimates.items()}
    told["differences"] = {name: each._asdict() for name, each in found.differences.items()}
    return {**told, "confidence": CONFIDENCE}


def _print(report: dict[str, Any]) -> None:
    what = [f"{name} {report[name]}" for name in ("bundle", "rules") if report[name]]
    table = Table("", f"{report['reward']}, of 100 decisions", "more than was got")
    if report.get("logged"):
        table.add_row("was got", _interval(report["logged"]), "")
    for name, each in report["estimates"].items():
        table.add_row(NAMES[name], _interval(each), _interval(report["differences"][name]))
    console = Console()
    typer.echo(f"{', '.join(what)}: on {report['n']} decisions of {report['n_units']} visits")
    if report["estimates"]:
        console.print(table)
    clip = report["clip"]
    cut = "none clipped" if clip is None else f"{report['n_clipped']} clipped at {clip:g}"
    typer.echo(
        f"same first place in {report['n_same']}; the other's had a chance in"
        f" {report['n_supported']}; it says nothing in {report['n_silent']}, which nobody answers:"
        f" estimates, and what was got, are over these {report['n_estimated']}"
    )
    if report["no_chance"]:
        lacks = (f"{n} ({LACKS[Lack(name)]})" for name, n in report["no_chance"].items())
        typer.echo(f"no chance of what the other takes in: {', '.join(lacks)}")
    left_out = report["left_out"]
    typer.echo(
        f"{report['explored']} explored; left out: {left_out['still_open']} still open,"
        f" {left_out['control']} control groups' defaults, {left_out['unreadable']} unreadable,"
        f" {left_out['rules_gone']} under rules that are not kept any more"
    )
    typer.echo(
        f"effective sample size {report['effective']:.0f}; mean weight"
        f" {report['mean_weight']:.3f}, largest {report['largest_weight']:.1f}, {cut}; 95 %"
        " intervals over visits"
    )
    if report["never_recorded"]:
        names = ", ".join(report["never_recorded"])
        typer.echo(f"no record tells {names}: conditions that ask of them count as false")
    typer.echo(f"verdict: {report['verdict']}: {report['why']}")
    if report["advice"]:
        typer.echo(f"hint: {report['advice']}")


def _interval(each: dict[str, float]) -> str:
    return f"{100 * each['value']:.2f} [{100 * each['low']:.2f}, {100 * each['high']:.2f}]"
