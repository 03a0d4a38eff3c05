"""How the agent is, read beside it from its database: no raw identifier is ever among it."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from edge_agent.domain.time import rfc3339_from_ms
from edge_agent.shell.second_copy import LOST_AT
from edge_agent.shell.sqlite_db import open_for_reading

if TYPE_CHECKING:
    import sqlite3

# Where the agent says why it could load no mapping again: its configuration is broken.
MAPPING_PROBLEM: Final = "mapping_problem"
# In `meta`: the version of the rules in force, and why a newer policy file is refused.
RULES_IN_FORCE: Final = "rules_in_force"
RULES_PROBLEM: Final = "rules_problem"
# In `meta`: why campaigns of HQ's are not in force.
HQ_CAMPAIGNS_PROBLEM: Final = "hq_campaigns_problem"
# In `meta`: what was counted of a policy that runs muted beside the one in force.
SHADOW_POLICY: Final = "shadow_policy"
# In `meta`: when HQ was last heard (`runner.hq_heard`).
HQ_HEARD: Final = "hq_heard_ms"
_COUNTED: Final = (
    ("visitors", "SELECT count(*) FROM visitor"),
    (
        "identified_visitors",
        "SELECT count(*) FROM visitor WHERE kind NOT IN ('ble', 'wifi', 'track', 'basket')",
    ),
    ("visits", "SELECT count(*) FROM visit"),
    ("open_visits", "SELECT count(*) FROM visit WHERE ended_at_ms IS NULL"),
    ("sales", "SELECT count(*) FROM sale"),
    ("decisions", "SELECT count(*) FROM decision"),
    ("events", "SELECT count(*) FROM inbox"),
    ("dead_letters", "SELECT count(*) FROM dead_letter"),
    ("waiting_for_broker", "SELECT count(*) FROM outbox WHERE link = 'store'"),
    ("waiting_for_hq", "SELECT count(*) FROM outbox WHERE link = 'hq'"),
    ("open_calls", "SELECT count(*) FROM help_call WHERE closed_at_ms IS NULL"),
    (
        "open_complaints",
        "SELECT count(*) FROM complaint WHERE opened_at_ms IS NOT NULL AND"
        " (closed_at_ms IS NULL OR closed_at_ms <= opened_at_ms)",
    ),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class MappingHealth:
    """A device mapping: since when it is in force, and what is wrong with its newest file."""

    name: str
    in_force_since: str | None
    problem: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class RulesHealth:
    """The chain's policy: which one is in force since when, and what is wrong with its file."""

    version: str | None
    digest: str | None
    in_force_since: str | None
    problem: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Health:
    """A reading of the database.

    Attributes:
        last_seen_ms: The agent's present at its last commit; of a replay, its last tick.
    """

    database: str
    size_bytes: int
    last_seen_ms: int | None
    counts: dict[str, int]
    counters: dict[str, int]
    mappings: tuple[MappingHealth, ...] = ()
    mappings_problem: str | None = None
    rules: RulesHealth | None = None
    hq_campaigns: tuple[str, ...] = ()
    hq_campaigns_problem: str | None = None
    statements_lost_at: str | None = None
    hq_heard_ms: int | None = None
    shadow_policy: str | None = None

    @property
    def last_seen(self) -> str | None:
        """When the agent last wrote."""
        return None if self.last_seen_ms is None else rfc3339_from_ms(self.last_seen_ms)

    def as_dict(self) -> dict[str, Any]:
        """Returns the reading as plain values."""
        return {
            "database": self.database,
            "size_bytes": self.size_bytes,
            "last_seen": self.last_seen,
            "counts": self.counts,
            "counters": self.counters,
            "mappings": [asdict(each) for each in self.mappings],
            "mappings_problem": self.mappings_problem,
            "rules": None if self.rules is None else asdict(self.rules),
            "hq_campaigns": list(self.hq_campaigns),
            "hq_campaigns_problem": self.hq_campaigns_problem,
            "statements_lost_at": self.statements_lost_at,
            "hq_heard_at": None if self.hq_heard_ms is None else rfc3339_from_ms(self.hq_heard_ms),
        }


def read_health(path: Path) -> Health:
    """Returns how the agent with this database is.

    Raises:
        StoreError: There is no database, or it cannot be read.
    """
    connection = open_for_reading(path)
    try:
        heard, seen = _meta(connection, HQ_HEARD), _meta(connection, "now_ms")
        return Health(
            database=str(path),
            size_bytes=sum(
                each.stat().st_size for each in path.parent.glob(path.name + "*") if each.is_file()
            ),
            last_seen_ms=None if seen is None else int(seen),
            counts={name: int(connection.execute(sql).fetchone()[0]) for name, sql in _COUNTED},
            counters={
                key.partition(".")[2]: int(value)
                for key, value in connection.execute(
                    "SELECT key, value FROM meta WHERE key LIKE 'counter.%' ORDER BY key"
                )
            },
            mappings=_mappings(connection),
            mappings_problem=_meta(connection, MAPPING_PROBLEM) or None,
            rules=_rules(connection),
            hq_campaigns=_hq_campaigns(connection),
            hq_campaigns_problem=_meta(connection, HQ_CAMPAIGNS_PROBLEM) or None,
            statements_lost_at=_instant(connection, LOST_AT),
            hq_heard_ms=None if heard is None else int(heard),
            shadow_policy=_meta(connection, SHADOW_POLICY),
        )
    finally:
        connection.close()


def _instant(connection: sqlite3.Connection, key: str) -> str | None:
    at_ms = _meta(connection, key)
    return None if at_ms is None else rfc3339_from_ms(int(at_ms))


def _meta(connection: sqlite3.Connection, key: str) -> str | None:
    row = connection.execute("SELECT value FROM meta WHERE key = ?", (key,)).fetchone()
    return None if row is None else str(row[0])


def _mappings(connection: sqlite3.Connection) -> tuple[MappingHealth, ...]:
    found = connection.execute(
        "SELECT name, text <> '', loaded_at_ms, problem FROM mapping ORDER BY name"
    )
    return tuple(
        MappingHealth(
            name=name,
            in_force_since=rfc3339_from_ms(int(at_ms)) if is_in_force else None,
            problem=problem,
        )
        for name, is_in_force, at_ms, problem in found
    )


def _hq_campaigns(connection: sqlite3.Connection) -> tuple[str, ...]:
    """Returns HQ's campaigns that were not over when the agent last wrote."""
    now_ms = int(_meta(connection, "now_ms") or 0)
    found = connection.execute(
        "SELECT id FROM campaign WHERE ends_at_ms > ? ORDER BY id", (now_ms,)
    )
    return tuple(str(name) for (name,) in found)


def _rules(connection: sqlite3.Connection) -> RulesHealth | None:
    version = _meta(connection, RULES_IN_FORCE)
    problem = _meta(connection, RULES_PROBLEM) or None
    found = connection.execute(
        "SELECT digest, since_ms FROM rule_set WHERE version = ?", (version,)
    ).fetchone()
    if found is None:
        only_problem = RulesHealth(version=None, digest=None, in_force_since=None, problem=problem)
        return None if problem is None else only_problem
    return RulesHealth(
        version=version,
        digest=str(found[0]),
        # A replay's clock stands at nought until its first event.
        in_force_since=rfc3339_from_ms(int(found[1])) if found[1] else None,
        problem=problem,
    )
