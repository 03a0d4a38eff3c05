"""JSON Schema (2020-12) of every message, made from the models, and the set of generated files.

Pure: the files are returned as text, and `cli.schema` reads and writes them. The same models give
the same bytes, so that a comparison shows whether the checked-in files are current. A schema is
what a sender should keep to: all it allows is accepted, and the models forgive a little more
(a leading zero, a space for the `T` of a time).
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Final

from pydantic import TypeAdapter
from pydantic.json_schema import GenerateJsonSchema, models_json_schema
from pydantic_core import core_schema
from typing_extensions import override

from edge_agent.wire.base import Amount, Identifier, Instant, Message, Name, Quantity
from edge_agent.wire.catalog import MESSAGES, message_name, schema_uri
from edge_agent.wire.events import EVENT_TYPES
from edge_agent.wire.examples import EXAMPLES

DIALECT: Final = "https://json-schema.org/draft/2020-12/schema"
EVENT: Final = "event"
BATCH: Final = "event.batch"

Node = dict[str, Any]

_PRINTABLE: Final = {"pattern": r"^[^\u0000-\u001F\u007F-\u009F]+$"}
_AMOUNT: Final = {
    "type": "string",
    "pattern": r"^[0-9]{1,10}(\.[0-9]{1,4})?$",
    "description": "Decimal string, never negative, at most 4 decimals.",
}
_QUANTITY: Final = {
    "anyOf": [
        {"type": "number", "exclusiveMinimum": 0, "maximum": 100_000},
        {
            "type": "string",
            "pattern": r"^(?!0+(\.0+)?$)([0-9]{1,5}(\.[0-9]{1,6})?|100000(\.0{1,6})?)$",
        },
    ],
    "description": "Above 0, at most 100000; may be fractional, with at most 6 decimals.",
}
_INSTANT: Final = {
    "type": "string",
    "format": "date-time",
    # Not every validator looks at formats, and some take a time without an offset for one.
    "pattern": r"^[0-9]{4}-[0-9]{2}-[0-9]{2}[Tt][0-9:.]+([Zz]|[+-][0-9]{2}:[0-9]{2})$",
    "description": "RFC 3339, with Z or an offset; a time without one is refused.",
}


class _Untitled(GenerateJsonSchema):
    """Leaves out the titles that only repeat a field's name."""

    @override
    def field_title_should_be_set(self, schema: Any) -> bool:
        return False

    @override
    def tagged_union_schema(self, schema: core_schema.TaggedUnionSchema) -> Node:
        plain = super().tagged_union_schema(schema)
        # OpenAPI's object form is no JSON Schema; each member's constant tells them apart anyway.
        plain.pop("discriminator", None)
        return plain


def _found(kind: Any) -> Node:
    return TypeAdapter(kind).json_schema()


# Types that are checked by functions, which pydantic cannot look into: what it says of them, and
# what they accept.
_MEANT: Final[tuple[tuple[Node, Node], ...]] = (
    (_found(Amount), _AMOUNT),
    (_found(Quantity), _QUANTITY),
    (_found(Name), _found(Name) | _PRINTABLE),
    (_found(Identifier), _found(Identifier) | _PRINTABLE),
    (_found(Instant), _INSTANT),
)


def schema(model: type[Message]) -> Node:
    """Returns a message's JSON Schema, complete in itself, with its examples."""
    name = message_name(model)
    made = _exact(model.model_json_schema(schema_generator=_Untitled))
    parts = {"$defs": made.pop("$defs")} if "$defs" in made else {}
    head = {"$schema": DIALECT, "$id": schema_uri(name)}
    return {**head, **made, "examples": [EXAMPLES[name]], **parts}


def any_event() -> Node:
    """Returns the schema of one event of any type, by reference to each type's own."""
    return {
        "$schema": DIALECT,
        "$id": schema_uri(EVENT),
        "title": "Event",
        "description": "One canonical event: a CloudEvent 1.0 in structured mode.",
        "oneOf": [{"$ref": schema_uri(message_name(model))} for model in EVENT_TYPES],
    }


def event_batch() -> Node:
    """Returns the schema of several events in one message."""
    return {
        "$schema": DIALECT,
        "$id": schema_uri(BATCH),
        "title": "EventBatch",
        "description": "Several events in one message, in order: a CloudEvents batch.",
        "type": "array",
        "minItems": 1,
        "items": {"$ref": schema_uri(EVENT)},
    }


def definitions(*, ref_template: str) -> Mapping[str, Node]:
    """Returns every model's schema under its class name, for one document that holds them all."""
    _, made = models_json_schema(
        [(model, "validation") for model in MESSAGES],
        ref_template=ref_template,
        schema_generator=_Untitled,
    )
    return {name: _exact(node) for name, node in sorted(made["$defs"].items())}


def schema_files() -> Mapping[str, str]:
    """Returns file name → content of every JSON Schema."""
    nodes = {message_name(model): schema(model) for model in MESSAGES}
    nodes |= {EVENT: any_event(), BATCH: event_batch()}
    return {f"{name}.schema.json": text(node) for name, node in sorted(nodes.items())}


def text(node: Mapping[str, Any]) -> str:
    """Returns a JSON document as it stands in a file."""
    return json.dumps(node, indent=2, ensure_ascii=False) + "\n"


def _exact(node: Node) -> Node:
    made = {key: _exact_part(value) for key, value in node.items()}
    for found, meant in _MEANT:
        same = {key for key, value in found.items() if made.get(key) == value}
        if same >= found.keys() - {"description"}:
            return meant | {key: value for key, value in made.items() if key not in same}
    return made


def _exact_part(value: Any) -> Any:
    if isinstance(value, dict):
        return _exact(value)
    return [_exact_part(one) for one in value] if isinstance(value, list) else value
