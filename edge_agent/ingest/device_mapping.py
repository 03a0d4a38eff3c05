"""A mapping as a store uses it, and what it makes of one message: the interpreter's one caller.

Several mappings may hear the same topic; a message is refused as unknown only when none of them
knows it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, cast, get_args

from edge_agent.ingest import filters
from edge_agent.ingest.decode import Refusal
from edge_agent.wire.notices import RefusalReason

if TYPE_CHECKING:
    from collections.abc import Mapping

    from edge_agent.ingest.mapping import (
        CompiledMapping,
        Entry,
        Lookups,
        Mapped,
        MappingRefusal,
    )

DETAIL_MAX: Final = 300
REFUSALS_SHOWN: Final = 3
_REASONS: Final = frozenset(get_args(RefusalReason))
# What a mapping says of a message that is none of its own: no rule, or not even its format.
_UNKNOWN: Final = ("no_rule", "not_")


@dataclass(frozen=True, slots=True, kw_only=True)
class DeviceMapping:
    """A mapping in force.

    Attributes:
        name: Its name in the configuration.
        text: The file it was read from.
        compiled: The mapping, ready to run.
        lookups: The store's settings and tables, and the key of what is remembered.
    """

    name: str
    text: str
    compiled: CompiledMapping
    lookups: Lookups

    @property
    def topics(self) -> tuple[str, ...]:
        """The filters of the topics that it understands."""
        return self.compiled.spec.topics

    def heard_on(self, topic: str) -> str | None:
        """Returns which of its filters brings a topic; None when none does."""
        return next((each for each in self.topics if filters.matches(each, topic)), None)


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """What one mapping made of a message."""

    mapping: DeviceMapping
    mapped: Mapped

    @property
    def is_known(self) -> bool:
        """Whether a rule of the mapping knows the message, if not every row of it."""
        return not any(
            each.reason.startswith(_UNKNOWN) and each.place is None
            for each in self.mapped.refusals
        )


def reading_of(
    mapping: DeviceMapping,
    topic: str,
    payload: bytes,
    *,
    state: Mapping[str, Entry],
    received_at_ms: int,
) -> Reading:
    """Returns what a mapping makes of a message; whatever it does, a value comes out."""
    # 7 MiB that an agent without mappings spares.
    from edge_agent.ingest.mapping import Mapped, MappingRefusal, interpret  # noqa: PLC0415

    try:
        mapped = interpret(
            mapping.compiled,
            topic,
            payload,
            state=state,
            received_at_ms=received_at_ms,
            lookups=mapping.lookups,
        )
    except Exception as error:  # noqa: BLE001 - the boundary: a mapping never ends the road
        detail = f"an error of the agent's own: {type(error).__name__}"
        mapped = Mapped(refusals=(MappingRefusal(reason="failed", detail=detail),))
    return Reading(mapping=mapping, mapped=mapped)


def refusal_of(readings: list[Reading]) -> Refusal | None:
    """Returns why a message, or rows of it, were refused; None when all of it was understood."""
    if any(each.is_known for each in readings):
        readings = [each for each in readings if each.is_known]
    told = [(each.mapping.name, refusal) for each in readings for refusal in each.mapped.refusals]
    if not told:
        return None
    details = [_placed(name, refusal) for name, refusal in told[:REFUSALS_SHOWN]]
    n_more = len(told) - len(details)
    if n_more:
        details.append(f"and {n_more} more")
    return Refusal(reason=_reason(told[0][1].reason), detail="; ".join(details)[:DETAIL_MAX])


def _reason(word: str) -> RefusalReason:
    return cast("RefusalReason", word) if word in _REASONS else "invalid"


def _placed(name: str, refusal: MappingRefusal) -> str:
    where = [name]
    if refusal.rule is not None:
        where.append(f'rule "{refusal.rule}"')
    if refusal.place is not None:
        where.append(refusal.place)
    return f"{', '.join(where)}: {refusal.detail}"
