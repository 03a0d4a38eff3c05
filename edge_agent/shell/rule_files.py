"""Reads `policy.toml`: rules as a whole, or every problem with its line and the cure."""

from __future__ import annotations

import re
import tomllib
from difflib import get_close_matches
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from pydantic import BaseModel, ValidationError

from edge_agent.config import DAY_S, decoded
from edge_agent.decide.conditions import suggested
from edge_agent.domain.rules import Rules
from edge_agent.errors import ConfigError
from edge_agent.ingest.places import by_line, line_of
from edge_agent.shell.rule_making import Maker, Place, Problem
from edge_agent.wire import policy_file
from edge_agent.wire.policy_file import PolicyFile

if TYPE_CHECKING:
    from collections.abc import Container, Iterable, Mapping

    from edge_agent.config import Config

# A thousand campaigns with their texts are a tenth of it.
BYTES_MAX: Final = 1_000_000
_LINE: Final = re.compile(r" \(at line (\d+), column (\d+)\)$")
_AT_END: Final = " (at end of document)"
_QUOTED_WHEN: Final = re.compile(r'\s*when\s*=\s*"[^"]*"[^"\s#]')
_QUOTES: Final = ("'''", '"""')
# By the validator's own names for what is wrong.
_WORDS: Final = {
    "missing": "is missing; add it",
    "string_type": "needs a text, in quotes",
    "float_type": "needs a number, without quotes",
    "int_type": "needs a whole number, without quotes",
    "int_from_float": "needs a whole number",
    "bool_type": "needs true or false, without quotes",
    "dict_type": "needs a table",
    "model_type": "needs a table",
    "model_attributes_type": "needs a table",
    "tuple_type": "needs an array, in brackets",
    "string_too_short": "is empty; write something or take it out",
    "too_short": "is empty; write something or take it out",
    "string_pattern_mismatch": "takes letters, digits, - and _ alone, at most 64",
    "finite_number": "needs a finite number",
}
# With the bound as the validator gives it.
_BOUNDS: Final = {
    "greater_than_equal": "must be at least {ge:g}",
    "less_than_equal": "must be at most {le:g}",
    "too_long": "takes at most {max_length}; take some out",
    "string_too_long": "is longer than {max_length} characters; say less",
}
_SHARES: Final = ("share", "control_share", "ignored_lever")
SECTIONS: Final[Mapping[str, type[BaseModel]]] = {
    "caps": policy_file.CapsSection,
    "control": policy_file.ControlSection,
    "exploration": policy_file.ExplorationSection,
    "hurry": policy_file.HurrySection,
    "help": policy_file.HelpSection,
    "sensitive": policy_file.SensitiveSection,
    "screens": policy_file.ScreenSection,
    "sharing": policy_file.SharingSection,
    "teams": policy_file.TeamSection,
    "rules": policy_file.RuleSection,
    "campaigns": policy_file.CampaignSection,
}


def load_rules(path: Path, config: Config | None = None) -> Rules:
    """Returns the rules in a file.

    Args:
        path: The file.
        config: The store's configuration; without it, what only a store knows goes unchecked.

    Raises:
        ConfigError: It is wrong; `problems` names every place.
    """
    return rules_of(text_of(path), name=str(path), config=config)


def unsold(path: Path, config: Config) -> tuple[str, ...]:
    """Returns what a good file says of departments that no zone sells, and not of those sold.

    No error: one file serves many stores, and the catalogue may know what no zone lists.
    """
    text = text_of(path)
    file = _form_of(_document(text, str(path)))
    sold = frozenset(name for zone in config.zones.values() for name in zone.departments)
    if not sold:
        return ()
    named: list[tuple[Place, Iterable[str]]] = [
        (("sensitive", "departments"), file.sensitive.departments),
        *((("margins", name), (name,)) for name in file.margins),
        *((("rules", name, "departments"), each.departments) for name, each in file.rules.items()),
        *((("teams", name, "topics"), each.topics) for name, each in file.teams.items()),
    ]
    found = [
        Problem(place, f"no zone here sells {name}; {_meant(name, sold)}")
        for place, names in named
        for name in names
        if name not in sold
    ]
    unnamed = sorted(sold.difference(file.margins))
    if file.margins and unnamed:
        found.append(Problem(("margins",), f"one piece of these is worth 1: {', '.join(unnamed)}"))
    return by_line(_told(each, text, str(path)) for each in found)


def forgotten(path: Path, config: Config) -> tuple[str, ...]:
    """Returns which cap of a good file looks farther back than decisions are kept.

    No error: one file serves many stores, and each says how long it keeps them.
    """
    text = text_of(path)
    file = _form_of(_document(text, str(path)))
    days = config.retention.decisions_days
    if file.caps.cooldown_s <= days * DAY_S:
        return ()
    what = (
        f"it holds for {days} days alone: no longer are decisions kept (retention.decisions_days)"
    )
    return (_told(Problem(("caps", "cooldown_s"), what), text, str(path)),)


def unknown_products(path: Path, known: Container[str]) -> tuple[str, ...]:
    """Returns where the campaigns of a good file name products that a catalogue does not know.

    No error: HQ's feed may know them.
    """
    text = text_of(path)
    file = _form_of(_document(text, str(path)))
    what = "the bundle does not know {}; unless HQ's feed does, nothing is said of it"
    return by_line(
        _told(Problem(("campaigns", name, "products"), what.format(product)), text, str(path))
        for name, each in file.campaigns.items()
        for product in each.products
        if product not in known
    )


def _meant(name: str, sold: frozenset[str]) -> str:
    alike = {each.casefold(): each for each in sorted(sold)}.get(name.casefold())
    near = [alike] if alike else get_close_matches(name, sorted(sold), n=1)
    return f"did you mean {near[0]}?" if near else "see the zones' departments in the agent's file"


def text_of(path: Path) -> str:
    """Returns what is written in a policy file.

    Raises:
        ConfigError: It cannot be read.
    """
    try:
        found = path.read_bytes()
        if len(found) > BYTES_MAX:
            what = f"{path}:1: larger than {BYTES_MAX:,} bytes; say less"
            raise ConfigError(f"{path} is wrong", problems=(what,))
        return decoded(found, name=str(path))
    except OSError as error:
        what = f"{path}:1: cannot be read: {error.strerror}; see that it is there and readable"
        raise ConfigError(f"{path} cannot be read", problems=(what,)) from error


def rules_of(
    text: str, *, name: str, config: Config | None = None, is_in_force: bool = False
) -> Rules:
    """Returns the rules in a text.

    Args:
        text: It.
        name: How problems call it.
        config: The store's configuration; without it, what only a store knows goes unchecked.
        is_in_force: It was good before: what the store no longer has is left alone.

    Raises:
        ConfigError: It is wrong; `problems` names every place.
    """
    document = _document(text, name)
    maker = Maker(config, is_in_force=is_in_force)
    try:
        rules = maker.rules(_form_of(document))
    except ValidationError as error:
        # Whoever mends the form is not to find the conditions wrong only then.
        found = _problems_of(error)
        maker.judge_conditions(document, without={each.place for each in found})
        raise _wrong((*found, *maker.problems), text, name) from error
    if maker.problems:
        raise _wrong(maker.problems, text, name)
    return rules


def _document(text: str, name: str) -> dict[str, Any]:
    try:
        return tomllib.loads(text)
    except RecursionError as error:
        what = f"{name}:1: is nested too deeply; write tables under headers"
        raise ConfigError(f"{name} is no TOML", problems=(what,)) from error
    except ValueError as error:
        said = str(error)
        found = _LINE.search(said)
        # As TOML counts lines: other characters end one for Python alone.
        last = str(text.removesuffix("\n").count("\n") + 1)
        line, column = (found[1], f"column {found[2]}: ") if found else (last, "")
        reason = _LINE.sub("", said).removesuffix(_AT_END)
        what = f"{name}:{line}: no TOML: {column}{reason}{_of_quotes(text, int(line))}"
        raise ConfigError(f"{name} is no TOML", problems=(what,)) from error


def _of_quotes(text: str, line: int) -> str:
    """Returns the cure where a condition with quotes in it stands in the same quotes."""
    is_cut = _QUOTED_WHEN.match(text.split("\n")[line - 1])
    return "; put a condition with \" in it between '" if is_cut else ""


def _form_of(document: dict[str, Any]) -> PolicyFile:
    return PolicyFile.model_validate(_tuples(document))


def _problems_of(error: ValidationError) -> tuple[Problem, ...]:
    return tuple(
        Problem(_named(each["loc"]), _said(each))
        for each in _first_causes(error.errors(include_url=False))
    )


def _wrong(problems: Iterable[Problem], text: str, name: str) -> ConfigError:
    told = tuple(_told(each, text, name) for each in problems)
    return ConfigError(f"{name} is wrong", problems=by_line(told))


def _first_causes(errors: list[Any]) -> list[Any]:
    """Returns what is wrong without lists that are empty only for what is wrong in them."""
    inner = {each["loc"][:-1] for each in errors}
    return [each for each in errors if each["type"] != "too_short" or each["loc"] not in inner]


def _said(error: Any) -> str:
    kind, place = error["type"], error["loc"]
    if kind == "extra_forbidden":
        known = _keys_of(place[:-1])
        return f"there is no such key; {suggested(str(place[-1]), known)}"
    if kind == "literal_error":
        return f"must be {error['ctx']['expected']}"
    if kind in _BOUNDS:
        is_percent = kind == "less_than_equal" and place[-1] in _SHARES
        cure = "; write 10 % as 0.1" if is_percent else ""
        return _BOUNDS[kind].format_map(error["ctx"]) + cure
    return _WORDS.get(kind) or str(error["msg"]).removeprefix("Value error, ")


def _keys_of(place: Place) -> list[str]:
    named = [each for each in place if each in SECTIONS]
    model = SECTIONS[str(named[-1])] if named else PolicyFile
    return [each.alias or name for name, each in model.model_fields.items()]


def _named(place: Place) -> Place:
    """Returns a place without what the validator says of a key that is wrong itself."""
    return place[:-1] if place[-1:] == ("[key]",) else place


def _told(problem: Problem, text: str, name: str) -> str:
    line, where = line_of(text, problem.place), ""
    if problem.said:
        line, where = _within_text(problem, text.split("\n"), line)
    dotted = ".".join(map(str, problem.place))
    return f"{name}:{line}: {dotted}: {where}{problem.message}"


def _within_text(problem: Problem, lines: list[str], line: int) -> tuple[int, str]:
    """Returns the line of a place in a text, and its column in words."""
    before = problem.said[: problem.at]
    n_before = before.count("\n")
    key_line = lines[line - 1] if line <= len(lines) else ""
    if key_line.rstrip().endswith(_QUOTES):
        # The line break after the opening quotes is no part of the text.
        n_before += 1
    column = len(before) - before.rfind("\n")
    if n_before == 0:
        first = problem.said.partition("\n")[0]
        begins = key_line.find(first)
        if begins < 0:
            return line, f"at character {column} of it: "
        column += begins
    return line + n_before, f"column {column}: "


def _tuples(value: Any) -> Any:
    # TOML has arrays only; strict tuples want tuples.
    if isinstance(value, dict):
        return {key: _tuples(each) for key, each in value.items()}
    return tuple(_tuples(each) for each in value) if isinstance(value, list) else value
