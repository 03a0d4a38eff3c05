"""The generated documents: current, valid for other people's validators, and complete."""

from __future__ import annotations

import base64
import copy
import inspect
import json
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import typer
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner

from edge_agent.cli.errors import shown
from edge_agent.cli.schema import GENERATED, schema, stale
from edge_agent.wire import topics
from edge_agent.wire.asyncapi import asyncapi
from edge_agent.wire.base import Message
from edge_agent.wire.catalog import CHANNELS, MESSAGES, message_name, schema_uri
from edge_agent.wire.documents import documents
from edge_agent.wire.events import CloudEvent, SaleCompleted
from edge_agent.wire.examples import EXAMPLES
from edge_agent.wire.schema import text
from tests.contract.node_programs import ROOT, SchemaValidator, asyncapi_faults, schema_validator
from tests.strategies import messages

STORE_IN = {
    "store/{store}/event/{source}",
    "store/{store}/screen/{screen}/feedback",
    "store/{store}/recommend/request",
    "store/{store}/offer/request",
    "store/{store}/staff/{team}/feedback",
    "store/{store}/clock",
}
STORE_OUT = {
    "store/{store}/screen/{screen}/recommendation",
    "store/{store}/staff/{team}/alert",
    "store/{store}/receipt/{register}/offer",
    "store/{store}/agent/state",
    "store/{store}/event/{source}/receipt",
    "store/{store}/deadletter",
}
UP_KINDS = ("summary/{kind}", "customer", "state", "confirm", "erasure")
UP = {f"hq/{{store}}/up/{kind}" for kind in UP_KINDS}
DOWN_KINDS = (
    *("campaign", "journey", "segment", "consent", "complaint", "profile", "catalogue", "stock"),
    *("promotion", "fact", "contact", "model", "config", "ack"),
)
DOWN = {f"hq/{{store}}/down/{kind}" for kind in DOWN_KINDS}
# The asker names his reply topic; the document leaves its address open.
NOT_A_TOPIC = {"is_recommendation", "last_level", "level", "hq_down_filters", "reply", "is_event"}
# Several topics of one function.
KINDS: dict[str, tuple[str, ...]] = {
    "hq_up": ("customer", "state", "confirm", "erasure"),
    "hq_down": DOWN_KINDS,
    "hq_summary": ("{kind}",),
}


@pytest.fixture(scope="module")
def validator() -> Iterator[SchemaValidator]:
    """A JSON Schema validator that knows every checked-in schema."""
    with schema_validator(GENERATED) as running:
        yield running


@pytest.fixture
def run() -> Callable[..., Any]:
    """The command, as typed."""
    app = typer.Typer()
    app.command()(shown(schema))
    return lambda *arguments: CliRunner().invoke(app, list(arguments))


# --- current --------------------------------------------------------------------------------


def test_checked_in_documents_are_current() -> None:
    """Whoever changes a model writes the documents again: edge-agent schema --out …/generated."""
    assert stale(documents(), GENERATED) == []


def test_documents_do_not_depend_on_the_process() -> None:
    """Two processes with other hash seeds give the same bytes."""
    program = (
        "import hashlib, json; from edge_agent.wire.documents import documents; "
        "print(hashlib.sha256(json.dumps(dict(documents())).encode()).hexdigest())"
    )
    digests = {
        subprocess.run(
            [sys.executable, "-c", program],
            env={"PYTHONHASHSEED": seed, "PYTHONPATH": ":".join(sys.path)},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for seed in ("1", "2")
    }
    assert len(digests) == 1


# --- valid ----------------------------------------------------------------------------------


SPOILERS: dict[str, Callable[[Any], object]] = {
    "no-info": lambda made: made.pop("info"),
    "action": lambda made: made["operations"]["receiveEvent"].update(action="eat"),
    "qos": lambda made: made["operations"]["sendStaffAlert"]["bindings"]["mqtt"].update(qos=3),
    "dangling-reference": lambda made: made["channels"]["clock"]["messages"].update(
        x={"$ref": "#/none"}
    ),
}


@pytest.fixture(scope="module")
def judged(tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[str]]:
    """What the parser has against our document and each spoiled one; it starts once for all."""
    files = {"ours": GENERATED / "asyncapi.json"}
    for name, spoil in SPOILERS.items():
        made = json.loads(text(asyncapi()))
        spoil(made)
        files[name] = tmp_path_factory.mktemp(name) / "asyncapi.json"
        files[name].write_text(text(made))
    return dict(zip(files, asyncapi_faults(list(files.values())), strict=True))


def test_asyncapi_document_is_valid(judged: dict[str, list[str]]) -> None:
    """The AsyncAPI project's own parser finds no error in it."""
    assert judged["ours"] == []


@pytest.mark.parametrize("fault", SPOILERS)
def test_a_spoiled_asyncapi_document_is_refused(judged: dict[str, list[str]], fault: str) -> None:
    """The validator is awake: it sees each of these faults."""
    assert judged[fault] != []


@pytest.mark.parametrize("model", MESSAGES, ids=message_name)
def test_example_is_valid_and_parses(model: type[Message], validator: SchemaValidator) -> None:
    """What the documents show as an example is what the agent takes."""
    name = message_name(model)
    assert validator.faults(schema_uri(name), EXAMPLES[name]) == ""
    model.model_validate_json(json.dumps(EXAMPLES[name]))


def test_examples_in_the_asyncapi_document_are_valid(validator: SchemaValidator) -> None:
    """Each message's example fits the payload that stands beside it; the parser does not look."""
    made = asyncapi()
    for name, message in made["components"]["messages"].items():
        payload = f"{made['id']}#/$defs/{message['payload']['$ref'].rpartition('/')[2]}"
        for example in message["examples"]:
            assert validator.faults(payload, example["payload"]) == "", name
        assert validator.faults(payload, {"now": 5}) != "", name


@pytest.mark.parametrize("quantity", ["100000", "100000.0", "0.000001", "99999.999999"])
def test_the_ends_of_a_quantity_are_valid_as_they_are_built(
    validator: SchemaValidator, quantity: str
) -> None:
    """However many decimals the greatest and the least are written with."""
    document = copy.deepcopy(EXAMPLES["sale.completed"])
    document["data"]["lines"][0]["quantity"] = quantity
    built = json.loads(
        SaleCompleted.model_validate_json(json.dumps(document)).model_dump_json(by_alias=True)
    )
    assert validator.faults(schema_uri("sale.completed"), built) == ""


@given(data=st.data())
def test_every_built_message_is_valid(validator: SchemaValidator, data: st.DataObject) -> None:
    """A schema allows whatever the agent's own models build."""
    model = data.draw(st.sampled_from(MESSAGES))
    built = json.loads(data.draw(messages(model)).model_dump_json(by_alias=True))
    assert validator.faults(schema_uri(message_name(model)), built) == ""


def test_one_schema_takes_every_event_and_no_other_message(validator: SchemaValidator) -> None:
    """`event` and `event.batch` are what stands on the event topic."""
    for model in MESSAGES:
        example = EXAMPLES[message_name(model)]
        is_event = issubclass(model, CloudEvent)
        assert (validator.faults(schema_uri("event"), example) == "") is is_event
        assert (validator.faults(schema_uri("event.batch"), [example]) == "") is is_event


# --- complete -------------------------------------------------------------------------------


def addresses(server: str, direction: str) -> set[str]:
    """Returns the document's topics on one server, one way."""
    made = asyncapi()
    channels = {
        operation["channel"]["$ref"].rpartition("/")[2]
        for operation in made["operations"].values()
        if operation["action"] == direction
    }
    return {
        made["channels"][name]["address"]
        for name in channels
        if made["channels"][name]["servers"] == [{"$ref": f"#/servers/{server}"}]
    }


def test_document_has_exactly_the_topics_of_the_contract() -> None:
    """A topic that comes, goes or turns round is a change of the wire, and is seen here."""
    assert addresses("store", "receive") == STORE_IN
    assert addresses("store", "send") == STORE_OUT
    assert addresses("hq", "send") == UP
    assert addresses("hq", "receive") == DOWN


def built_topics() -> set[str]:
    """Returns every topic that `wire.topics` can build, with its parameters in braces."""
    built = set()
    for name, function in inspect.getmembers(topics, inspect.isfunction):
        if name not in NOT_A_TOPIC:
            parameters = [f"{{{one}}}" for one in inspect.signature(function).parameters]
            for kind in KINDS.get(name, (parameters[-1],)):
                built.add(function(*parameters[:-1], kind))
    return built


def test_every_topic_that_is_built_is_in_the_document() -> None:
    """`wire.topics` and the document name the same topics."""
    assert built_topics() == STORE_IN | STORE_OUT | UP | DOWN


def test_every_filter_brings_a_topic_of_the_document() -> None:
    """What the agent subscribes to on the store's broker is what the document says it receives."""
    filters = {value for name, value in vars(topics).items() if name.endswith("_FILTER")}
    filters |= {topics.REQUEST, topics.OFFER_REQUEST, topics.CLOCK}
    as_addresses = {
        one.replace("event/+", "event/{source}")
        .replace("screen/+", "screen/{screen}")
        .replace("staff/+", "staff/{team}")
        for one in filters
    }
    assert as_addresses == STORE_IN


def test_every_message_model_is_in_the_catalogue() -> None:
    """A message with a version of its own travels somewhere, so it has a topic and a schema."""

    def below(model: type[Message]) -> set[type[Message]]:
        return {model}.union(*(below(one) for one in model.__subclasses__()))

    versioned = {
        model
        for model in below(Message)
        if model.__module__.startswith("edge_agent.wire.")
        and not below(model) - {model}
        and (issubclass(model, CloudEvent) or "schema_version" in model.model_fields)
    }
    assert versioned == set(MESSAGES)


def granted(role: str) -> set[tuple[str, str]]:
    """Returns what the broker's access list lets a role do: (access, topic), names as `*`."""
    text = (ROOT / "provisioning/mosquitto.acl").read_text("utf8")
    block = text.split(f"\nrole {role}\n", 1)[1].split("\nrole ", 1)[0]
    lines = re.findall(r"^topic (read|write|readwrite) (\S+)$", block, re.MULTILINE)
    return {(access, re.sub(r"{(name|team)}|\+", "*", topic)) for access, topic in lines}


@pytest.mark.parametrize("role", ["device", "pos", "screen", "kiosk", "staff", "pages"])
def test_catalogue_and_access_list_agree_on_a_role(role: str) -> None:
    """Whoever the document shows at a topic may use it, and nobody else may."""
    access = {"receive": "write", "send": "read"}
    shown = {
        (access[channel.direction], re.sub(r"{(?!store)\w+}", "*", channel.address))
        for channel in CHANNELS
        if role in channel.peers and channel.address is not None
    }
    assert {one for one in granted(role) if "/reply/" not in one[1]} == shown


def test_agent_may_use_every_topic_of_the_store_broker() -> None:
    """The access list lets the agent do all that the document says it does, but for a replay."""
    may = granted("agent")
    for channel in CHANNELS:
        if channel.server == "store" and channel.address and channel.peers != ("replay",):
            access = {"receive": "read", "send": "write"}[channel.direction]
            topic = re.sub(r"{(?!store)\w+}", "*", channel.address)
            parent = ("readwrite", f"{topic.rpartition('/')[0]}/#")
            assert (access, topic) in may or parent in may, channel.name


def test_only_what_a_late_subscriber_needs_is_retained() -> None:
    """A screen that starts and whoever watches the agent get the last word; nothing else stays."""
    retained = {channel.name for channel in CHANNELS if channel.retain}
    assert retained == {"recommendation", "agentState"}


def test_what_has_an_end_expires_on_the_broker_too() -> None:
    """A message with `valid_until` carries an MQTT expiry, and no other does."""
    for channel in CHANNELS:
        ends = any("valid_until" in model.model_fields for model in channel.messages)
        assert channel.expires is ends, channel.name


def test_a_request_names_where_its_answer_goes() -> None:
    """The document describes MQTT 5 request/response: response topic, correlation, answer."""
    operation = asyncapi()["operations"]["receiveRecommendRequest"]
    assert operation["reply"]["address"]["location"] == "$message.header#/responseTopic"
    assert operation["reply"]["messages"] == [
        {"$ref": "#/channels/recommendReply/messages/recommend.reply"}
    ]


def test_a_command_is_shown_as_a_token_of_its_payload() -> None:
    """What stands between the token's dots is the example that is shown decoded."""
    made = asyncapi()["components"]["messages"]
    for kind in DOWN_KINDS:
        message = made[f"down.{kind}"]
        part = message["examples"][0]["payload"].split(".")[1]
        decoded = base64.urlsafe_b64decode(part + "=" * (-len(part) % 4))
        assert message["contentType"] == "application/jose"
        assert json.loads(decoded) == message["x-payload-example"] == EXAMPLES[f"down.{kind}"]


# --- command --------------------------------------------------------------------------------


def test_command_prints_the_asyncapi_document(run: Callable[..., Any]) -> None:
    """Without options it prints what a pipe wants: the document and nothing else."""
    done = run()
    assert done.exit_code == 0
    assert json.loads(done.stdout)["asyncapi"] == "3.0.0"


def test_command_prints_one_schema(run: Callable[..., Any]) -> None:
    """A message's name prints its own schema."""
    done = run("zone.entered")
    assert json.loads(done.stdout)["$id"] == "urn:edge-agent:schema:zone.entered:1"


def test_command_refuses_an_unknown_name(run: Callable[..., Any]) -> None:
    """A wrong name is wrong use, and the answer lists the right ones."""
    done = run("zone.eaten")
    assert done.exit_code == 2
    assert "zone.entered" in done.stderr


def test_command_writes_and_checks(run: Callable[..., Any], tmp_path: Path) -> None:
    """What was written is current; a second write changes nothing."""
    assert run("--out", str(tmp_path)).exit_code == 0
    assert run("--check", "--out", str(tmp_path)).exit_code == 0
    again = json.loads(run("--out", str(tmp_path), "--json").stdout)
    assert (again["documents"], again["written"]) == (len(documents()), [])


def test_command_says_that_it_cannot_write(run: Callable[..., Any], tmp_path: Path) -> None:
    """A place that takes no documents is wrong use: a line says which and why, one what to do."""
    (tmp_path / "file").touch()
    (tmp_path / "taken" / "asyncapi.json").mkdir(parents=True)
    for folder, reason in (("file/below", "Not a directory"), ("taken", "Is a directory")):
        done = run("--out", str(tmp_path / folder))
        assert done.exit_code == 2
        assert done.stderr.splitlines() == [
            f"error: --out {tmp_path / folder}: {reason}",
            "hint: name a folder that may be written",
        ]


def test_command_says_that_it_cannot_read(run: Callable[..., Any], tmp_path: Path) -> None:
    """What cannot be compared is not called stale."""
    (tmp_path / "asyncapi.json").symlink_to("/proc/self/mem")
    done = run("--check", "--out", str(tmp_path))
    assert done.exit_code == 2
    assert done.stderr.startswith(f"error: --out {tmp_path}: ")


def test_command_lists_what_is_stale(run: Callable[..., Any], tmp_path: Path) -> None:
    """Missing, different and no longer made documents are listed, and the exit code is 1."""
    run("--out", str(tmp_path))
    (tmp_path / "clock.schema.json").unlink()
    (tmp_path / "asyncapi.json").write_text("{}")
    (tmp_path / "gone.schema.json").write_text('{"$id": "urn:edge-agent:schema:gone:1"}')
    done = run("--check", "--out", str(tmp_path), "--json")
    assert done.exit_code == 1
    assert json.loads(done.stdout)["stale"] == [
        "asyncapi.json",
        "clock.schema.json",
        "gone.schema.json",
    ]


def test_command_spares_the_files_of_others(run: Callable[..., Any], tmp_path: Path) -> None:
    """Writing removes a schema of ours that is no longer made, and nothing that is not ours."""
    ours = tmp_path / "gone.schema.json"
    ours.write_text('{"$id": "urn:edge-agent:schema:gone:1"}')
    others = [tmp_path / "theirs.schema.json", tmp_path / "README.md"]
    for path in others:
        path.write_text("{}")
    assert run("--out", str(tmp_path)).exit_code == 0
    assert not ours.exists()
    assert [path.read_text() for path in others] == ["{}", "{}"]
