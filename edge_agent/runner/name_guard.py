"""Keeps identifiers of people out of the fields that name things.

Names of things (an event's id, a product, a zone, a register) are written down and published as
they come, so a device that puts a card number or an address there would write it to the disk and
onto a screen. What the store knows by that name passes. Whatever else is an address by its form,
or was heard as somebody's identifier or basket since the day began, stops its event.

What was heard is remembered in memory alone, as keyed hashes, in bounded number. So a number that
nobody ever named as an identifier passes as the name of a thing: nothing tells the two apart.
"""

from __future__ import annotations

import re
from collections import OrderedDict
from functools import lru_cache
from hashlib import blake2b
from types import NoneType
from typing import TYPE_CHECKING, Annotated, Any, Final, get_args, get_origin

if TYPE_CHECKING:
    from collections.abc import Callable

    from pydantic import BaseModel

    from edge_agent.wire.events import Event

HEARD_MAX: Final = 50_000
# Shorter ones (a camera's track 17) are the names of things too often.
SHORTEST: Final = 8
_DIGEST_BYTES: Final = 8
_SEPARATORS: Final = re.compile(r"[\s:.\-_/]+")
_MAIL: Final = re.compile(r"[^\s@]+@[^\s@]+\.[^\s@]+")
_MAC: Final = re.compile(
    r"([0-9a-fA-F]{2}[:-]){5}[0-9a-fA-F]{2}|([0-9a-fA-F]{4}\.){2}[0-9a-fA-F]{4}"
)
# What is hashed, read by staff alone, or one of few words; everything else of text names a thing.
_HASHED: Final = ("basket", "code", "complaint")
_NO_NAMES: Final = frozenset({*_HASHED, "story", "currency", "visitor"})
# What an event may say beside it, and nobody keeps or publishes.
_NOT_KEPT: Final = frozenset(
    {
        "instance", "lot", "business_step", "disposition", "read_point", "business_location",
        "programme", "terminal", "receipt",
    }
)  # fmt: skip


class NameGuard:
    """Knows what was heard as an identifier of late."""

    def __init__(self, is_known: Callable[[str], bool], key: bytes) -> None:
        """Sets up a guard.

        Args:
            is_known: Whether the store's floor or catalogue has a thing of that name.
            key: Hashes what was heard.
        """
        self._is_known = is_known
        self._heard: OrderedDict[bytes, None] = OrderedDict()
        self._day = ""

        @lru_cache(maxsize=HEARD_MAX)
        def digest(text: str) -> bytes | None:
            joined = _SEPARATORS.sub("", text)
            if len(joined) < SHORTEST:
                return None
            return blake2b(joined.lower().encode(), key=key, digest_size=_DIGEST_BYTES).digest()

        self._digest = digest

    def refused_field(self, event: Event, *, day: str) -> str | None:
        """Returns the field of an event that names a person in a thing's place; None when none.

        Args:
            event: The event; who it is about is remembered.
            day: Store-local day of the present: what was heard before it is forgotten.
        """
        if day != self._day:
            self._day = day
            self._heard.clear()
            self._digest.cache_clear()
        values = vars(event.data)
        self._hear_of(values)
        if self._is_of_person(event.id):
            return "id"
        for name, may_be_mac in _names_of(type(event.data)):
            text = values[name]
            if text is not None and self._is_strange(text, may_be_mac=may_be_mac):
                return name.removesuffix("_")
        is_strange = any(self._is_strange(line.product) for line in values.get("lines", ()))
        return "lines" if is_strange else None

    def _is_strange(self, text: str, *, may_be_mac: bool = False) -> bool:
        return not self._is_known(text) and self._is_of_person(text, may_be_mac=may_be_mac)

    def _hear_of(self, values: dict[str, Any]) -> None:
        visitor = values.get("visitor")
        if visitor is not None:
            self._hear(visitor.value)
        for field in _HASHED:
            text = values.get(field)
            if text is not None:
                self._hear(text)

    def _hear(self, text: str) -> None:
        digest = self._digest(text)
        if digest is None:
            return
        if digest in self._heard:
            self._heard.move_to_end(digest)
            return
        self._heard[digest] = None
        if len(self._heard) > HEARD_MAX:
            self._heard.popitem(last=False)

    def _is_of_person(self, text: str, *, may_be_mac: bool = False) -> bool:
        return (
            self._digest(text) in self._heard
            or _MAIL.fullmatch(text) is not None
            or (not may_be_mac and _MAC.fullmatch(text) is not None)
        )


@lru_cache(maxsize=64)
def _names_of(data: type[BaseModel]) -> tuple[tuple[str, bool], ...]:
    """Returns an event's fields of text that name things, and whether each may be a MAC address.

    A zone that is only told beside something else is the receiver's own address until a mapping
    gives it a name: it would be wrong, and of nobody.
    """
    return tuple(
        (name, name == "zone" and not field.is_required())
        for name, field in data.model_fields.items()
        if name not in _NO_NAMES | _NOT_KEPT and _is_text(field.annotation)
    )


def _is_text(annotation: Any) -> bool:
    """Whether a field is a text, bounded in whatever way, or none."""
    if get_origin(annotation) is Annotated:
        annotation = get_args(annotation)[0]
    if annotation is str:
        return True
    parts = get_args(annotation)
    return NoneType in parts and any(_is_text(each) for each in parts if each is not NoneType)
