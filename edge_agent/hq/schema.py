"""HQ's tables and statements, the same for SQLite and PostgreSQL.

Parameters are written `:name`. The words in braces are what the two databases spell differently:
`{integer}` a 64-bit whole number, `{identity}` a counted primary key, `{strict}` SQLite's typing.

A summary is kept as one row per measure of a cell, so that stores and days are added up in SQL.
`what` says what a value is: `visitors`, `count`, `sum` (in millionths) or `bucket` (of the
histogram; `name` is then the bucket's number).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

# Append-only: a released migration never changes. The database's version is how many have run.
MIGRATIONS: Final[tuple[tuple[str, ...], ...]] = (
    (
        """
        CREATE TABLE summaries (
            store TEXT NOT NULL,
            kind TEXT NOT NULL,
            period_start_at_ms {integer} NOT NULL,
            period_end_at_ms {integer} NOT NULL,
            revision {integer} NOT NULL,
            day TEXT NOT NULL,
            summary_id TEXT NOT NULL,
            k {integer} NOT NULL,
            n_suppressed_cells {integer} NOT NULL,
            received_at_ms {integer} NOT NULL,
            PRIMARY KEY (store, kind, period_start_at_ms, period_end_at_ms)
        ) {strict}
        """,
        "CREATE INDEX summaries_by_day ON summaries (day, kind)",
        """
        CREATE TABLE cell_values (
            store TEXT NOT NULL,
            kind TEXT NOT NULL,
            period_start_at_ms {integer} NOT NULL,
            period_end_at_ms {integer} NOT NULL,
            keys TEXT NOT NULL,
            what TEXT NOT NULL,
            name TEXT NOT NULL,
            value {integer} NOT NULL,
            PRIMARY KEY (store, kind, period_start_at_ms, period_end_at_ms, keys, what, name),
            FOREIGN KEY (store, kind, period_start_at_ms, period_end_at_ms)
                REFERENCES summaries ON DELETE CASCADE
        ) {strict}
        """,
        """
        CREATE TABLE customers (
            reference TEXT NOT NULL,
            store TEXT NOT NULL,
            activity_date TEXT NOT NULL,
            revision {integer} NOT NULL,
            update_id TEXT NOT NULL,
            segments TEXT NOT NULL,
            interests TEXT NOT NULL,
            choices TEXT NOT NULL,
            received_at_ms {integer} NOT NULL,
            PRIMARY KEY (reference, store, activity_date)
        ) {strict}
        """,
        """
        CREATE TABLE gateway_states (
            store TEXT NOT NULL,
            state_id TEXT NOT NULL,
            at_ms {integer} NOT NULL,
            version TEXT NOT NULL,
            model TEXT,
            health TEXT NOT NULL,
            problems TEXT NOT NULL,
            counters TEXT NOT NULL,
            received_at_ms {integer} NOT NULL,
            PRIMARY KEY (store, state_id)
        ) {strict}
        """,
        "CREATE INDEX gateway_states_by_time ON gateway_states (store, at_ms)",
        """
        CREATE TABLE confirmations (
            store TEXT NOT NULL,
            confirm_id TEXT NOT NULL,
            command TEXT NOT NULL,
            outcome TEXT NOT NULL,
            reason TEXT NOT NULL,
            received_at_ms {integer} NOT NULL,
            PRIMARY KEY (store, confirm_id)
        ) {strict}
        """,
        """
        CREATE TABLE refused (
            id {identity},
            topic TEXT NOT NULL,
            reason TEXT NOT NULL,
            detail TEXT NOT NULL,
            n_bytes {integer} NOT NULL,
            received_at_ms {integer} NOT NULL
        ) {strict}
        """,
        """
        CREATE TABLE command_versions (
            kind TEXT NOT NULL,
            key TEXT NOT NULL,
            version {integer} NOT NULL,
            PRIMARY KEY (kind, key)
        ) {strict}
        """,
        """
        CREATE TABLE commands (
            command TEXT PRIMARY KEY,
            store TEXT NOT NULL,
            kind TEXT NOT NULL,
            key TEXT NOT NULL,
            version {integer} NOT NULL,
            issued_at_ms {integer} NOT NULL,
            expires_at_ms {integer} NOT NULL
        ) {strict}
        """,
    ),
    (
        # Each device as the newest state that names it tells of it.
        """
        CREATE TABLE gateway_devices (
            store TEXT NOT NULL,
            device TEXT NOT NULL,
            state_id TEXT NOT NULL,
            at_ms {integer} NOT NULL,
            last_seen_at_ms {integer} NOT NULL,
            per_hour_thousandths {integer} NOT NULL,
            skew_ms {integer},
            is_silent {integer} NOT NULL,
            is_drifting {integer} NOT NULL,
            inside_at_closing {integer},
            PRIMARY KEY (store, device)
        ) {strict}
        """,
    ),
    (
        # Whom a store had forgotten: not who, only what recognises a late message about him.
        """
        CREATE TABLE erasures (
            store TEXT NOT NULL,
            erasure_id TEXT NOT NULL,
            mark TEXT NOT NULL,
            until_date TEXT NOT NULL,
            received_at_ms {integer} NOT NULL,
            PRIMARY KEY (store, erasure_id)
        ) {strict}
        """,
    ),
)

CREATE_SCHEMA_VERSION: Final = (
    "CREATE TABLE IF NOT EXISTS schema_version (version {integer} NOT NULL) {strict}"
)
SELECT_SCHEMA_VERSION: Final = "SELECT version FROM schema_version"
INSERT_SCHEMA_VERSION: Final = "INSERT INTO schema_version (version) VALUES (:version)"
UPDATE_SCHEMA_VERSION: Final = "UPDATE schema_version SET version = :version"

UPSERT_SUMMARY: Final = """
    INSERT INTO summaries (store, kind, period_start_at_ms, period_end_at_ms, revision, day,
        summary_id, k, n_suppressed_cells, received_at_ms)
    VALUES (:store, :kind, :period_start_at_ms, :period_end_at_ms, :revision, :day,
        :summary_id, :k, :n_suppressed_cells, :received_at_ms)
    ON CONFLICT (store, kind, period_start_at_ms, period_end_at_ms) DO UPDATE SET
        revision = excluded.revision, day = excluded.day, summary_id = excluded.summary_id,
        k = excluded.k, n_suppressed_cells = excluded.n_suppressed_cells,
        received_at_ms = excluded.received_at_ms
    WHERE excluded.revision > summaries.revision
"""
DELETE_CELL_VALUES: Final = """
    DELETE FROM cell_values WHERE store = :store AND kind = :kind
        AND period_start_at_ms = :period_start_at_ms AND period_end_at_ms = :period_end_at_ms
"""
INSERT_CELL_VALUE: Final = """
    INSERT INTO cell_values (store, kind, period_start_at_ms, period_end_at_ms, keys, what, name,
        value)
    VALUES (:store, :kind, :period_start_at_ms, :period_end_at_ms, :keys, :what, :name, :value)
"""
UPSERT_CUSTOMER: Final = """
    INSERT INTO customers (reference, store, activity_date, revision, update_id, segments,
        interests, choices, received_at_ms)
    VALUES (:reference, :store, :activity_date, :revision, :update_id, :segments, :interests,
        :choices, :received_at_ms)
    ON CONFLICT (reference, store, activity_date) DO UPDATE SET
        revision = excluded.revision, update_id = excluded.update_id,
        segments = excluded.segments, interests = excluded.interests, choices = excluded.choices,
        received_at_ms = excluded.received_at_ms
    WHERE excluded.revision > customers.revision
"""
INSERT_STATE: Final = """
    INSERT INTO gateway_states (store, state_id, at_ms, version, model, health, problems, counters,
        received_at_ms)
    VALUES (:store, :state_id, :at_ms, :version, :model, :health, :problems, :counters,
        :received_at_ms)
    ON CONFLICT (store, state_id) DO NOTHING
"""
TRIM_STATES: Final = """
    DELETE FROM gateway_states WHERE store = :store AND state_id NOT IN (
        SELECT state_id FROM gateway_states WHERE store = :store
        ORDER BY at_ms DESC, state_id DESC LIMIT :n_kept)
"""
UPSERT_DEVICE: Final = """
    INSERT INTO gateway_devices (store, device, state_id, at_ms, last_seen_at_ms,
        per_hour_thousandths, skew_ms, is_silent, is_drifting, inside_at_closing)
    VALUES (:store, :device, :state_id, :at_ms, :last_seen_at_ms, :per_hour_thousandths, :skew_ms,
        :is_silent, :is_drifting, :inside_at_closing)
    ON CONFLICT (store, device) DO UPDATE SET
        state_id = excluded.state_id, at_ms = excluded.at_ms,
        last_seen_at_ms = excluded.last_seen_at_ms,
        per_hour_thousandths = excluded.per_hour_thousandths, skew_ms = excluded.skew_ms,
        is_silent = excluded.is_silent, is_drifting = excluded.is_drifting,
        inside_at_closing = excluded.inside_at_closing
    WHERE excluded.at_ms > gateway_devices.at_ms OR (excluded.at_ms = gateway_devices.at_ms
        AND excluded.state_id > gateway_devices.state_id)
"""
TRIM_DEVICES: Final = """
    DELETE FROM gateway_devices WHERE store = :store AND at_ms < :kept_ms * -1 + (
        SELECT MAX(at_ms) FROM gateway_states WHERE store = :store)
"""
INSERT_CONFIRMATION: Final = """
    INSERT INTO confirmations (store, confirm_id, command, outcome, reason, received_at_ms)
    VALUES (:store, :confirm_id, :command, :outcome, :reason, :received_at_ms)
    ON CONFLICT (store, confirm_id) DO NOTHING
"""
INSERT_ERASURE: Final = """
    INSERT INTO erasures (store, erasure_id, mark, until_date, received_at_ms)
    VALUES (:store, :erasure_id, :mark, :until_date, :received_at_ms)
    ON CONFLICT (store, erasure_id) DO NOTHING
"""
ERASE_CUSTOMER: Final = "DELETE FROM customers WHERE reference = :reference"
SELECT_ERASURES: Final = "SELECT erasure_id, mark, until_date FROM erasures"
TRIM_ERASURES: Final = "DELETE FROM erasures WHERE received_at_ms < :before_ms"
# What is over when it did not come anew since; a summary's values go with it. A version is the
# time at which it was given, or a little more, so that the next one is above it all the same.
DELETE_OLD: Final[Mapping[str, str]] = {
    "customers": "DELETE FROM customers WHERE received_at_ms < :before_ms",
    "summaries": "DELETE FROM summaries WHERE received_at_ms < :before_ms",
    "confirmations": "DELETE FROM confirmations WHERE received_at_ms < :before_ms",
    "refused": "DELETE FROM refused WHERE received_at_ms < :before_ms",
    "commands": "DELETE FROM commands WHERE expires_at_ms < :before_ms",
    "command_versions": "DELETE FROM command_versions WHERE version < :before_ms",
}
INSERT_REFUSED: Final = """
    INSERT INTO refused (topic, reason, detail, n_bytes, received_at_ms)
    VALUES (:topic, :reason, :detail, :n_bytes, :received_at_ms)
"""
TRIM_REFUSED: Final = """
    DELETE FROM refused WHERE id <= (SELECT MAX(id) FROM refused) - :n_kept
"""
NEXT_VERSION: Final = """
    INSERT INTO command_versions (kind, key, version) VALUES (:kind, :key, :at_least)
    ON CONFLICT (kind, key) DO UPDATE SET version =
        CASE WHEN excluded.version > command_versions.version THEN excluded.version
        ELSE command_versions.version + 1 END
    RETURNING version
"""
INSERT_COMMAND: Final = """
    INSERT INTO commands (command, store, kind, key, version, issued_at_ms, expires_at_ms)
    VALUES (:command, :store, :kind, :key, :version, :issued_at_ms, :expires_at_ms)
"""

BILLION: Final = 1_000_000_000
"""What `SELECT_FIGURES` divides by. SQLite adds up whole numbers within 64 bits alone, and the
squares of what is paid in yen pass them in a season; neither of the two parts does."""

# An empty filter matches everything: the comparison with '' is decided before any row is read.
SELECT_FIGURES: Final = """
    SELECT s.store, s.kind, v.keys, v.what, v.name, SUM(v.value / 1000000000) AS billions,
        SUM(v.value - v.value / 1000000000 * 1000000000) AS rest
    FROM summaries s JOIN cell_values v
        ON v.store = s.store AND v.kind = s.kind
        AND v.period_start_at_ms = s.period_start_at_ms
        AND v.period_end_at_ms = s.period_end_at_ms
    WHERE (:store = '' OR s.store = :store) AND (:day = '' OR s.day = :day)
    GROUP BY s.store, s.kind, v.keys, v.what, v.name
    ORDER BY s.store, s.kind, v.keys, v.what, v.name
"""
SELECT_COVERAGE: Final = """
    SELECT store, kind, COUNT(*) AS n_periods, SUM(n_suppressed_cells) AS n_suppressed_cells,
        MIN(day) AS first_day, MAX(day) AS last_day
    FROM summaries
    WHERE (:store = '' OR store = :store) AND (:day = '' OR day = :day)
    GROUP BY store, kind ORDER BY store, kind
"""
SELECT_CUSTOMER_COUNTS: Final = """
    SELECT store, COUNT(DISTINCT reference) AS n_customers, COUNT(*) AS n_updates
    FROM customers
    WHERE (:store = '' OR store = :store) AND (:day = '' OR activity_date = :day)
    GROUP BY store ORDER BY store
"""
SELECT_LATEST_STATES: Final = """
    SELECT g.store, g.state_id, g.at_ms, g.version, g.model, g.health, g.problems, g.counters,
        g.received_at_ms
    FROM gateway_states g
    WHERE (:store = '' OR g.store = :store) AND g.state_id = (
        SELECT newest.state_id FROM gateway_states newest WHERE newest.store = g.store
        ORDER BY newest.at_ms DESC, newest.state_id DESC LIMIT 1)
    ORDER BY g.store
"""
# Those that the newest state names: what it leaves out has been taken down, or is one too many.
SELECT_DEVICES: Final = """
    SELECT d.store, d.device, d.last_seen_at_ms, d.per_hour_thousandths, d.skew_ms, d.is_silent,
        d.is_drifting, d.inside_at_closing
    FROM gateway_devices d
    WHERE (:store = '' OR d.store = :store) AND d.state_id = (
        SELECT newest.state_id FROM gateway_states newest WHERE newest.store = d.store
        ORDER BY newest.at_ms DESC, newest.state_id DESC LIMIT 1)
    ORDER BY d.store, d.device
"""
SELECT_REFUSED_COUNTS: Final = """
    SELECT reason, COUNT(*) AS n FROM refused GROUP BY reason ORDER BY reason
"""
SELECT_CONFIRMATION_COUNTS: Final = """
    SELECT store, outcome, reason, COUNT(*) AS n FROM confirmations
    WHERE (:store = '' OR store = :store)
    GROUP BY store, outcome, reason ORDER BY store, outcome, reason
"""
SELECT_COUNTS: Final = """
    SELECT 'summary' AS kind, COUNT(*) AS n FROM summaries
    UNION ALL SELECT 'customer', COUNT(*) FROM customers
    UNION ALL SELECT 'state', COUNT(*) FROM gateway_states
    UNION ALL SELECT 'confirm', COUNT(*) FROM confirmations
    UNION ALL SELECT 'erasure', COUNT(*) FROM erasures
    UNION ALL SELECT 'refused', COUNT(*) FROM refused
"""
SELECT_SUMMARIES: Final = """
    SELECT store, kind, period_start_at_ms, period_end_at_ms, revision, day, summary_id, k,
        n_suppressed_cells
    FROM summaries ORDER BY store, kind, period_start_at_ms, period_end_at_ms
"""
SELECT_CUSTOMERS: Final = """
    SELECT reference, store, activity_date, revision, update_id, segments, interests, choices
    FROM customers ORDER BY reference, store, activity_date
"""
SELECT_COMMANDS: Final = """
    SELECT command, store, kind, key, version, issued_at_ms, expires_at_ms
    FROM commands ORDER BY issued_at_ms, command
"""
