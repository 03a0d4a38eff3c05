"""The allow-list of what may leave for HQ: fields and values, message kind by message kind.

Summaries are made so that they hold no person; this is the other pair of eyes. Whatever is not on
the list (a kind, a field, a value that may be somebody's identifier) stops the whole message. The
list is written out and not taken from the wire's models: a new field there has to be decided on
here, and a test says so.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Final

# The longest run of digits that a name may hold: EAN-8 and house numbers are shorter than any
# card, telephone or basket number in use. Hexadecimal: a Bluetooth or Wi-Fi address has twelve.
_DIGITS_TOO_MANY: Final = re.compile(r"[0-9]{9}")
_HEX_TOO_MANY: Final = re.compile(r"[0-9a-fA-F]{12}")
_SEPARATORS: Final = re.compile(r"[\s:.\-_/()+]")
NAME_CHARACTERS_MAX: Final = 64
WORD_CHARACTERS_MAX: Final = 128
TEXT_CHARACTERS_MAX: Final = 2_000

_INSTANT: Final = re.compile(
    r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}(\.[0-9]{1,6})?(Z|[+-][0-9]{2}:[0-9]{2})"
)
_DAY: Final = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")
# No hour of a store has a larger sum or count; card numbers are longer.
_NUMBER_MAX: Final = 10**11
_DECIMAL: Final = re.compile(r"-?[0-9]{1,11}(\.[0-9]{1,6})?")
_COUNTED: Final = re.compile(r"[a-z][a-z_]{0,63}")
_DIGEST: Final = re.compile(r"[0-9a-f]{24}")
# Levels of `hq/{store}/up/{kind}`.
_KIND_LEVEL: Final = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Names:
    """The store's own words, against which values are held.

    Attributes:
        store: The store.
        zones: The zones of its floor.
        is_product: Whether the catalogue has a product.
    """

    store: str
    zones: frozenset[str]
    is_product: Callable[[str], bool]


@dataclass(frozen=True, slots=True, kw_only=True)
class Passed:
    """A message that may leave; `fields` are the paths of all it says."""

    kind: str
    fields: frozenset[str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Refused:
    """A message that may not, and where in it that shows; never the value."""

    kind: str
    reason: str


Rule = Callable[[Any, Names], bool]


def may_name(text: str) -> bool:
    """Returns whether a text may be the name of a thing, and no identifier of a person.

    Example:
        >>> [may_name(each) for each in ("dairy-1", "5590287", "HeVi-osasto 2")]
        [True, True, True]
        >>> [may_name(each) for each in ("AC:23:3F:A0:11:22", "6400 0000 0900 5", "a@b.fi")]
        [False, False, False]
    """
    if not 0 < len(text) <= NAME_CHARACTERS_MAX or not text.isprintable() or "@" in text:
        return False
    joined = _SEPARATORS.sub("", text)
    return not (_DIGITS_TOO_MANY.search(joined) or _HEX_TOO_MANY.search(joined))


def checked(topic: str, payload: bytes, names: Names) -> Passed | Refused:
    """Returns whether a message may leave for HQ."""
    kind, is_in_place = _kind_of(topic, names.store)
    allowed = ALLOWED.get(kind)
    if allowed is None or not is_in_place:
        return Refused(kind=kind if kind in ALLOWED else "other", reason="no kind of the list")
    try:
        document = json.loads(payload)
    except ValueError:
        return Refused(kind=kind, reason="no JSON")
    if not isinstance(document, dict):
        return Refused(kind=kind, reason="no JSON object")
    found = set()
    for path, value in _leaves(document, ""):
        rule = allowed.get(path)
        if rule is None:
            return Refused(kind=kind, reason="a field that is not on the list")
        if value is not None and not rule(value, names):
            return Refused(kind=kind, reason=f"the value of {path}")
        found.add(path)
    return Passed(kind=kind, fields=frozenset(found))


def _kind_of(topic: str, store: str) -> tuple[str, bool]:
    """Returns the kind of a topic, and whether the topic is that kind's."""
    levels = topic.split("/")
    kind = levels[_KIND_LEVEL] if len(levels) > _KIND_LEVEL else ""
    rest = levels[_KIND_LEVEL + 1 :]
    is_whole = (len(rest) == 1 and rest[0] in _SUMMARIES) if kind == "summary" else not rest
    return kind, is_whole and levels[:_KIND_LEVEL] == ["hq", store, "up"]


def _leaves(value: object, path: str) -> Iterator[tuple[str, Any]]:
    """Yields every value with its path; free keys are values too, on a path that ends in `{}`."""
    if isinstance(value, dict):
        if path in _FREE_KEYS:
            for key, each in value.items():
                yield f"{path}{{}}", key
                yield f"{path}.*", each
            return
        for key, each in value.items():
            yield from _leaves(each, f"{path}.{key}" if path else str(key))
    elif isinstance(value, list):
        for each in value:
            yield from _leaves(each, f"{path}[]")
    else:
        yield path, value


def _is_whole(value: Any, _: Names) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and abs(value) < _NUMBER_MAX


def _is_number(value: Any, _: Names) -> bool:
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return is_number and abs(value) < _NUMBER_MAX


def _is_flag(value: Any, _: Names) -> bool:
    return isinstance(value, bool)


def _fits(pattern: re.Pattern[str]) -> Rule:
    return lambda value, _: isinstance(value, str) and pattern.fullmatch(value) is not None


def _one_of(*words: str) -> Rule:
    return lambda value, _: value in words


def _is_store(value: Any, names: Names) -> bool:
    return bool(value == names.store)


def _is_name(value: Any, _: Names) -> bool:
    return isinstance(value, str) and may_name(value)


def _is_place(value: Any, names: Names) -> bool:
    return isinstance(value, str) and (value in names.zones or may_name(value))


def _is_product(value: Any, names: Names) -> bool:
    return isinstance(value, str) and (names.is_product(value) or may_name(value))


def _is_word_of_hq(value: Any, _: Names) -> bool:
    """What HQ named itself (its commands, its handles) it may hear again."""
    return isinstance(value, str) and len(value) <= WORD_CHARACTERS_MAX and value.isprintable()


def _is_reason(value: Any, _: Names) -> bool:
    return isinstance(value, str) and (not value or len(value) <= TEXT_CHARACTERS_MAX)


def _is_made_of(*parts: str) -> Rule:
    """Returns the rule for an id that the agent makes: the store's name, then fixed parts."""
    rest = re.compile("".join(rf"\.{part}" for part in parts))
    return lambda value, names: (
        isinstance(value, str)
        and value.startswith(names.store)
        and rest.fullmatch(value[len(names.store) :]) is not None
    )


_SUMMARIES: Final = ("footfall", "dwell", "sales", "funnel", "uplift")
_FREE_KEYS: Final = frozenset({"cells[].keys", "cells[].counts", "cells[].sums", "counters"})
_NUMBER: Final = "[0-9]{1,16}"

ALLOWED: Final[dict[str, dict[str, Rule]]] = {
    "summary": {
        "summary_id": _is_made_of(f"({'|'.join(_SUMMARIES)})", _NUMBER, _NUMBER),
        "store": _is_store,
        "kind": _one_of(*_SUMMARIES),
        "period_start": _fits(_INSTANT),
        "period_end": _fits(_INSTANT),
        "revision": _is_whole,
        "k": _is_whole,
        "n_suppressed_cells": _is_whole,
        "cells[].keys{}": _one_of("zone", "department", "place", "campaign", "share", "arm"),
        "cells[].keys.*": _is_place,
        "cells[].n_visitors": _is_whole,
        "cells[].counts{}": _fits(_COUNTED),
        "cells[].counts.*": _is_whole,
        "cells[].sums{}": _fits(_COUNTED),
        "cells[].sums.*": _fits(_DECIMAL),
        "cells[].histogram": _is_whole,
        "cells[].histogram[]": _is_whole,
        "schema_version": _is_whole,
    },
    "customer": {
        "update_id": _fits(_DIGEST),
        "reference": _is_word_of_hq,
        "store": _is_store,
        "activity_date": _fits(_DAY),
        "revision": _is_whole,
        "segments[]": _is_word_of_hq,
        "interests[].category": _is_name,
        "interests[].strength": _is_number,
        "choices[]": _is_product,
        "schema_version": _is_whole,
    },
    "state": {
        "state_id": _is_made_of("state", _NUMBER),
        "store": _is_store,
        "at": _fits(_INSTANT),
        "version": _is_name,
        "model": _is_name,
        "health": _one_of("good", "degraded"),
        "problems[]": _fits(_COUNTED),
        "counters{}": _is_name,
        "counters.*": _is_whole,
        "devices[].device": _is_name,
        "devices[].last_seen": _fits(_INSTANT),
        "devices[].per_hour": _is_number,
        "devices[].skew_s": _is_number,
        "devices[].is_silent": _is_flag,
        "devices[].inside_at_closing": _is_whole,
        "devices[].is_drifting": _is_flag,
        "schema_version": _is_whole,
    },
    "confirm": {
        "confirm_id": _is_word_of_hq,
        "store": _is_store,
        "command": _is_word_of_hq,
        "outcome": _one_of("taken", "refused"),
        "reason": _is_reason,
        "schema_version": _is_whole,
    },
    "erasure": {
        "erasure_id": _is_word_of_hq,
        "store": _is_store,
        "reference": _is_word_of_hq,
        "at": _fits(_INSTANT),
        "schema_version": _is_whole,
    },
}
