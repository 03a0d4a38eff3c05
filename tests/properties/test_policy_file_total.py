"""Laws of the policy file: any text is rules or errors with lines, any condition true or false."""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

from hypothesis import example, given
from hypothesis import strategies as st

from edge_agent import config as configuration
from edge_agent.decide.condition_syntax import BadCondition
from edge_agent.domain.fact_names import FACT_NAMES
from edge_agent.errors import ConfigError
from edge_agent.shell.conditions import compiled
from edge_agent.shell.rule_files import load_rules, rules_of

EXAMPLE: Final = Path(__file__).parents[2] / "provisioning" / "policy.example.toml"
TEXT: Final = EXAMPLE.read_text(encoding="utf-8")
LINES: Final = [each for each in TEXT.splitlines() if each and not each.startswith("#")]
PROBLEM: Final = re.compile(r"p\.toml:(\d+): .*\S", re.DOTALL)
SIGNS: Final = "== != < >= && || ! - + * / % ? : . , ( ) [ ] = { // 3 0 1.5 \"a\" 'dairy'"
STORE: Final = configuration.parse(
    'store = "s1"\ntimezone = "Europe/Helsinki"\n[zones.dairy]\n'
    '[screens.dairy-1]\nzone = "dairy"\n',
    name="agent.toml",
)
# The longest condition that is taken needs a millisecond; this is a hang.
SOON_S: Final = 2.0

words = st.sampled_from(
    [*FACT_NAMES, "has", "size", "matches", "exists", "startsWith", "double", "true", "in", "x"]
)
signs = st.sampled_from([*SIGNS.split(), 'r"a+"', '"\\q"', "9" * 19, "\n"])
expressions = st.one_of(
    st.lists(st.one_of(words, signs), max_size=14).map(" ".join), st.text(max_size=40)
)
values = st.one_of(
    st.integers(-(2**70), 2**70).map(str),
    st.floats().map(str),
    st.booleans().map(lambda value: str(value).lower()),
    st.dates().map(str),
    st.datetimes().map(lambda value: value.isoformat()),
    st.sampled_from(
        ["''", '""', "[]", "{}", "[[]]", '"2026-12-01 10:31"', "[1, 'a']", '"\\u0000"']
    ),
)
lines = st.one_of(
    st.sampled_from(LINES),
    st.tuples(st.sampled_from(LINES).map(lambda line: line.split(" = ")[0]), values).map(
        " = ".join
    ),
    expressions.map(lambda text: "when = '''" + text.replace("'", '"') + "'''"),
    st.text(max_size=30),
)
scalars = st.one_of(st.booleans(), st.integers(-(2**70), 2**70), st.floats(), st.text(max_size=10))
facts = st.dictionaries(
    st.sampled_from([*FACT_NAMES]),
    st.one_of(
        scalars,
        st.lists(scalars, max_size=3),
        st.dictionaries(st.text(max_size=5), scalars, max_size=3),
    ),
)


def refused(read: Callable[[], object]) -> ConfigError | BadCondition | None:
    """Why something is refused; None when it is taken."""
    try:
        read()
    except (ConfigError, BadCondition) as error:
        return error
    return None


def law(text: str, config: configuration.Config | None) -> None:
    """A text is rules, or problems that each name a line of it."""
    error = refused(lambda: rules_of(text, name="p.toml", config=config))
    if not isinstance(error, ConfigError):
        return
    assert error.problems
    for each in error.problems:
        found = PROBLEM.fullmatch(each)
        assert found is not None, each
        assert 1 <= int(found[1]) <= len(text.splitlines()) + 1


@given(st.one_of(st.text(), st.lists(lines, max_size=12).map("\n".join)), st.booleans())
@example(TEXT, True)  # noqa: FBT003 - as it is drawn
@example('version = "a"\n[rules.x]\nforbid = true\nwhen = """\n"""', False)  # noqa: FBT003
@example("\x00", False)  # noqa: FBT003
@example('version = "a"\n[margins]\nx = nan', False)  # noqa: FBT003
def test_any_text_is_rules_or_errors_with_lines(text: str, has_store: bool) -> None:  # noqa: FBT001 - drawn
    """Whatever somebody saves as a policy, the check ends with its line."""
    law(text, STORE if has_store else None)


@given(st.integers(0, len(LINES) - 1), lines)
def test_one_wrong_line_of_a_good_file_is_rules_or_errors_with_lines(at: int, line: str) -> None:
    """The usual way in which a file is wrong: one line of it."""
    law("\n".join([*LINES[:at], line, *LINES[at + 1 :]]), STORE)


@given(st.binary(max_size=60))
def test_any_bytes_are_rules_or_errors_with_lines(tmp_path_factory: Any, data: bytes) -> None:
    """A file of any bytes at all, as it lies on the disk."""
    path = tmp_path_factory.getbasetemp() / "p.toml"
    path.write_bytes(data)
    error = refused(lambda: load_rules(path))
    assert not isinstance(error, ConfigError) or error.problems
    for each in () if not isinstance(error, ConfigError) else error.problems:
        assert re.match(r".*p\.toml:\d+: ", each)


@given(expressions, facts)
@example("fact.a / 0 == 1 || size(segments) % 0 == 1", {"fact": {"a": 1.0}, "segments": []})
@example('zone.matches("(a+)+$")', {"zone": "a" * 60 + "!"})
@example(" && ".join(["(hour + minute) * 3 > 1"] * 40), {"hour": 1, "minute": 2})
@example("hour" + " + hour" * 48 + " > 1", {"hour": 2**62})
def test_any_condition_is_refused_or_true_or_false_soon(text: str, known: dict[str, Any]) -> None:
    """Nothing that passes the check can raise or hang, whatever the moment's facts are."""
    error = refused(lambda: compiled(text))
    if isinstance(error, BadCondition):
        assert error.what
        assert 0 <= error.at <= len(text)
        return
    condition = compiled(text)
    assert condition.names <= FACT_NAMES.keys()
    before_s = time.perf_counter()
    assert condition.holds(known) in {True, False}
    assert condition.holds({name: known[name] for name in condition.names & known.keys()}) == (
        condition.holds(known)
    )
    assert time.perf_counter() - before_s < SOON_S
