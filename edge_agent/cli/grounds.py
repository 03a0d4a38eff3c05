"""What each decision of a recorded day was taken on: its model, its terms, the goods as they were.

A day may have had several of each. Bundles that a decision names are looked for where the agent
keeps them: the live one, the one before, a shadow, and the configured one.
"""

from __future__ import annotations

import sqlite3
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from edge_agent.cli.recorded_day import knowledge_of
from edge_agent.errors import BundleError
from edge_agent.replay.verification import Verifier
from edge_agent.shell.bundles import load_bundle, read_manifest
from edge_agent.shell.kept_goods import KeptGoods
from edge_agent.shell.kept_rules import kept_rules
from edge_agent.shell.model_store import CONFIGURED, INCOMING, ModelStore
from edge_agent.shell.rows import stored_plans
from edge_agent.shell.scorers import ModelScorer, PopularityScorer
from edge_agent.shell.terms import kept_terms

if TYPE_CHECKING:
    from collections.abc import Mapping

    from edge_agent.cli.recorded_day import RecordedDay
    from edge_agent.config import Config
    from edge_agent.shell.bundles import Bundle

# Of stretches of a day that are looked at one after the other, few are looked at again.
_VERIFIERS_KEPT: Final = 8
_Key = tuple[str, int | None, int]


class Grounds:
    """Finds, for each decision of a day, what it is taken again on.

    Args:
        day: The day.
        connection: To its database; not used once this is made.

    Raises:
        sqlite3.Error: The database cannot be read.
    """

    def __init__(self, day: RecordedDay, connection: sqlite3.Connection) -> None:
        is_old = not _has_terms(connection)
        self._key = day.config.model_key
        self._paths = bundles_of(day)
        self._bundles: dict[str, tuple[Bundle, ModelScorer]] = {}
        self._refused: dict[str, str] = {}
        self._plans = stored_plans(connection)
        self._goods = KeptGoods(connection, is_old=is_old)
        kept = {} if is_old else kept_terms(connection, day.config)
        # A decision from before there were any was taken on the first that were kept, if any.
        first = kept[min(kept)] if kept else day.config
        self._terms: dict[int | None, Config] = dict([(None, first), *kept.items()])
        self._rules = {
            number: kept_rules(connection, config) for number, config in self._terms.items()
        }
        self._verifiers: dict[_Key, Verifier] = {}

    def terms_of(self, row: Mapping[str, Any]) -> Config:
        """Returns the configuration as it was when a decision was taken."""
        return self._terms.get(row.get("terms"), self._terms[None])

    def verifier_of(self, row: Mapping[str, Any], told: dict[str, Any]) -> Verifier | str:
        """Returns what takes a decision again, or why nothing can.

        Args:
            row: Its columns.
            told: Its record, decoded.
        """
        model = str(told.get("model"))
        missing = self._missing(model)
        if missing is not None:
            return missing
        terms = row.get("terms") if row.get("terms") in self._terms else None
        number = int(row.get("goods") or 0)
        key = (model, terms, self._goods.stretch_of(number))
        verifier = self._verifiers.pop(key, None) or self._made(model, terms, number)
        self._verifiers[key] = verifier
        if len(self._verifiers) > _VERIFIERS_KEPT:
            del self._verifiers[next(iter(self._verifiers))]
        rules = verifier.lacks(told)
        if rules is not None:
            return f"decided under rules {rules}, which are not kept any more"
        return verifier

    def _missing(self, model: str) -> str | None:
        """Returns why a model cannot decide again; None when it can."""
        if model == PopularityScorer.version:
            return "decided by popularity, which rests on all sales before"
        if model in self._bundles:
            return None
        if model not in self._paths:
            return f"decided by model {model}, which is not here any more"
        if model not in self._refused:
            try:
                bundle = load_bundle(self._paths[model], public_key=self._key)
            except BundleError as error:
                self._refused[model] = f"decided by model {model}: {error.message}"
            else:
                bundle.scorer.use_plans(self._plans)
                self._bundles[model] = (bundle, ModelScorer(bundle))
        return self._refused.get(model)

    def _made(self, model: str, terms: int | None, number: int) -> Verifier:
        bundle, scorer = self._bundles[model]
        known = knowledge_of(
            bundle, scorer=scorer, fed=self._goods.feed_at(number), config=self._terms[terms]
        )
        return Verifier(known, self._rules[terms])


def bundles_of(day: RecordedDay) -> dict[str, Path]:
    """Returns where each bundle of a day lies, by version; those that are unsound are left out."""
    store = ModelStore(day.database.parent / "models")
    live = store.read().live
    configured = day.config.model.bundle
    found = [] if configured is None else [Path(configured)]
    if store.folder.is_dir():
        found += sorted(
            path
            for path in store.folder.iterdir()
            if path.is_dir() and not path.name.startswith(INCOMING)
        )
    if live != CONFIGURED:
        found.append(store.path_of(live))
    paths: dict[str, Path] = {}
    for path in found:
        try:
            manifest = read_manifest(path, public_key=day.config.model_key)
        except BundleError:
            continue
        paths[str(manifest["version"])] = path
    return paths


def _has_terms(connection: sqlite3.Connection) -> bool:
    asked = "SELECT 1 FROM sqlite_master WHERE type = 'table' AND name = 'terms'"
    return connection.execute(asked).fetchone() is not None
