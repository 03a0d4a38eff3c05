"""The bridge's settings: every problem with its line; patterns and topics that cannot be bent."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from paho.mqtt.client import topic_matches_sub

from edge_agent.bridge import templates
from edge_agent.bridge.documents import why_not_whole
from edge_agent.bridge.hooks import hooks_of
from edge_agent.bridge.settings import is_bridge_file, parse
from edge_agent.cli.check import problems_of
from edge_agent.errors import ConfigError

EXAMPLE = Path(__file__).parents[2] / "provisioning" / "bridge.example.toml"
HOOK = '[hooks.a]\nkind = "none"\npath = "/a"\ntopic = "a/b"\n'
FOLDER = '[folders.a]\npath = "/drop"\ntopic = "pos/1/poslog"\n'


def _problems(text: str) -> list[str]:
    with pytest.raises(ConfigError) as raised:
        parse(text, name="bridge.toml")
    return list(raised.value.problems)


def test_the_example_is_good_and_shows_every_key_and_default() -> None:
    """The shipped file passes the check, and what it calls a default is one."""
    assert problems_of(EXAMPLE) == []
    text = EXAMPLE.read_text()
    config = parse(text, name="example")
    sections = (config.broker, config.http, config.folders["poslog"], config.hooks["orders"])
    for section in sections:
        for key, field in type(section).model_fields.items():
            assert key in text, key
            line = next((one for one in text.splitlines() if one.startswith(f"# {key} = ")), None)
            if line is None or field.is_required() or field.default is None:
                continue
            shown = line.partition("= ")[2].partition("#")[0].strip().strip('"')
            assert shown == str(field.default).replace("True", "true"), line


def test_a_misspelt_key_and_a_wrong_value_are_named_with_their_lines() -> None:
    """Two problems, two lines."""
    text = f'{HOOK}tokken = "x"\n\n[http]\nport = 99999\n'
    assert [problem.partition(": ")[0] for problem in _problems(text)] == [
        "bridge.toml:8",
        "bridge.toml:5",
    ]


@pytest.mark.parametrize(
    ("text", "line", "what"),
    [
        ("[http]\nport = 1\n", 1, "nothing to bridge"),
        (HOOK.replace('"none"', '"square"'), 1, "secret_file is missing"),
        (HOOK + 'secret_file = "/s"\n', 5, "means nothing for kind none"),
        (HOOK + '[http]\nhost = "0.0.0.0"\n', 2, "for this machine alone"),
        (HOOK.replace('"/a"', '"a"'), 3, "write a path"),
        (HOOK.replace('"/a"', '"/a/"'), 3, "write a path"),
        (HOOK.replace('"/a"', '"/health"'), 3, "the bridge's own"),
        (HOOK.replace("a/b", "store/s1/event/pos-1"), 4, "the vendor's own word"),
        (HOOK.replace("a/b", "hq/all/down/campaign"), 4, "the vendor's own word"),
        (HOOK.replace("a/b", "$SYS/x"), 4, "the vendor's own word"),
        (HOOK.replace("a/b", "{header:X}/b"), 4, "the vendor's own word"),
        (HOOK.replace("a/b", "/store/x"), 4, "the vendor's own word"),
        (HOOK.replace("a/b", "a/#"), 4, "no spaces, no + and no #"),
        (HOOK.replace("a/b", "a/{camera}"), 4, "there is no field {camera}"),
        (HOOK + HOOK.replace("hooks.a", "hooks.b"), 7, "hooks.a has the same"),
        (HOOK + '[http]\ncert_file = "/c"\n', 5, "TLS needs both"),
        (FOLDER.replace('"/drop"', '"drop"'), 2, "an absolute path"),
        (FOLDER + 'pattern = "a/*"\n', 4, "one file's name"),
        (FOLDER + 'pattern = "*****{a}"\n', 4, "at most 5"),
        (FOLDER.replace("pos/1", "pos/{till}"), 3, "there is no field {till}"),
        (FOLDER.replace("pos/1", "pos/{header:Host}"), 3, "there is no field"),
    ],
)
def test_what_cannot_work_is_named_with_its_line(text: str, line: int, what: str) -> None:
    """Each mistake is found before the bridge starts."""
    problems = _problems(text)
    assert any(
        problem.startswith(f"bridge.toml:{line}: ") and what in problem for problem in problems
    ), problems


def test_a_stamp_is_signed_or_not_asked_for() -> None:
    """A time outside the signature proves nothing, and one in it needs its header."""
    hook = HOOK.replace('"none"', '"hmac"') + 'secret_file = "/s"\nheader = "X"\n'
    assert parse(hook, name="x").hooks["a"].signed == "{body}"
    assert "go together" in _problems(hook + 'timestamp_header = "T"\n')[0]
    assert "go together" in _problems(hook + 'signed = "{timestamp}{body}"\n')[0]
    assert "holds {body} once" in _problems(hook + 'signed = "body"\n')[0]


def test_a_secret_that_is_missing_empty_or_short_is_no_secret(tmp_path: Path) -> None:
    """The bridge does not start with a door that anybody opens."""
    secret = tmp_path / "secret"
    hook = HOOK.replace('"none"', '"bearer"') + f'secret_file = "{secret}"\n'
    config = parse(hook, name="x")
    for content in (None, "", "\n \n", "short\n", "long-enough-secret\nshort\n"):
        if content is not None:
            secret.write_text(content)
        with pytest.raises(ConfigError, match=r"hooks\.a\.secret_file"):
            hooks_of(config)
    secret.write_text("long-enough-secret\n\nanother-good-one\n")
    assert len(hooks_of(config)) == 1


def test_a_bridges_file_is_told_from_an_agents() -> None:
    """`check` takes both, broken ones too."""
    assert is_bridge_file(EXAMPLE.read_text())
    assert not is_bridge_file((EXAMPLE.parent / "agent.example.toml").read_text())
    assert is_bridge_file('[hooks.a]\nkind = "none\n')


@given(value=st.text(max_size=100))
def test_a_filled_topic_keeps_its_levels_and_has_no_wildcard(value: str) -> None:
    """Whatever a path or a name gives, the topic has the levels that were written down."""
    template = templates.topic_template(
        "pos/{till}/poslog", frozenset({"till"}), has_headers=False
    )
    topic = template.filled({"till": value}, {})
    if topic is not None:
        first, till, last = topic.split("/")
        assert (first, till, last) == ("pos", value, "poslog")
        assert not set(topic) & set("+#\0\r\n ")
        topic.encode()


@given(value=st.text(max_size=100))
def test_a_header_fills_few_levels_and_no_wildcard(value: str) -> None:
    """A header may hold levels, but none that is empty, a dot or a wildcard."""
    template = templates.topic_template("shopify/{header:T}", frozenset(), has_headers=True)
    topic = template.filled({}, {"t": value})
    if topic is not None:
        levels = topic.split("/")
        assert levels[0] == "shopify"
        assert 2 <= len(levels) <= 1 + templates.HEADER_LEVELS_MAX
        assert all(templates.is_level(level) for level in levels)


@given(name=st.text(max_size=255))
def test_a_pattern_of_names_is_total(name: str) -> None:
    """Any name fits or does not, quickly."""
    pattern = templates.name_pattern("{till}-*-{day}*.xml")
    fields = pattern.match(name)
    assert fields is None or set(fields) == {"till", "day"}


@given(payload=st.binary(max_size=300))
def test_a_documents_wholeness_is_total(payload: bytes) -> None:
    """Any bytes are whole or not; nothing raises."""
    for document in ("any", "xml", "json"):
        assert why_not_whole(payload, document) in {None, "empty", "no_whole_xml", "no_whole_json"}


def test_a_document_that_grows_when_read_is_no_document() -> None:
    """Nested entities and endless brackets are refused in bounded time."""
    entities = "".join(f'<!ENTITY e{n} "{f"&e{n - 1};" * 10}">' for n in range(1, 30))
    bomb = f'<!DOCTYPE a [<!ENTITY e0 "x">{entities}]><a>&e29;</a>'.encode()
    assert why_not_whole(bomb, "xml") in {None, "no_whole_xml"}
    assert why_not_whole(b"[" * 200_000, "json") == "no_whole_json"


def test_every_topic_of_the_example_is_in_the_bridges_role_and_in_a_mapping() -> None:
    """What the example publishes, the broker lets through and a vendor's mapping listens to."""
    config = parse(EXAMPLE.read_text(), name="example")
    told = [hook.topic for hook in config.hooks.values()]
    told += [folder.topic for folder in config.folders.values()]
    topics = [re.sub(r"\{[^}]*\}", "x", topic) for topic in told]
    acl = (EXAMPLE.parent / "mosquitto.acl").read_text()
    block = acl.partition("role bridge\n")[2].partition("\n\n")[0].splitlines()
    written = [line.removeprefix("topic write ") for line in block]
    mappings = (EXAMPLE.parents[1] / "hardware").glob("*/mapping.toml")
    mapped = [one for path in mappings for one in tomllib.loads(path.read_text())["topics"]]
    for topic in topics:
        assert any(topic_matches_sub(one, topic) for one in written), topic
        assert any(topic_matches_sub(one, topic) for one in mapped), topic
    for one in written:
        assert one in mapped, one
