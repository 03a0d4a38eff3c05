"""What HQ keeps, and the rules for keeping it: the same on SQLite and PostgreSQL.

Messages come at least once and in any order, so taking one twice, or an old one late, changes
nothing: a summary is its store, kind and period, a customer's day its reference, store and date,
and of each only the highest revision stays.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from hashlib import blake2b
from pathlib import Path
from typing import Any, Final, assert_never

from edge_agent.errors import HqError, SchemaTooNew
from edge_agent.hq import schema
from edge_agent.hq.database import BadValueError, Database, Row
from edge_agent.hq.device_rows import KEPT_MS as DEVICES_KEPT_MS
from edge_agent.hq.device_rows import device_rows
from edge_agent.hq.inbox import (
    Refused,
    UpMessage,
    message_id,
    millionths,
    printable,
    unstorable,
)
from edge_agent.hq.sqlite_database import SqliteDatabase
from edge_agent.wire.downlink import AnyCommand
from edge_agent.wire.summaries import (
    Confirmation,
    CustomerUpdate,
    Erasure,
    GatewayState,
    Summary,
    SummaryCell,
)

# A state every minute makes some 1,400 a day; older ones tell nothing that summaries do not.
STATES_KEPT_PER_STORE: Final = 2_000
REFUSALS_KEPT: Final = 10_000
# As long as a store may repeat what it sent before: the mark of an erasure is forgotten too.
ERASURES_KEPT_MS: Final = 8 * 24 * 3_600 * 1_000
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)

_POSTGRES_SCHEMES: Final = ("postgresql://", "postgres://")


class HqStore:
    """HQ's tables in one database.

    Raises:
        SchemaTooNew: The tables are of a newer version than this program.
        StoreError: The database is not there.
    """

    def __init__(self, database: Database) -> None:
        self._database = database
        try:
            self._migrate()
        except BaseException:
            database.close()
            raise

    def take(
        self,
        messages: Sequence[UpMessage],
        *,
        received_at: datetime,
        refusals: Sequence[Refused] = (),
    ) -> tuple[UpMessage, ...]:
        """Keeps a batch in one transaction and returns those of its messages that are on disk.

        A message that the database does not take is rolled back alone and noted as refused.

        Raises:
            StoreError: Nothing was kept; try again.
        """
        at_ms = _ms(received_at)
        kept: list[UpMessage] = []
        unkept: list[Refused] = []
        with self._database.transaction():
            # In one order, so that two receivers never wait for each other's rows crosswise.
            for message in sorted(messages, key=lambda each: (each.store, message_id(each))):
                try:
                    with self._database.savepoint():
                        self._keep(message, at_ms)
                except BadValueError:
                    unkept.append(unstorable(message))
                else:
                    kept.append(message)
            self._keep_refusals((*refusals, *unkept), at_ms)
        return tuple(kept)

    def next_versions(self, pairs: Sequence[tuple[str, str]], *, at_least: int) -> tuple[int, ...]:
        """Returns for each kind and key a version above all earlier ones, and remembers it."""
        versions = []
        with self._database.transaction():
            for kind, key in pairs:
                parameters: Row = {"kind": kind, "key": key, "at_least": at_least}
                (row,) = self._database.query(schema.NEXT_VERSION, parameters)
                versions.append(int(row["version"] or 0))
        return tuple(versions)

    def note_commands(self, commands: Iterable[AnyCommand]) -> None:
        """Remembers that commands were written; their bodies are not kept."""
        with self._database.transaction():
            self._database.execute_many(
                schema.INSERT_COMMAND, [_command_row(command) for command in commands]
            )

    def delete_old(self, *, now: datetime, kept_for: timedelta) -> dict[str, int]:
        """Deletes what came, or was renewed, longer ago; returns how many rows of each table went.

        Raises:
            StoreError: Nothing was deleted; try again.
        """
        at_ms, before = _ms(now), {"before_ms": _ms(now - kept_for)}
        execute = self._database.execute
        with self._database.transaction():
            gone = {table: execute(sql, before) for table, sql in schema.DELETE_OLD.items()}
            gone["erasures"] = execute(
                schema.TRIM_ERASURES, {"before_ms": at_ms - ERASURES_KEPT_MS}
            )
        return gone

    def rows(self, sql: str, **filters: str) -> list[Row]:
        """Returns the rows of one of the `SELECT_…` statements of `schema.py`."""
        return self._database.query(sql, filters)

    def counts(self) -> dict[str, int]:
        """Returns how many rows there are of each kind of message, repeats not counted."""
        return {str(row["kind"]): int(row["n"] or 0) for row in self.rows(schema.SELECT_COUNTS)}

    def close(self) -> None:
        """Gives the database back."""
        self._database.close()

    def _migrate(self) -> None:
        database = self._database
        with database.migration():
            database.execute(self._spelled(schema.CREATE_SCHEMA_VERSION), {})
            rows = database.query(schema.SELECT_SCHEMA_VERSION, {})
            if not rows:
                database.execute(schema.INSERT_SCHEMA_VERSION, {"version": 0})
            n_done = int(rows[0]["version"] or 0) if rows else 0
            if n_done > len(schema.MIGRATIONS):
                raise SchemaTooNew(
                    f"HQ's tables are of version {n_done}; this program knows "
                    f"{len(schema.MIGRATIONS)}",
                    hint="install the newer edge-agent",
                )
            for statements in schema.MIGRATIONS[n_done:]:
                for statement in statements:
                    database.execute(self._spelled(statement), {})
            database.execute(schema.UPDATE_SCHEMA_VERSION, {"version": len(schema.MIGRATIONS)})

    def _spelled(self, statement: str) -> str:
        return statement.format_map(self._database.spelling)

    def _keep(self, message: UpMessage, at_ms: int) -> None:
        match message:
            case Summary():
                self._keep_summary(message, at_ms)
            case CustomerUpdate():
                if not self._is_erased(message):
                    self._database.execute(schema.UPSERT_CUSTOMER, _customer_row(message, at_ms))
            case Erasure():
                self._erase(message, at_ms)
            case GatewayState():
                self._keep_state(message, at_ms)
            case Confirmation():
                self._database.execute(
                    schema.INSERT_CONFIRMATION, _confirmation_row(message, at_ms)
                )
            case _:
                assert_never(message)

    def _keep_summary(self, summary: Summary, at_ms: int) -> None:
        period = _period(summary)
        n_changed = self._database.execute(
            schema.UPSERT_SUMMARY, {**period, **_summary_row(summary, at_ms)}
        )
        if not n_changed:
            return  # a repeat, or an older revision that comes late
        self._database.execute(schema.DELETE_CELL_VALUES, period)
        rows = [{**period, **value} for cell in summary.cells for value in _cell_values(cell)]
        if rows:
            self._database.execute_many(schema.INSERT_CELL_VALUE, rows)

    def _keep_state(self, state: GatewayState, at_ms: int) -> None:
        row: Row = {
            "store": state.store,
            "state_id": state.state_id,
            "at_ms": _ms(state.at),
            "version": state.version,
            "model": state.model,
            "health": state.health,
            "problems": _json(state.problems),
            "counters": _json(state.counters),
            "received_at_ms": at_ms,
        }
        self._database.execute(schema.INSERT_STATE, row)
        kept: Row = {"store": state.store, "n_kept": STATES_KEPT_PER_STORE}
        self._database.execute(schema.TRIM_STATES, kept)
        devices = device_rows(state)
        if devices:
            self._database.execute_many(schema.UPSERT_DEVICE, devices)
        self._database.execute(
            schema.TRIM_DEVICES, {"store": state.store, "kept_ms": DEVICES_KEPT_MS}
        )

    def _erase(self, erasure: Erasure, at_ms: int) -> None:
        """Deletes a customer's rows, whichever store they came from."""
        self._database.execute(schema.ERASE_CUSTOMER, {"reference": erasure.reference})
        row: Row = {
            "store": erasure.store,
            "erasure_id": erasure.erasure_id,
            "mark": _mark_of(erasure.reference, erasure.erasure_id),
            "until_date": erasure.at.date().isoformat(),
            "received_at_ms": at_ms,
        }
        self._database.execute(schema.INSERT_ERASURE, row)
        self._database.execute(schema.TRIM_ERASURES, {"before_ms": at_ms - ERASURES_KEPT_MS})

    def _is_erased(self, update: CustomerUpdate) -> bool:
        """Whether a customer's day is of somebody who had himself forgotten since."""
        return any(
            update.activity_date <= str(row["until_date"])
            and _mark_of(update.reference, str(row["erasure_id"])) == row["mark"]
            for row in self._database.query(schema.SELECT_ERASURES, {})
        )

    def _keep_refusals(self, refusals: Iterable[Refused], at_ms: int) -> None:
        rows: list[Row] = [
            {
                "topic": each.topic,
                "reason": each.reason,
                "detail": each.detail,
                "n_bytes": each.n_bytes,
                "received_at_ms": at_ms,
            }
            for each in refusals
        ]
        if rows:
            self._database.execute_many(schema.INSERT_REFUSED, rows)
            self._database.execute(schema.TRIM_REFUSED, {"n_kept": REFUSALS_KEPT})


def opened_store(where: str) -> HqStore:
    """Opens HQ's database, making its tables when they are not there.

    Args:
        where: A `postgresql://…` URL, or the path of an SQLite file.

    Raises:
        HqError: PostgreSQL is asked for and psycopg is not installed.
        StoreError: The database cannot be reached or opened.
    """
    if not where.startswith(_POSTGRES_SCHEMES):
        return HqStore(SqliteDatabase(Path(where)))
    try:
        from edge_agent.hq.postgres_database import PostgresDatabase  # noqa: PLC0415 - an extra
    except ImportError as error:
        raise HqError(
            "PostgreSQL needs the package psycopg",
            hint="pip install 'edge-agent[postgres]'",
        ) from error
    return HqStore(PostgresDatabase(where))


def _period(summary: Summary) -> dict[str, Any]:
    return {
        "store": summary.store,
        "kind": summary.kind,
        "period_start_at_ms": _ms(summary.period_start),
        "period_end_at_ms": _ms(summary.period_end),
    }


def _summary_row(summary: Summary, at_ms: int) -> Row:
    return {
        "revision": summary.revision,
        # In the offset that the store wrote: its own local day when it writes local time.
        "day": summary.period_start.date().isoformat(),
        "summary_id": summary.summary_id,
        "k": summary.k,
        "n_suppressed_cells": summary.n_suppressed_cells,
        "received_at_ms": at_ms,
    }


def _customer_row(update: CustomerUpdate, at_ms: int) -> Row:
    return {
        "reference": update.reference,
        "store": update.store,
        "activity_date": update.activity_date,
        "revision": update.revision,
        "update_id": update.update_id,
        "segments": _json(update.segments),
        "interests": _json([each.model_dump() for each in update.interests]),
        "choices": _json(update.choices),
        "received_at_ms": at_ms,
    }


def _command_row(command: AnyCommand) -> Row:
    return {
        "command": command.command,
        "store": command.store,
        "kind": command.kind,
        "key": command.key,
        "version": command.version,
        "issued_at_ms": _ms(command.issued_at),
        "expires_at_ms": _ms(command.expires_at),
    }


def _confirmation_row(confirmation: Confirmation, at_ms: int) -> Row:
    return {
        "store": confirmation.store,
        "confirm_id": confirmation.confirm_id,
        "command": confirmation.command,
        "outcome": confirmation.outcome,
        "reason": printable(confirmation.reason),
        "received_at_ms": at_ms,
    }


def _mark_of(reference: str, erasure_id: str) -> str:
    # Under the erasure's own chance id, so that no list of handles can be made ahead.
    return blake2b(reference.encode(), key=erasure_id.encode()[:64], digest_size=16).hexdigest()


def _cell_values(cell: SummaryCell) -> Iterable[dict[str, Any]]:
    keys = _json({str(name): value for name, value in cell.keys.items()})
    if cell.n_visitors is not None:
        yield {"keys": keys, "what": "visitors", "name": "n_visitors", "value": cell.n_visitors}
    for name, count in cell.counts.items():
        yield {"keys": keys, "what": "count", "name": name, "value": count}
    for name, amount in cell.sums.items():
        yield {"keys": keys, "what": "sum", "name": name, "value": millionths(amount)}
    for bucket, count in enumerate(cell.histogram or ()):
        if count:  # most buckets of an hour are empty, and add nothing to any sum
            yield {"keys": keys, "what": "bucket", "name": str(bucket), "value": count}


def _json(value: Mapping[str, object] | Sequence[object]) -> str:
    return json.dumps(value, sort_keys=True, ensure_ascii=False, separators=(",", ":"))


def _ms(instant: datetime) -> int:
    return (instant - _EPOCH) // timedelta(milliseconds=1)
