"""Which mappings are in force: loaded at the start, again when asked, the last good ones kept.

A file that was good is kept in the database as it was. When it is broken later, what was in force
goes on: in the running agent, and after a restart too. The refusal stands in the log, in
`edge-agent status` and in the agent's state until the file is mended.
"""

from __future__ import annotations

import json
import logging
from typing import TYPE_CHECKING, Final

from edge_agent import config as configuration
from edge_agent.errors import ConfigError
from edge_agent.ingest import filters
from edge_agent.shell.health import MAPPING_PROBLEM
from edge_agent.shell.mapping_files import read_mappings
from edge_agent.shell.mqtt_client import Subscription

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from edge_agent.config import Config, MappingSection
    from edge_agent.ingest.device_mapping import DeviceMapping
    from edge_agent.ports import UnitOfWork
    from edge_agent.shell.health import MAPPING_PROBLEM
from edge_agent.shell.mapping_files import Mappings, Problem

log = logging.getLogger(__name__)

_FILTERS_KEY: Final = "mapping_filters"
_META: Final = "SELECT value FROM meta WHERE key = ?"
# A retained message is no news when the subscription stood already: MQTT 5.0, section 3.8.3.1.
_ONLY_WHEN_NEW: Final = 1


class MappingDesk:
    """Loads mappings and writes down which ones are in force."""

    def __init__(self, config: Config, path: Path | None, *, secret: bytes) -> None:
        self._config = config
        self._path = path
        self._secret = secret
        self._texts: dict[str, str] = {}
        self._problem = ""
        self.refused: dict[str, str] = {}
        self.mappings: tuple[DeviceMapping, ...] = ()
        self.earlier_filters: tuple[str, ...] = ()

    def start(self, unit: UnitOfWork, *, now_ms: int) -> None:
        """Loads the configuration's mappings, at the agent's start."""
        rows = unit.query("SELECT name, text FROM mapping WHERE text <> ''")
        self._texts = {str(name): str(text) for name, text in rows}
        found = unit.query(_META, (_FILTERS_KEY,))
        self.earlier_filters = tuple(json.loads(found[0][0])) if found else ()
        if any(row[0] for row in unit.query(_META, (MAPPING_PROBLEM,))):
            # A configuration that could be loaded now is whole again.
            unit.add("meta", (MAPPING_PROBLEM, ""))
        self._take(read_mappings(self._config, secret=self._secret, instead=self._texts))
        self._write(unit, now_ms)

    def reload(self, unit: UnitOfWork, *, now_ms: int) -> None:
        """Loads them again; whatever is wrong leaves in force what was."""
        try:
            config = self._config if self._path is None else configuration.load(self._path)
        except ConfigError as error:
            # The configuration itself is broken: no mapping of it can be told from another.
            self._problem = "; ".join(error.problems) or error.message
            unit.add("meta", (MAPPING_PROBLEM, self._problem))
            log.error("mappings_refused", extra={"fields": {"problem": self._problem}})  # noqa: TRY400 - told in our words
            return
        if self._problem:
            unit.add("meta", (MAPPING_PROBLEM, ""))
        self._problem = ""
        self._config = config
        self.earlier_filters = self.filters
        self._take(read_mappings(config, secret=self._secret, instead=self._texts))
        self._write(unit, now_ms)

    @property
    def sections(self) -> Mapping[str, MappingSection]:
        """What the store's configuration says of the mappings."""
        return self._config.mappings

    @property
    def filters(self) -> tuple[str, ...]:
        """The fewest topic filters that bring each message of a device once."""
        return filters.fewest(topic for each in self.mappings for topic in each.topics)

    @property
    def subscriptions(self) -> tuple[Subscription, ...]:
        """The same, as they are subscribed."""
        return tuple(
            Subscription(topic_filter=each, retain_handling=_ONLY_WHEN_NEW)
            for each in self.filters
        )

    @property
    def problems(self) -> tuple[str, ...]:
        """What the agent's state tells of mappings."""
        return ("mapping_refused",) if self.refused or self._problem else ()

    def _take(self, found: Mappings) -> None:
        self.mappings = found.good
        self.refused = {name: _told(problems) for name, problems in found.refused.items()}
        self._texts = {each.name: each.text for each in found.good}
        for name, problem in self.refused.items():
            goes_on = name in self._texts
            fields = {"mapping": name, "problem": problem, "earlier_one_goes_on": goes_on}
            log.error("mapping_refused", extra={"fields": fields})
        names = [each.name for each in self.mappings if each.name not in self.refused]
        if names:
            log.info("mappings_loaded", extra={"fields": {"mappings": names}})

    def _write(self, unit: UnitOfWork, now_ms: int) -> None:
        known = {
            str(name): (str(text), problem, int(at_ms))
            for name, text, problem, at_ms in unit.query(
                "SELECT name, text, problem, loaded_at_ms FROM mapping"
            )
        }
        for name in self._config.mappings:
            text, problem = self._texts.get(name, ""), self.refused.get(name)
            before = known.pop(name, None)
            if before is None or before[:2] != (text, problem):
                at_ms = before[2] if before is not None and before[0] == text else now_ms
                unit.add("mapping", (name, text, at_ms, problem))
        for name in known:
            unit.add("mapping_delete", (name,))
        if self.filters != self.earlier_filters:
            unit.add("meta", (_FILTERS_KEY, json.dumps(self.filters)))


def _told(problems: tuple[Problem, ...]) -> str:
    return "; ".join(
        f"{'.'.join(str(step) for step in each.place)}: {each.message}" for each in problems
    )
