"""A recorded day as `edge-agent demo --state DIR` leaves it: where it lies, what it rests on."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from edge_agent import config as configuration
from edge_agent.config import layout_of
from edge_agent.errors import BundleError, ConfigError, StoreError
from edge_agent.replay.again import Knowledge
from edge_agent.shell.bundles import Bundle, load_bundle
from edge_agent.shell.catalogue import BundleDepartments, StoreCatalogue, StoreDepartments
from edge_agent.shell.kept_goods import KeptGoods
from edge_agent.shell.model_store import CONFIGURED, ModelStore
from edge_agent.shell.rows import stored_plans
from edge_agent.shell.scorers import ModelScorer

if TYPE_CHECKING:
    import sqlite3

    from edge_agent.config import Config
    from edge_agent.shell.catalogue import Feed

HINT: Final = "give the folder that `edge-agent demo --state DIR` left"
_CONFIG: Final = "agent.toml"
_DATABASE: Final = "state.db"


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordedDay:
    """A day's files: the database and the configuration that it was decided under."""

    database: Path
    config: Config


def found_in(folder: Path) -> RecordedDay:
    """Returns the day in a folder: `agent.toml` and `agent/state.db`.

    Raises:
        ConfigError: The folder holds no recorded day.
    """
    path = folder / _CONFIG
    if not path.is_file():
        raise ConfigError(f"{folder} holds no recorded day: no {_CONFIG}", hint=HINT)
    config = configuration.load(path)
    # The folder may have been moved since: what lies in it comes before what its file names.
    for database in (folder / "agent" / _DATABASE, folder / _DATABASE, config.database):
        if database.is_file():
            return RecordedDay(database=database, config=config)
    raise ConfigError(f"{folder} holds no recorded day: no {_DATABASE}", hint=HINT)


def live_bundle(day: RecordedDay) -> Bundle:
    """Returns the bundle that decided last.

    Raises:
        BundleError: There is none, or it is not sound.
    """
    config = day.config
    store = ModelStore(day.database.parent / "models")
    live = store.read().live
    if live != CONFIGURED:
        return load_bundle(store.path_of(live), public_key=config.model_key)
    if config.model.bundle is None:
        raise BundleError(
            "the day was decided without a model: popularity rests on all sales before, which"
            " no record holds",
            hint="take a day that a bundle decided",
        )
    return load_bundle(Path(config.model.bundle), public_key=config.model_key)


def known_of(day: RecordedDay, connection: sqlite3.Connection, bundle: Bundle) -> Knowledge:
    """Returns what decisions rest on beside their records, when a bundle decides.

    Args:
        day: The day.
        connection: To its database.
        bundle: The one that decided, or another.

    Raises:
        StoreError: The database cannot be read.
    """
    try:
        fed = KeptGoods(connection, is_old=True).feed_at(0)
        bundle.scorer.use_plans(stored_plans(connection))
    except connection.Error as error:
        raise StoreError(f"the database cannot be read: {error}", hint=HINT) from error
    return knowledge_of(bundle, scorer=ModelScorer(bundle), fed=fed, config=day.config)


def knowledge_of(bundle: Bundle, *, scorer: ModelScorer, fed: Feed, config: Config) -> Knowledge:
    """Returns what decisions rest on beside their records.

    Args:
        bundle: The one that decides.
        scorer: Its own.
        fed: What HQ's feed said of the goods.
        config: The store's numbers and zones.
    """
    departments = {key: each.department for key, each in fed.items() if each.department}
    return Knowledge(
        scorer=scorer,
        catalogue=StoreCatalogue(
            bundle.catalogue,
            fed=fed,
            may_rank=bundle.scorer.knows,
            layout=layout_of(config),
            currency=config.currency,
        ),
        departments=StoreDepartments(departments, BundleDepartments(bundle.catalogue)),
        policy=config.policy,
        minimum_ages={key: each.minimum_age for key, each in fed.items() if each.minimum_age},
    )
