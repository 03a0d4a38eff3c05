"""The terms that decisions are taken on: what of the agent's own settings they rest on.

A record holds neither the numbers of the agent's policy nor what each zone sells. Each kind of
them is written down once, at the start of an agent that has others than before; a decision's row
names the kind that held. So a decision is taken again on its own terms after they were changed.
"""

from __future__ import annotations

import json
import logging
import sqlite3
from dataclasses import asdict, fields
from typing import TYPE_CHECKING, Any

from edge_agent.config import ZoneSection
from edge_agent.domain.policy import Policy
from edge_agent.shell.rows import canonical_json

if TYPE_CHECKING:
    from edge_agent.config import Config

log = logging.getLogger(__name__)


def text_of(config: Config) -> str:
    """Returns a configuration's terms as canonical JSON."""
    zones = {name: list(each.departments) for name, each in config.zones.items()}
    policy = asdict(config.policy)
    return canonical_json({"policy": policy, "timezone": config.timezone, "zones": zones})


def noted(connection: sqlite3.Connection, config: Config) -> int | None:
    """Returns the number of a configuration's terms, which are written down if they are new.

    None where the disk does not take them: decisions are taken as ever, and those until the next
    start are taken again on the terms of before.

    Args:
        connection: The writer's, outside a transaction.
        config: What the agent was started with.
    """
    text = text_of(config)
    try:
        connection.execute("INSERT OR IGNORE INTO terms (text) VALUES (?)", (text,))
    except sqlite3.OperationalError as error:
        log.warning("terms_not_kept", extra={"fields": {"error": str(error)}})
    row = connection.execute("SELECT id FROM terms WHERE text = ?", (text,)).fetchone()
    return None if row is None else int(row[0])


def kept_terms(connection: sqlite3.Connection, config: Config) -> dict[int, Config]:
    """Returns a configuration as it was on each of the terms that a database keeps, by number.

    Args:
        connection: To the database.
        config: The store's configuration by now.

    Raises:
        ValueError, KeyError, TypeError, AttributeError: A row holds what no agent wrote there.
    """
    found = connection.execute("SELECT id, text FROM terms ORDER BY id")
    return {int(number): _on(config, json.loads(text)) for number, text in found}


def _on(config: Config, told: dict[str, Any]) -> Config:
    known = {field.name for field in fields(Policy)}
    policy = {name: value for name, value in told["policy"].items() if name in known}
    policy["sensitive_departments"] = tuple(policy["sensitive_departments"])
    zones = {
        name: config.zones.get(name, ZoneSection()).model_copy(
            update={"departments": tuple(departments)}
        )
        for name, departments in told["zones"].items()
    }
    return config.model_copy(
        update={"policy": Policy(**policy), "timezone": told["timezone"], "zones": zones}
    )
