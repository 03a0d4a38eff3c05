"""The device mappings that a configuration names: read, compiled, checked against the store.

A mapping that is wrong is left out with its reasons and spoils no other one; whether what was in
force before it goes on is for the caller.
"""

from __future__ import annotations

import hmac
import re
from collections.abc import Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Final

from edge_agent.ingest import filters
from edge_agent.ingest.device_mapping import DeviceMapping
from edge_agent.ingest.identifiers import RULES_WANTED, rules_of
from edge_agent.ingest.places import Place, line_of
from edge_agent.shell.resources import shipped_mapping, shipped_mappings
from edge_agent.wire import topics

if TYPE_CHECKING:
    from edge_agent.config import Config, MappingSection
    from edge_agent.ingest.mapping import CompiledMapping

# The table in which a device's own name for a place becomes one of the store's zones.
ZONES_TABLE: Final = "zones"
_PURPOSE: Final = b"edge-agent mapping state"
_SETTING: Final = re.compile(r"""\$settings\.(\w+)|\bsetting\s*=\s*["'](\w+)["']""")

# The setting that says how the store's own barcodes are read.
_OF_CODES: Final = re.compile(r"""\bregion\s*=\s*["']\$settings\.(\w+)["']""")


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """What is wrong with one mapping of a configuration.

    Attributes:
        place: Keys in the configuration, from its top.
        message: What is wrong, with the line where the mapping's own file is meant.
    """

    place: Place
    message: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Mappings:
    """The mappings of a configuration.

    Attributes:
        good: Those that can be used.
        refused: What is wrong with the others, by name.
    """

    good: tuple[DeviceMapping, ...]
    refused: Mapping[str, tuple[Problem, ...]]


def secret_of(store_key: bytes) -> bytes:
    """Returns the key under which mappings file what they remember."""
    return hmac.digest(store_key, _PURPOSE, "sha256")


def read_mappings(
    config: Config, *, secret: bytes, instead: Mapping[str, str] = MappingProxyType({})
) -> Mappings:
    """Returns the mappings that a configuration names.

    Args:
        config: The configuration.
        secret: Keys what mappings remember.
        instead: Texts by name that are taken where the file itself is no good.
    """
    good: list[DeviceMapping] = []
    refused: dict[str, tuple[Problem, ...]] = {}
    for name, section in config.mappings.items():
        made = _read_one(name, section, config, secret=secret)
        if isinstance(made, DeviceMapping):
            made = _admitted(made, good, config.store)
        if not isinstance(made, DeviceMapping):
            refused[name] = made
            if name not in instead:
                continue
            made = _from_text(name, instead[name], section, config, secret=secret)
            if isinstance(made, DeviceMapping):
                made = _admitted(made, good, config.store)
        if isinstance(made, DeviceMapping):
            good.append(made)
    return Mappings(good=tuple(good), refused=refused)


def problems_of(config: Config, text: str, *, name: str) -> list[str]:
    """Returns all that is wrong with a configuration's mappings, each with its line.

    Args:
        config: The configuration.
        text: What it was read from.
        name: How problems call it.
    """
    refused = read_mappings(config, secret=b"").refused
    return [
        f"{name}:{line_of(text, each.place)}: {_dotted(each.place)}: {each.message}"
        for problems in refused.values()
        for each in problems
    ]


def _read_one(
    name: str, section: MappingSection, config: Config, *, secret: bytes
) -> DeviceMapping | tuple[Problem, ...]:
    place: Place = ("mappings", name)
    path = shipped_mapping(name) if section.file is None else Path(section.file)
    if path is None:
        near = get_close_matches(name, shipped_mappings(), n=1)
        hint = f", did you mean {near[0]}?" if near else ""
        what = f"no device folder of this name was shipped{hint}; give a mapping's file"
        return (Problem(place=place, message=what),)
    if section.file is not None:
        place = (*place, "file")
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        what = getattr(error, "strerror", None) or "not UTF-8"
        return (Problem(place=place, message=f"{path} cannot be read: {what}"),)
    made = _from_text(name, text, section, config, secret=secret)
    if isinstance(made, DeviceMapping):
        return made
    # A line of the mapping's own file is said with that file's name.
    return tuple(
        Problem(place=place, message=f"{path}: {each.message}") if not each.place else each
        for each in made
    )


def _from_text(
    name: str, text: str, section: MappingSection, config: Config, *, secret: bytes
) -> DeviceMapping | tuple[Problem, ...]:
    # 7 MiB that an agent without mappings spares.
    from edge_agent.ingest.mapping import (  # noqa: PLC0415
        CompiledMapping,
        Lookups,
        read_mapping,
    )

    compiled = read_mapping(text)
    if not isinstance(compiled, CompiledMapping):
        return tuple(Problem(place=(), message=each) for each in compiled)
    problems = _additions(name, section, config, compiled, text)
    if problems:
        return problems
    known = compiled.spec.settings.keys() | _mentioned(text)
    stores = {"timezone": config.timezone, "currency": config.currency}
    for key in _OF_CODES.findall(text):
        # A file that says whose rules hold knows its device better than the store does.
        if config.in_store_codes is not None and not compiled.spec.settings.get(key):
            stores[key] = config.in_store_codes
    settings = {key: value for key, value in stores.items() if key in known}
    lookups = Lookups(
        settings={**settings, **section.settings},
        tables={table: dict(rows) for table, rows in section.tables.items()},
        secret=secret,
    )
    return DeviceMapping(name=name, text=text, compiled=compiled, lookups=lookups)


def _additions(
    name: str, section: MappingSection, config: Config, compiled: CompiledMapping, text: str
) -> tuple[Problem, ...]:
    """Returns what is wrong with what the store adds to a mapping."""
    top: Place = ("mappings", name)
    found: list[Problem] = []
    known = compiled.spec.settings.keys() | _mentioned(text)
    for key in section.settings:
        if key not in known:
            what = "the mapping has no such setting"
            found.append(Problem(place=(*top, "settings", key), message=what))
        elif key in _OF_CODES.findall(text) and rules_of(str(section.settings[key])) is None:
            found.append(Problem(place=(*top, "settings", key), message=f"must be {RULES_WANTED}"))
    for table, rows in section.tables.items():
        if table not in compiled.spec.tables:
            there = ", ".join(sorted(compiled.spec.tables)) or "none"
            what = f"the mapping has no such table; there are: {there}"
            found.append(Problem(place=(*top, "tables", table), message=what))
        elif table == ZONES_TABLE:
            found += [
                Problem(place=(*top, "tables", table, key), message=f"there is no zone {zone!r}")
                for key, zone in rows.items()
                if zone not in config.zones
            ]
    return tuple(found)


def _mentioned(text: str) -> frozenset[str]:
    return frozenset(one or other for one, other in _SETTING.findall(text))


def _admitted(
    new: DeviceMapping, others: list[DeviceMapping], store: str
) -> DeviceMapping | tuple[Problem, ...]:
    wanted = [topic for each in (*others, new) for topic in each.topics]
    own = [each.format(store=store) for each in topics.OWN_FILTERS]
    for asked in filters.fewest(wanted):
        taken = next((each for each in own if filters.overlap(asked, each)), None)
        if taken is not None:
            what = f"its topics come to {asked}, which holds the agent's own {taken}"
            return (Problem(place=("mappings", new.name), message=what),)
    return new


def _dotted(place: Place) -> str:
    return ".".join(str(each) for each in place)
