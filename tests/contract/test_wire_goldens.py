"""Messages as they must be taken, built and refused, byte by byte."""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from edge_agent.cli.schema import GENERATED
from edge_agent.wire.base import IDENTIFIER_MAX, NAME_MAX, SCHEMA_VERSION, Message, VisitorRef
from edge_agent.wire.catalog import MESSAGES, message_name, schema_uri
from edge_agent.wire.events import EVENT, CloudEvent, LoyaltyScanned, SaleCompleted, ZoneEntered
from edge_agent.wire.examples import EXAMPLES
from edge_agent.wire.screens import Recommendation
from tests.contract.node_programs import SchemaValidator, schema_validator

GOLDENS = Path(__file__).parent / "goldens"
MODELS = {message_name(model): model for model in MESSAGES}
CARD = VisitorRef(kind="loyalty", value="6400000017482")
LATEST = datetime(2017, 12, 3, 14, 21, 30, tzinfo=UTC)


@pytest.fixture(scope="module")
def validator() -> Iterator[SchemaValidator]:
    """A JSON Schema validator that knows every checked-in schema."""
    with schema_validator(GENERATED) as running:
        yield running


def golden_lines(name: str) -> list[str]:
    """Returns the lines of a golden file."""
    return (GOLDENS / name).read_text("utf8").splitlines()


# --- taken ----------------------------------------------------------------------------------


def accepted_events() -> tuple[CloudEvent, ...]:
    """Returns the events of the golden file, parsed."""
    return tuple(EVENT.validate_json(line) for line in golden_lines("accepted.jsonl"))


def test_zone_entered_is_taken() -> None:
    """A beacon's event with milliseconds gives its type, time, visitor and zone."""
    event = accepted_events()[0]
    assert isinstance(event, ZoneEntered)
    assert event.time == datetime(2017, 12, 3, 14, 2, 41, 905_000, tzinfo=UTC)
    assert event.data.visitor == VisitorRef(kind="ble", value="AC:23:3F:5E:07:41")
    assert event.data.zone == "bakery"


def test_loyalty_scan_is_taken() -> None:
    """A till's scan gives the card and the basket."""
    event = accepted_events()[1]
    assert isinstance(event, LoyaltyScanned)
    assert (event.data.basket, event.data.visitor) == ("31198570131", CARD)


def test_sale_is_taken() -> None:
    """A sale keeps its money exact, its weighed quantity fractional and its offset meant."""
    event = accepted_events()[2]
    assert isinstance(event, SaleCompleted)
    assert event.time == LATEST
    assert event.time.utcoffset() == timedelta(hours=2)
    assert [line.quantity for line in event.data.lines] == [Decimal("0.482"), Decimal(2)]
    assert str(event.data.lines[1].discount) == "0.40"
    assert sum(line.amount for line in event.data.lines) == event.data.total == Decimal("3.69")


@pytest.mark.parametrize("line", golden_lines("accepted.jsonl"))
def test_accepted_event_is_built_again_with_everything_it_said(line: str) -> None:
    """What a source said stands unchanged in the built event, beside the defaults."""
    event = EVENT.validate_json(line)
    assert EVENT.validate_json(event.model_dump_json(by_alias=True)) == event
    said = json.loads(line)
    built = json.loads(event.model_dump_json(by_alias=True, exclude_none=True))
    for line_said, line_built in zip(
        said["data"].get("lines", []), built["data"].get("lines", []), strict=True
    ):
        # A number comes back as the decimal string that means the same.
        line_said["quantity"] = str(line_said["quantity"])
        assert line_built == line_said
    assert {key: built["data"][key] for key in said["data"]} == said["data"]
    instant_said, instant_built = (one.pop("time") for one in (said, built))
    assert datetime.fromisoformat(instant_built) == datetime.fromisoformat(instant_said)
    assert {key: built[key] for key in said} | {"data": said["data"]} == said


def test_recommendation_is_built_byte_for_byte() -> None:
    """A screen gets exactly these bytes, in this order."""
    golden = (GOLDENS / "recommendation.json").read_text("utf8").rstrip("\n")
    parsed = Recommendation.model_validate_json(golden)
    assert parsed.model_dump_json(by_alias=True) == golden


def test_every_message_is_built_byte_for_byte() -> None:
    """The built form of every message is pinned: fields, order, numbers and times."""
    built = []
    for name, model in sorted(MODELS.items()):
        message = model.model_validate_json(json.dumps(EXAMPLES[name]))
        built.append(f"{name} {message.model_dump_json(by_alias=True)}")
    assert built == golden_lines("built.txt")


def test_an_unknown_field_is_neither_refused_nor_kept() -> None:
    """A newer sender may say more, at any depth; what we do not know is not sent on."""
    for name, model in MODELS.items():
        plain = model.model_validate_json(json.dumps(EXAMPLES[name]))
        more = json.dumps(with_unknown_fields(EXAMPLES[name]))
        assert "not_ours" in more
        assert model.model_validate_json(more).model_dump_json() == plain.model_dump_json()


def with_unknown_fields(value: Any) -> Any:
    """Returns a message with a field more in each part of it, free documents left as they are."""
    if isinstance(value, list):
        return [with_unknown_fields(one) for one in value]
    if not isinstance(value, dict):
        return value
    free = {"document", "definition", "keys", "counts", "sums", "counters"}
    more = {key: part if key in free else with_unknown_fields(part) for key, part in value.items()}
    return more | {"not_ours": "secret"}


# --- refused --------------------------------------------------------------------------------

# message, where, what stands there instead, why it is refused
REFUSED: tuple[tuple[str, str, Any, str], ...] = (
    ("sale.completed", "data.total", 3.69, "decimal string"),
    ("sale.completed", "data.total", 3, "decimal string"),
    ("sale.completed", "data.total", "-3.69", "plain decimal"),
    ("sale.completed", "data.lines.0.amount", 2.58, "decimal string"),
    ("sale.completed", "data.lines.0.amount", "-2.58", "plain decimal"),
    ("sale.completed", "data.lines.0.discount", "-0.01", "plain decimal"),
    ("sale.completed", "data.total", "3,69", "plain decimal"),
    ("sale.completed", "data.total", "NaN", "plain decimal"),
    ("sale.completed", "data.total", "1e3", "plain decimal"),
    ("sale.completed", "data.total", "1_000", "plain decimal"),
    ("sale.completed", "data.total", "\u0661", "plain decimal"),
    ("sale.completed", "data.total", "3.69001", "decimal"),
    ("sale.completed", "data.total", "12345678901", "digits"),
    ("sale.completed", "data.currency", "usd", "pattern"),
    ("sale.completed", "data.lines.0.quantity", 0, "greater than"),
    ("sale.completed", "data.lines.0.quantity", -1, "plain decimal"),
    ("sale.completed", "data.lines.0.quantity", 100_001, "less than or equal"),
    ("sale.completed", "data.lines.0.quantity", True, "a quantity is a number"),
    ("sale.completed", "data.lines", {}, "array"),
    ("sale.returned", "data.total", "-2.58", "plain decimal"),
    ("zone.entered", "data.visitor.kind", "face", "should be 'ble'"),
    ("zone.entered", "data.visitor.value", "", "at least 1"),
    ("zone.entered", "data.visitor.value", "x" * (IDENTIFIER_MAX + 1), "at most 256"),
    ("zone.entered", "data.visitor.value", "AC:23\x00", "match pattern"),
    ("zone.entered", "data.visitor.value", 640, "valid string"),
    ("zone.entered", "data.zone", "dairy\n", "match pattern"),
    ("zone.entered", "data.zone", "dai\x7fry", "match pattern"),
    ("zone.entered", "data.zone", "x" * (NAME_MAX + 1), "at most 128"),
    ("zone.entered", "id", "", "at least 1"),
    ("zone.entered", "source", "x" * (NAME_MAX + 1), "at most 128"),
    ("zone.entered", "time", "2017-12-02T15:20:11", "timezone"),
    ("zone.entered", "time", 1_512_228_011, "valid datetime"),
    ("zone.entered", "time", "yesterday", "valid datetime"),
    ("zone.entered", "time", "2017-02-30T15:20:11Z", "valid datetime"),
    ("zone.entered", "specversion", "0.3", "should be '1.0'"),
    ("zone.entered", "specversion", "1.1", "should be '1.0'"),
    ("zone.entered", "specversion", 1.0, "should be '1.0'"),
    ("zone.dwell", "data.dwell_s", -1, "greater than or equal"),
    ("zone.dwell", "data.dwell_s", "62", "valid number"),
    ("zone.occupancy", "data.count", -1, "greater than or equal"),
    ("zone.occupancy", "data.count", 1.5, "valid integer"),
    ("people.counted", "data.entries", "12", "valid integer"),
    ("consent.granted", "data.purposes", [], "at least 1"),
    ("consent.granted", "data.purposes", ["everything"], "should be"),
    ("recommendation", "items", [], "at least 1"),
    ("recommendation", "items.0.rank", 0, "greater than or equal"),
    ("recommendation", "audience", "everybody", "should be"),
    ("recommendation", "schema_version", 2, "should be 1"),
    ("recommendation", "valid_until", "2017-12-02T15:22:11", "timezone"),
    ("recommend.request", "limit", 21, "less than or equal"),
    ("staff.feedback", "outcome", "ignored", "should be"),
    ("up.customer", "activity_date", "2.12.2017", "pattern"),
    ("down.campaign", "version", 0, "greater than or equal"),
    ("down.model", "body.manifest_sha256", "9F" * 32, "pattern"),
)
# The same, where JSON Schema has no word for the rule.
REFUSED_BY_THE_AGENT_ALONE: tuple[tuple[str, str, Any, str], ...] = (
    ("zone.entered", "data.zone", "dai\u200bry", "match pattern"),
    ("zone.entered", "data.zone", "dai\u202ery", "match pattern"),
    ("sale.completed", "data.lines.0.quantity", 0.000_000_1, "decimal places"),
    ("sale.completed", "data.lines.0.quantity", 0.123_456_7, "decimal"),
)


def changed(name: str, where: str, value: Any) -> Any:
    """Returns a message's example with another value in one place."""
    message = copy.deepcopy(dict(EXAMPLES[name]))
    *path, last = (int(one) if one.isdigit() else one for one in where.split("."))
    part: Any = message
    for one in path:
        part = part[one]
    assert last in part if isinstance(part, dict) else True
    part[last] = value
    return message


def refusal(name: str, message: Any) -> str:
    """Returns why a message is refused; empty when it is taken."""
    try:
        MODELS[name].model_validate_json(json.dumps(message))
    except ValueError as reason:
        return str(reason)
    return ""


@pytest.mark.parametrize(("name", "where", "value", "why"), REFUSED)
def test_wrong_value_is_refused_by_the_agent_and_by_the_schema(
    name: str, where: str, value: Any, why: str, validator: SchemaValidator
) -> None:
    """A sender that validates with the schema learns of its fault before the agent does."""
    message = changed(name, where, value)
    assert why in refusal(name, message)
    assert validator.faults(schema_uri(name), message) != ""


@pytest.mark.parametrize(("name", "where", "value", "why"), REFUSED_BY_THE_AGENT_ALONE)
def test_wrong_value_is_refused_by_the_agent(name: str, where: str, value: Any, why: str) -> None:
    """Invisible characters and needless precision are refused too."""
    assert why in refusal(name, changed(name, where, value))


@pytest.mark.parametrize("model", MESSAGES, ids=message_name)
def test_message_without_a_needed_field_is_refused(
    model: type[Message], validator: SchemaValidator
) -> None:
    """Nothing is made up for a sender that left out what has no default."""
    name = message_name(model)
    for field_name, field in model.model_fields.items():
        if field.is_required():
            key = field.alias or field_name
            message = {one: part for one, part in EXAMPLES[name].items() if one != key}
            assert "Field required" in refusal(name, message)
            assert validator.faults(schema_uri(name), message) != ""


def test_event_of_an_unknown_type_is_refused() -> None:
    """No event is taken for another one."""
    with pytest.raises(ValueError, match=r"does not match any of the expected tags"):
        EVENT.validate_json(json.dumps(dict(EXAMPLES["zone.entered"]) | {"type": "zone.eaten"}))


def test_names_of_schemas_carry_their_version() -> None:
    """An event's `dataschema` says which version of its type it keeps to."""
    assert EXAMPLES["zone.entered"]["dataschema"] == schema_uri("zone.entered")
    assert schema_uri("zone.entered").endswith(f":{SCHEMA_VERSION}")
