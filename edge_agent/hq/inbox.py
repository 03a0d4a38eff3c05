"""What arrives at HQ, told apart: a message of the wire, or the reason why it is refused.

Total: no bytes make it raise. A refusal never repeats the message's content.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from decimal import Decimal
from typing import Final, Literal, assert_never

from pydantic import ValidationError

from edge_agent.wire import topics
from edge_agent.wire.base import NAME_MAX
from edge_agent.wire.summaries import (
    Confirmation,
    CustomerUpdate,
    Erasure,
    GatewayState,
    Summary,
    SummaryCell,
)

UpMessage = Summary | CustomerUpdate | GatewayState | Confirmation | Erasure
Kind = Literal["summary", "customer", "state", "confirm", "erasure"]
RefusalReason = Literal[
    "unknown_topic",
    "too_large",
    "invalid",
    "store_mismatch",
    "kind_mismatch",
    "below_k",
    "duplicate_cell",
    "number_out_of_range",
    "failed",
]

# A summary of 10,000 cells is some 1.5 MB; the embedded broker takes 1 MiB, mosquitto 256 MiB.
MESSAGE_BYTES_MAX: Final = 4 * 1024 * 1024
DETAIL_CHARACTERS_MAX: Final = 300
TOPIC_CHARACTERS_MAX: Final = 256
PROBLEMS_SHOWN: Final = 3
# Sums are kept as whole millionths, so that both databases add them up exactly.
SUM_SCALE: Final = 10**6
INTEGER_MAX: Final = 2**63 - 1

_MODELS: Final[dict[str, type[UpMessage]]] = {
    "summary": Summary,
    "customer": CustomerUpdate,
    "state": GatewayState,
    "confirm": Confirmation,
    "erasure": Erasure,
}
_DECIMAL: Final = re.compile(r"-?[0-9]{1,12}(\.[0-9]{1,6})?", re.ASCII)
_TOPIC_LEVELS: Final = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class Refused:
    """A message that HQ does not take, without its content."""

    topic: str
    reason: RefusalReason
    detail: str
    n_bytes: int


def message_from(topic: str, payload: bytes) -> UpMessage | Refused:
    """Returns the message, or why it is none.

    Args:
        topic: `hq/{store}/up/…`; the broker's access list ties it to the store's credentials, so a
            body that names another store is refused.
        payload: The JSON text.
    """
    model = _MODELS.get(kind_of(topic))
    if model is None:
        return refused(topic, payload, reason="unknown_topic")
    if len(payload) > MESSAGE_BYTES_MAX:
        return refused(topic, payload, reason="too_large")
    try:
        message = model.model_validate_json(payload)
    except ValidationError as error:
        return refused(topic, payload, reason="invalid", detail=_problems(error))
    reason = _contradiction(topic, message)
    return message if reason is None else refused(topic, payload, reason=reason)


def refused(topic: str, payload: bytes, *, reason: RefusalReason, detail: str = "") -> Refused:
    """Returns a refusal whose texts are printable and short."""
    return Refused(
        topic=printable(topic)[:TOPIC_CHARACTERS_MAX],
        reason=reason,
        detail=printable(detail)[:DETAIL_CHARACTERS_MAX],
        n_bytes=len(payload),
    )


def unstorable(message: UpMessage) -> Refused:
    """Returns the refusal of a sound message that the database does not take."""
    topic = topics.hq_up(message.store, kind_of_message(message))
    return refused(topic, message.model_dump_json().encode(), reason="failed")


def kind_of(topic: str) -> str:
    """Returns the message's kind as its topic says; empty for a topic that is not HQ's."""
    levels = topic.split("/")
    is_ours = len(levels) >= _TOPIC_LEVELS and levels[0] == "hq" and levels[2] == "up"
    kind = levels[3] if is_ours else ""
    n_expected = _TOPIC_LEVELS + 1 if kind == "summary" else _TOPIC_LEVELS
    return kind if len(levels) == n_expected and kind in _MODELS else ""


def kind_of_message(message: UpMessage) -> Kind:
    """Returns the message's kind."""
    match message:
        case Summary():
            return "summary"
        case CustomerUpdate():
            return "customer"
        case GatewayState():
            return "state"
        case Confirmation():
            return "confirm"
        case Erasure():
            return "erasure"
        case _:
            assert_never(message)


def message_id(message: UpMessage) -> str:
    """Returns the id that HQ's `ack` names."""
    match message:
        case Summary():
            return message.summary_id
        case CustomerUpdate():
            return message.update_id
        case GatewayState():
            return message.state_id
        case Confirmation():
            return message.confirm_id
        case Erasure():
            return message.erasure_id
        case _:
            assert_never(message)


def printable(text: str) -> str:
    """Returns the text with `?` for what a terminal or a database must not get."""
    return "".join(character if character.isprintable() else "?" for character in text)


def millionths(amount: str) -> int:
    """Returns a decimal string as whole millionths.

    Example:
        >>> millionths("12.50")
        12500000
    """
    return int(Decimal(amount) * SUM_SCALE)


def _contradiction(topic: str, message: UpMessage) -> RefusalReason | None:
    # A store called "all" would have its acks sent to every store.
    if message.store != topics.level(topic, 1) or message.store == "all":
        return "store_mismatch"
    if not isinstance(message, Summary):
        return None
    if message.kind != topics.last_level(topic):
        return "kind_mismatch"
    return _bad_cell(message)


def _bad_cell(summary: Summary) -> RefusalReason | None:
    keys = [tuple(sorted(cell.keys.items())) for cell in summary.cells]
    if len(set(keys)) != len(keys):
        return "duplicate_cell"
    for cell in summary.cells:
        # The store must have suppressed it; HQ does not keep what would single somebody out.
        if cell.n_visitors is not None and 0 < cell.n_visitors < summary.k:
            return "below_k"
        if not _has_storable_numbers(cell):
            return "number_out_of_range"
        if not _has_storable_names(cell):
            return "invalid"
    return None


def _has_storable_numbers(cell: SummaryCell) -> bool:
    whole = (*cell.counts.values(), *(cell.histogram or ()), cell.n_visitors or 0)
    return all(abs(number) <= INTEGER_MAX for number in whole) and all(
        _DECIMAL.fullmatch(amount) for amount in cell.sums.values()
    )


def _has_storable_names(cell: SummaryCell) -> bool:
    names = (*cell.keys, *cell.keys.values(), *cell.counts, *cell.sums)
    return all(len(name) <= NAME_MAX and name.isprintable() for name in names)


def _problems(error: ValidationError) -> str:
    # Places and pydantic's error types only: the message texts would repeat the input.
    shown = error.errors(include_input=False, include_url=False, include_context=False)
    return "; ".join(
        f"{'.'.join(str(part) for part in problem['loc']) or 'body'}: {problem['type']}"
        for problem in shown[:PROBLEMS_SHOWN]
    )
