"""The AsyncAPI 3.0 document of both brokers, made from the catalogue and the models.

Written from the agent's view: it receives events and commands, and sends recommendations,
alerts, summaries. Pure and deterministic, like `schema`.

Source: AsyncAPI specification 3.0.0; MQTT bindings 0.2.0.
"""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Mapping
from typing import Any, Final, get_args

from edge_agent.wire import topics
from edge_agent.wire.base import SCHEMA_VERSION, Message
from edge_agent.wire.catalog import (
    CHANNELS,
    MESSAGES,
    Channel,
    Server,
    message_name,
    schema_uri,
)
from edge_agent.wire.downlink import Command
from edge_agent.wire.events import EVENT_TYPES, CloudEvent
from edge_agent.wire.examples import EXAMPLES
from edge_agent.wire.offers import OfferReply, OfferRequest
from edge_agent.wire.schema import BATCH, definitions
from edge_agent.wire.screens import RecommendReply, RecommendRequest
from edge_agent.wire.summaries import SummaryKind

JSON_TYPE: Final = "application/json"
EVENT_TYPE: Final = "application/cloudevents+json"
BATCH_TYPE: Final = "application/cloudevents-batch+json"
JOSE_TYPE: Final = "application/jose"

KEEP_ALIVE_S: Final = 30
# At least as long as a sender retries (7 days), so that the broker keeps what it has taken.
SESSION_EXPIRY_S: Final = 604_800
SIGNATURE_BYTES: Final = 64  # Ed25519, RFC 8032

Node = dict[str, Any]

_BINDING: Final = {"bindingVersion": "0.2.0"}
_LIFETIME: Final = {
    "type": "integer",
    "minimum": 1,
    "description": "Seconds from `issued` to `valid_until`.",
}
_PARAMETERS: Final[dict[str, Node]] = {
    "store": {"description": "The store's id. HQ may write `all` below `down`: every store."},
    "source": {"description": "The device or till; the `source` of each of its events."},
    "screen": {"description": "The screen's id, as in the agent's configuration."},
    "team": {"description": "The staff team, as in the agent's configuration."},
    "register": {"description": "The till's id, as in the agent's configuration."},
    "kind": {"description": "What is summed up.", "enum": list(get_args(SummaryKind))},
}
_EXCHANGES: Final[Mapping[type[Message], Node]] = {
    RecommendRequest: {
        "responseTopic": {"type": "string", "description": "Where the answer goes."},
        "correlationData": {"type": "string", "description": "Comes back with the answer."},
    },
    OfferRequest: {
        "responseTopic": {"type": "string", "description": "Where the answer goes."},
        "correlationData": {"type": "string", "description": "Comes back with the answer."},
    },
    OfferReply: {
        "correlationData": {"type": "string", "description": "The request's own."},
    },
    RecommendReply: {
        "correlationData": {"type": "string", "description": "The request's own."},
    },
}


def asyncapi() -> Node:
    """Returns the whole document."""
    return {
        "asyncapi": "3.0.0",
        "id": f"urn:edge-agent:wire:{SCHEMA_VERSION}",
        "info": _info(),
        "defaultContentType": JSON_TYPE,
        "servers": {"store": _store_server(), "hq": _hq_server()},
        "channels": {channel.name: _channel(channel) for channel in CHANNELS},
        "operations": {
            operation_name(channel): _operation(channel)
            for channel in CHANNELS
            if channel.address is not None
        },
        "components": {
            "messages": {
                **{message_name(model): _message(model) for model in MESSAGES},
                BATCH: _batch(),
            },
            "schemas": _schemas(),
            "parameters": _PARAMETERS,
            "securitySchemes": {
                "certificate": {"type": "X509", "description": "One certificate per device."},
                "password": {"type": "userPassword", "description": "One login per device."},
            },
        },
    }


def operation_name(channel: Channel) -> str:
    """Returns what the agent does on a channel, in one word."""
    return f"{channel.direction}{channel.name[0].upper()}{channel.name[1:]}"


def _schemas() -> Node:
    return {
        **definitions(ref_template="#/components/schemas/{model}"),
        "EventBatch": {
            "type": "array",
            "minItems": 1,
            "items": {"oneOf": [_reference("schemas", model.__name__) for model in EVENT_TYPES]},
        },
        "SignedCommand": {
            "type": "string",
            "description": "JWS in compact form (RFC 7515), EdDSA over Ed25519 (RFC 8037).",
            "contentMediaType": JOSE_TYPE,
            "pattern": r"^[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+$",
        },
    }


def _info() -> Node:
    return {
        "title": "edge-agent",
        "version": f"{SCHEMA_VERSION}.0.0",
        "description": (
            "The wire of the in-store personalisation agent, from the agent's view.\n\n"
            "JSON in UTF-8; times are RFC 3339 with Z or an offset; money is a decimal string "
            "with a currency. Fields that a receiver does not know are ignored. Events are "
            "CloudEvents 1.0 in structured mode, `(source, id)` identifies one, and `dataschema` "
            f"names its schema and version: `{schema_uri('zone.entered')}`. Every other message "
            "carries `schema_version`."
        ),
        "license": {"name": "Apache-2.0", "url": "https://www.apache.org/licenses/LICENSE-2.0"},
    }


def _store_server() -> Node:
    will = {"status": "offline", "store": "{store}", "version": "{version}"}
    return {
        **_server("The store's own broker, on the gateway.", login=("certificate", "password")),
        "bindings": {
            "mqtt": {
                "cleanSession": False,
                "keepAlive": KEEP_ALIVE_S,
                "sessionExpiryInterval": SESSION_EXPIRY_S,
                "lastWill": {
                    "topic": topics.agent_state("{store}"),
                    "qos": 1,
                    "retain": True,
                    "message": json.dumps(will),
                },
                **_BINDING,
            }
        },
    }


def _hq_server() -> Node:
    return {
        **_server(
            "HQ's broker cluster: summaries up, signed commands down.", login=("certificate",)
        ),
        "bindings": {
            "mqtt": {
                "cleanSession": False,
                "keepAlive": KEEP_ALIVE_S,
                "sessionExpiryInterval": SESSION_EXPIRY_S,
                **_BINDING,
            }
        },
    }


def _server(about: str, *, login: tuple[str, ...]) -> Node:
    return {
        "host": "{host}:{port}",
        "protocol": "secure-mqtt",
        "protocolVersion": "5",
        "description": about,
        "variables": {
            "host": {"description": "The broker's name.", "default": "localhost"},
            "port": {"description": "Its TLS listener.", "default": "8883"},
        },
        "security": [{"$ref": f"#/components/securitySchemes/{name}"} for name in login],
    }


def _channel(channel: Channel) -> Node:
    names = [message_name(model) for model in channel.messages]
    names += [BATCH] if channel.batch else []
    address = channel.address
    parameters = re.findall(r"{(\w+)}", address or "")
    return {
        "address": address,
        "description": channel.about,
        "servers": [_server_reference(channel.server)],
        **(
            {"parameters": {name: _reference("parameters", name) for name in parameters}}
            if parameters
            else {}
        ),
        "messages": {name: _reference("messages", name) for name in names},
        "x-peers": list(channel.peers),
    }


def _operation(channel: Channel) -> Node:
    lifetime = {"messageExpiryInterval": _LIFETIME} if channel.expires else {}
    retain = {"retain": channel.retain} if channel.direction == "send" else {}
    made: Node = {
        "action": channel.direction,
        "summary": channel.about,
        "channel": {"$ref": f"#/channels/{channel.name}"},
        "messages": _message_references(channel),
        "bindings": {"mqtt": {"qos": channel.qos, **retain, **lifetime, **_BINDING}},
    }
    answer = next((one for one in CHANNELS if one.name == channel.reply), None)
    if answer is not None:
        made["reply"] = {
            "address": {
                "description": "The request's MQTT 5 response topic.",
                "location": "$message.header#/responseTopic",
            },
            "channel": {"$ref": f"#/channels/{answer.name}"},
            "messages": _message_references(answer),
        }
    return made


def _message_references(channel: Channel) -> list[Node]:
    names = [message_name(model) for model in channel.messages]
    names += [BATCH] if channel.batch else []
    return [{"$ref": f"#/channels/{channel.name}/messages/{name}"} for name in names]


def _message(model: type[Message]) -> Node:
    name = message_name(model)
    if issubclass(model, Command):
        return _signed(model)
    content_type = EVENT_TYPE if issubclass(model, CloudEvent) else JSON_TYPE
    return {
        "name": name,
        "title": model.__name__,
        "summary": _first_line(model),
        "contentType": content_type,
        **_exchange(model),
        "payload": _reference("schemas", model.__name__),
        "examples": [{"name": "typical", "payload": EXAMPLES[name]}],
        "x-schema": schema_uri(name),
    }


def _exchange(model: type[Message]) -> Node:
    """Returns the MQTT 5 properties of a request and of its answer; nothing for other messages."""
    properties = _EXCHANGES.get(model)
    if properties is None:
        return {}
    return {
        "headers": {
            "type": "object",
            "description": "MQTT 5 properties of the message.",
            "properties": properties,
            "required": [name for name in properties if name == "responseTopic"],
        },
        "correlationId": {"location": "$message.header#/correlationData"},
        "bindings": {"mqtt": {**properties, **_BINDING}},
    }


def _signed(model: type[Command]) -> Node:
    name = message_name(model)
    return {
        "name": name,
        "title": model.__name__,
        "summary": f"{_first_line(model)} A JWS in compact form; its payload is `x-payload`.",
        "contentType": JOSE_TYPE,
        "payload": _reference("schemas", "SignedCommand"),
        "examples": [
            {
                "name": "typical",
                "summary": "x-payload-example, with zeros for a signature: it does not verify.",
                "payload": _token(EXAMPLES[name]),
            }
        ],
        "x-header": {"alg": "EdDSA", "kid": "the name of HQ's key in the agent's configuration"},
        "x-payload": _reference("schemas", model.__name__),
        "x-payload-example": EXAMPLES[name],
        "x-schema": schema_uri(name),
    }


def _token(payload: Mapping[str, Any]) -> str:
    parts = (
        json.dumps({"alg": "EdDSA", "kid": "demo"}, separators=(",", ":")).encode(),
        json.dumps(payload, separators=(",", ":")).encode(),
        bytes(SIGNATURE_BYTES),
    )
    return ".".join(base64.urlsafe_b64encode(part).rstrip(b"=").decode() for part in parts)


def _batch() -> Node:
    return {
        "name": BATCH,
        "title": "EventBatch",
        "summary": "Several events in one message, in order: a CloudEvents batch.",
        "contentType": BATCH_TYPE,
        "payload": _reference("schemas", "EventBatch"),
        "examples": [
            {
                "name": "typical",
                "payload": [EXAMPLES["zone.entered"], EXAMPLES["item.lifted"]],
            }
        ],
        "x-schema": schema_uri(BATCH),
    }


def _first_line(model: type[Message]) -> str:
    return (model.__doc__ or "").strip().splitlines()[0]


def _reference(kind: str, name: str) -> Node:
    return {"$ref": f"#/components/{kind}/{name}"}


def _server_reference(server: Server) -> Node:
    return {"$ref": f"#/servers/{server}"}
