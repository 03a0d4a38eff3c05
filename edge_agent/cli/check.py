"""`edge-agent check`: settings, mappings, policies and bundles, every problem with its line."""

from __future__ import annotations

import json
import re
from itertools import takewhile
from pathlib import Path
from typing import Annotated

import typer

from edge_agent import config as configuration
from edge_agent.bridge import settings as bridge_settings
from edge_agent.cli.map import check_mapping
from edge_agent.cli.run import DEFAULT_CONFIG
from edge_agent.errors import BundleError, ConfigError, refusal_of
from edge_agent.ingest.places import by_line
from edge_agent.shell import mapping_files, rule_files

MAPPING_FILE = "mapping.toml"
POLICY_FILE = "policy.toml"
# A store may call its own mapping as it likes; nothing else has rules.
_OF_MAPPING = re.compile(r"^\s*\[\[\s*rules\s*\]\]", re.MULTILINE)
# Nor has anything else a version of its own before its first table.
_OF_POLICY = re.compile(r"\s*version\s*=")
_OF_RULES = re.compile(
    r"^\s*\[\s*(?:caps|control|exploration|hurry|help|sensitive|margins|teams|rules|campaigns)"
    r"\s*[.\]]",
    re.MULTILINE,
)
_OF_STORE = re.compile(r"\s*store\s*=")
_HEADER = re.compile(r"\s*\[")


def check(
    files: Annotated[
        list[Path] | None,
        typer.Argument(
            help="Settings of agent or bridge, mappings, policies (.toml), bundle folders.",
            show_default=False,
        ),
    ] = None,
    *,
    as_json: Annotated[bool, typer.Option("--json", help="Print the result as JSON.")] = False,
) -> None:
    """Check settings, mappings, policies and model bundles; exit 1 when something is wrong.

    Examples: edge-agent check /etc/edge-agent/agent.toml · edge-agent check models/artifacts
    """
    results = {str(path): problems_of(path) for path in files or [DEFAULT_CONFIG]}
    if as_json:
        typer.echo(json.dumps(results, indent=2))
    else:
        for name, problems in results.items():
            typer.echo(f"{name}: {'good' if not problems else ''}")
            for problem in problems:
                typer.echo(f"  {problem}")
            for note in () if problems else _notes_on(Path(name)):
                typer.echo(f"  note: {note}")
    if any(results.values()):
        raise typer.Exit(1)


def problems_of(path: Path) -> list[str]:
    """Returns all that is wrong with a file or bundle folder; empty when it is good."""
    try:
        if path.is_dir():
            return _bundle_problems(path)
        text = path.read_text(encoding="utf-8-sig", errors="replace")
    except (FileNotFoundError, NotADirectoryError):
        return ["no such file"]
    except OSError as error:
        refused = refusal_of(error)
        hint = "" if refused is None else f"; {refused.hint}"
        return [f"cannot be read: {error.strerror}{hint}"]
    if path.name == POLICY_FILE or _is_policy(text):
        return _policy_problems(path, None)
    if path.name == MAPPING_FILE or _OF_MAPPING.search(text):
        return check_mapping(path)
    return _settings_problems(path)


def _notes_on(path: Path) -> tuple[str, ...]:
    """Returns what is right in an agent's file and may still not be what was meant."""
    try:
        loaded = configuration.load(path)
    except ConfigError:
        return ()
    if loaded.rules is None:
        return ()
    rules = Path(loaded.rules)
    notes = (*rule_files.forgotten(rules, loaded), *rule_files.unsold(rules, loaded))
    if loaded.model.bundle is None:
        return notes
    from edge_agent.shell.bundles import load_bundle  # noqa: PLC0415 - loads the model runtime

    known = load_bundle(Path(loaded.model.bundle)).catalogue
    return (*notes, *rule_files.unknown_products(rules, known))


def _settings_problems(path: Path) -> list[str]:
    try:
        if bridge_settings.is_bridge_file(path.read_text(encoding="utf-8", errors="replace")):
            bridge_settings.load(path)
            return []
        loaded = configuration.load(path)
    except ConfigError as error:
        return list(by_line(error.problems)) or [error.message]
    text = path.read_text(encoding="utf-8")
    problems = list(by_line(mapping_files.problems_of(loaded, text, name=str(path))))
    for rules in (loaded.rules, loaded.shadow_rules):
        if rules is not None:
            problems += _policy_problems(Path(rules), loaded)
    if loaded.model.bundle is not None:
        problems += _bundle_problems(Path(loaded.model.bundle))
    return problems


def _is_policy(text: str) -> bool:
    top = [*takewhile(lambda line: _HEADER.match(line) is None, text.splitlines())]
    if any(_OF_STORE.match(line) for line in top):
        return False
    if any(_OF_POLICY.match(line) for line in top):
        return True
    # A mapping's rules are an array, and each may have tables of its own.
    return _OF_MAPPING.search(text) is None and _OF_RULES.search(text) is not None


def _policy_problems(path: Path, config: configuration.Config | None) -> list[str]:
    try:
        rule_files.load_rules(path, config)
    except ConfigError as error:
        return list(error.problems)
    return []


def _bundle_problems(path: Path) -> list[str]:
    from edge_agent.shell.bundles import load_bundle  # noqa: PLC0415 - loads the model runtime

    try:
        load_bundle(path)
    except BundleError as error:
        return [f"{path}: {error.message}. {error.hint}"]
    return []
