"""Hypothesis strategies for every message of the wire, derived from the models themselves.

`messages(model)` gives valid instances of any model, with every optional field both there and
absent; a new message or field needs no new strategy.
"""

from __future__ import annotations

import functools
import re
import types
from collections.abc import Callable
from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal
from typing import Annotated, Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

from hypothesis import strategies as st
from pydantic.fields import FieldInfo

from edge_agent.wire.base import (
    IDENTIFIER_MAX,
    NAME_MAX,
    TEXT_MAX,
    Amount,
    Currency,
    Identifier,
    Instant,
    Message,
    Name,
    Quantity,
    Text,
    TopicLevel,
)
from edge_agent.wire.downlink import COMMAND_TYPES, Command
from edge_agent.wire.events import EVENT_TYPES, CloudEvent

M = TypeVar("M", bound=Message)
Strategy = st.SearchStrategy[Any]

# Short collections: what is tested is their form, and long ones only cost time.
ITEMS_MAX = 3
FREE_TEXT_MAX = 40
# Beyond this a JSON number is no longer exact in every reader (RFC 8259, section 6).
WHOLE_MAX = 2**53 - 1
OFFSET_MINUTES_MAX = 14 * 60

_PRINTABLE = st.characters(exclude_categories=("C", "Z"), include_characters=" ")
_ANY_TEXT = st.characters(codec="utf-8", exclude_characters="\x00")


def names() -> st.SearchStrategy[str]:
    """Any accepted name: printable, of 1 to 128 characters."""
    return st.text(_PRINTABLE, min_size=1, max_size=NAME_MAX)


def identifiers() -> st.SearchStrategy[str]:
    """Any accepted raw identifier."""
    return st.text(_PRINTABLE, min_size=1, max_size=IDENTIFIER_MAX)


def topic_levels() -> st.SearchStrategy[str]:
    """Any name that may stand as one level of a topic."""
    allowed = st.characters(
        exclude_categories=("C", "Z"), include_characters=" ", exclude_characters="/+#"
    )
    return st.text(allowed, min_size=1, max_size=NAME_MAX)


def decimals(
    *, whole_max: int, places: int, above_zero: bool = False
) -> st.SearchStrategy[Decimal]:
    """Decimals from 0 (or just above) to `whole_max`, with up to `places` decimals."""

    def scaled(n_places: int) -> st.SearchStrategy[Decimal]:
        whole = st.integers(int(above_zero), whole_max * 10**n_places)
        return whole.map(lambda value: Decimal(value).scaleb(-n_places))

    return st.integers(0, places).flatmap(scaled)


def instants() -> st.SearchStrategy[datetime]:
    """Aware times of any year, in UTC or at a whole-minute offset."""
    offsets = st.integers(-OFFSET_MINUTES_MAX, OFFSET_MINUTES_MAX)
    zones = offsets.map(lambda minutes: timezone(timedelta(minutes=minutes)))
    return st.datetimes(timezones=st.one_of(st.just(UTC), zones))


def json_values() -> Strategy:
    """Anything that JSON can say."""
    leaves = st.one_of(
        st.none(),
        st.booleans(),
        st.integers(-WHOLE_MAX, WHOLE_MAX),
        st.floats(allow_nan=False, allow_infinity=False),
        st.text(_ANY_TEXT, max_size=FREE_TEXT_MAX),
    )
    return st.recursive(
        leaves,
        lambda inner: st.one_of(
            st.lists(inner, max_size=ITEMS_MAX),
            st.dictionaries(st.text(_ANY_TEXT, max_size=FREE_TEXT_MAX), inner, max_size=ITEMS_MAX),
        ),
        max_leaves=5,
    )


def events() -> st.SearchStrategy[CloudEvent]:
    """Any canonical event."""
    return st.one_of([messages(model) for model in EVENT_TYPES])


def commands() -> st.SearchStrategy[Command]:
    """Any command from HQ."""
    return st.one_of([messages(model) for model in COMMAND_TYPES])


@functools.cache
def messages(model: type[M]) -> st.SearchStrategy[M]:
    """Valid instances of a model.

    Args:
        model: Any message, or a part of one.
    """
    hints = get_type_hints(model, include_extras=True)
    fields = {name: _field(hints[name], field, name) for name, field in model.model_fields.items()}
    needed = {name: fields[name] for name, one in model.model_fields.items() if one.is_required()}
    optional = {name: fields[name] for name in fields.keys() - needed.keys()}
    ordered = {name: optional[name] for name in sorted(optional)}
    # The alias, where there is one, is not needed: models accept both.
    return st.fixed_dictionaries(needed, optional=ordered).map(lambda values: model(**values))


# Types whose checks are functions; told apart by equality, so the aliases need no names of theirs.
_KNOWN: tuple[tuple[Any, Callable[[], Strategy]], ...] = (
    (Name, names),
    (Identifier, identifiers),
    (TopicLevel, topic_levels),
    (Text, lambda: st.text(_ANY_TEXT, max_size=TEXT_MAX)),
    (Currency, lambda: st.text("ABCDEFGHIJKLMNOPQRSTUVWXYZ", min_size=3, max_size=3)),
    (Amount, lambda: decimals(whole_max=10**10 - 1, places=4)),
    (Quantity, lambda: decimals(whole_max=100_000, places=6, above_zero=True)),
    (Instant, instants),
    (bool, st.booleans),
    (Any, json_values),
    (None, st.none),
    (type(None), st.none),
)


def _field(hint: Any, field: FieldInfo, name: str) -> Strategy:
    own = [one for one in field.metadata if get_origin(hint) is not Annotated]
    try:
        return _of(hint, own)
    except NotImplementedError as cause:
        raise NotImplementedError(f"no strategy for field {name}: {hint}") from cause


def _of(hint: Any, metadata: list[Any]) -> Strategy:
    for known, strategy in _KNOWN:
        if hint == known:
            return strategy()
    origin = get_origin(hint)
    if origin is Annotated:
        kind, *more = get_args(hint)
        return _of(kind, [*metadata, *_flat(more)])
    if origin in {Union, types.UnionType}:
        return st.one_of([_of(one, metadata) for one in get_args(hint)])
    if origin is Literal:
        return st.sampled_from(get_args(hint))
    if isinstance(hint, type) and issubclass(hint, Message):
        return st.deferred(lambda: messages(hint))
    return _collection_or_number(hint, metadata)


def _collection_or_number(hint: Any, metadata: list[Any]) -> Strategy:
    origin = get_origin(hint)
    if origin is tuple:
        inner = _of(get_args(hint)[0], [])
        least = int(_limit(metadata, "min_length") or 0)
        return st.lists(inner, min_size=least, max_size=least + ITEMS_MAX).map(tuple)
    if origin is dict:
        key, value = (_of(one, []) for one in get_args(hint))
        return st.dictionaries(key, value, max_size=ITEMS_MAX)
    if hint is str:
        pattern = _limit(metadata, "pattern")
        return matching(pattern) if pattern else st.text(_ANY_TEXT, max_size=FREE_TEXT_MAX)
    if hint is int:
        low, high = _limit(metadata, "ge"), _limit(metadata, "le")
        return st.integers(-WHOLE_MAX if low is None else low, WHOLE_MAX if high is None else high)
    if hint is float:
        low, high = _limit(metadata, "ge"), _limit(metadata, "le")
        return st.floats(low, high, allow_nan=False, allow_infinity=False)
    raise NotImplementedError(hint)


def _flat(metadata: list[Any]) -> list[Any]:
    return [
        part
        for one in metadata
        for part in (one.metadata if isinstance(one, FieldInfo) else [one])
    ]


def _limit(metadata: list[Any], name: str) -> Any:
    found = (getattr(one, name, None) for one in metadata)
    return next((one for one in found if one is not None), None)


def matching(pattern: str) -> st.SearchStrategy[str]:
    """Plain ASCII text that a pattern matches as a whole."""
    whole = pattern.removeprefix("^").removesuffix("$")
    return st.from_regex(re.compile(whole, re.ASCII), fullmatch=True)
