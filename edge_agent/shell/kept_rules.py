"""The policies that a database keeps: each version that was in force, as it was written."""

from __future__ import annotations

from typing import TYPE_CHECKING

from edge_agent.domain.rules import Rules
from edge_agent.errors import ConfigError
from edge_agent.shell.rule_versions import unpacked

if TYPE_CHECKING:
    import sqlite3

    from edge_agent.config import Config


def kept_rules(connection: sqlite3.Connection, config: Config) -> dict[str, Rules]:
    """Returns the rules that were in force, by version, but for those that are read no more.

    Args:
        connection: To the database.
        config: The store's configuration, for its time zone.
    """
    rows = connection.execute("SELECT version, text FROM rule_set ORDER BY version").fetchall()
    if not rows:
        return {}
    # Most stores have none, and spare the memory of their form.
    from edge_agent.shell.rule_files import rules_of  # noqa: PLC0415

    found: dict[str, Rules] = {}
    for version, kept in rows:
        try:
            found[str(version)] = rules_of(
                unpacked(kept), name=str(version), config=config, is_in_force=True
            )
        except ConfigError:
            # Written for another release of the agent: who asks is told that it is not there.
            continue
    return found
