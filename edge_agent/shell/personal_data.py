"""What every table holds of people, for how long, and how old it is: the data-protection table.

Each table of the schema stands either in `KEPT`, with its period, or in `IMPERSONAL`, with the
reason why it needs none; a test fails for one that does not. `shell.retention` deletes by the same
periods; `edge-agent privacy report` and the README's table are made from here.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any, Final

from edge_agent.domain.policy import Retention
from edge_agent.domain.time import DAY_MS, HOUR_MS, rfc3339_from_ms

if TYPE_CHECKING:
    import sqlite3

# The agent looks this often for what is over; what is still there later is overdue.
LOOKS_EVERY_MS: Final = HOUR_MS

_OPEN: Final = (
    "opened_at_ms IS NOT NULL AND (closed_at_ms IS NULL OR closed_at_ms <= opened_at_ms)"
)
_CLAIM: Final = "l.basis <> 'unlink' AND coalesce(l.ended_by, '') <> 'unlink'"
# Whom an open complaint silences (`engine.persons.circle_of`): who complained, whoever he was
# taken for, and all who were taken for those. They stay, and so do the links between them. The
# plus keeps SQLite from going through every link between visitors.
SILENT_CIRCLE: Final = (
    f"WITH silent (id) AS (SELECT visitor FROM complaint WHERE {_OPEN}),"  # noqa: S608 - literal SQL of ours
    " person (id) AS (SELECT id FROM silent UNION SELECT l.visitor FROM silent s JOIN link l"
    f" ON l.pseudonym = s.id WHERE l.kind = 'visitor' AND {_CLAIM})"
    " SELECT id FROM person UNION SELECT l.pseudonym FROM person p JOIN link l"
    f" ON l.visitor = p.id WHERE +l.kind = 'visitor' AND {_CLAIM}"
)
_ANONYMOUS: Final = "kind IN ('ble', 'wifi', 'track', 'basket')"


@dataclass(frozen=True, slots=True, kw_only=True)
class Kept:
    """Tables that are kept for one period.

    Attributes:
        tables: Their names; rows of the later ones go with those of the first.
        holds: What they hold.
        period: The field of `Retention` that says how many days.
        since: What the days are counted from.
        rows: SQL for how many rows there are.
        oldest: SQL for the instant, epoch ms, from which the oldest row's days count.
        note: What to say beside the number of days.
    """

    tables: tuple[str, ...]
    holds: str
    period: str
    since: str
    rows: str
    oldest: str
    note: str = ""

    def days(self, retention: Retention) -> int:
        """Returns for how many days it is kept."""
        return int(getattr(retention, self.period))


def _plain(table: str, instant: str) -> tuple[str, str]:
    return f"SELECT count(*) FROM {table}", f"SELECT min({instant}) FROM {table}"  # noqa: S608 - names of ours only


_INBOX = _plain("inbox", f"day * {DAY_MS}")
_BASKET = _plain("basket", "last_at_ms")
_RETURN = _plain("sale_return", "at_ms")
_DECISION = _plain("decision", "at_ms")
_OUTCOME = _plain("outcome", "at_ms")
_CONTACT = _plain("contact", "at_ms")
_OFFER = _plain("offer", "valid_until_ms")
_FACT = _plain("fact", "valid_until_ms")
_EXPOSURE = _plain("exposure", "at_ms")
_GOAL = _plain("goal", "at_ms")
_TRIAL = _plain("trial", "period_start_ms")
_ALERT = _plain("alert", "at_ms")
_CALL = _plain("help_call", "opened_at_ms")
_SHOWING = _plain("showing", "valid_until_ms")
_COUNT = _plain("people_count", "period_start_ms")
_SENT = _plain("customer_sent", "at_ms")
_TOMBSTONE = _plain("tombstone", "at_ms")
_AUDIT = _plain("audit", "at_ms")
# Of the newest it is kept that it was sent, without digests: it says how far summaries are made.
_DIGESTED: Final = (
    "summary_watermark WHERE json_valid(cells) AND json_extract(cells, '$.digests') <> '{}'"
)
_WATERMARK = _plain(_DIGESTED, "period_start_ms")
_LETTER = _plain("dead_letter", "at_ms")
_MAPPING = _plain("mapping_state", "updated_at_ms")
_DEVICE = _plain("device", "last_at_ms")
_COMMAND = _plain("command", "at_ms")

KEPT: Final = (
    Kept(
        tables=("inbox",),
        holds="marks that recognise repeated events",
        period="inbox_days",
        since="arrival",
        rows=_INBOX[0],
        oldest=_INBOX[1],
    ),
    Kept(
        tables=("visit", "zone_stay", "mark"),
        holds="visits of pseudonymous visitors and their stays",
        period="visits_days",
        since="the visit's begin",
        rows="SELECT count(*) FROM visit",
        oldest="SELECT min(started_at_ms) FROM visit WHERE ended_at_ms IS NOT NULL",
    ),
    Kept(
        tables=("visitor (anonymous)", "link (anonymous)"),
        holds="daily pseudonyms, and what their holders said",
        period="visits_days",
        since="last seen",
        rows=f"SELECT count(*) FROM visitor WHERE {_ANONYMOUS}",  # noqa: S608 - literal SQL of ours
        oldest=f"SELECT min(last_seen_at_ms) FROM visitor WHERE {_ANONYMOUS}",  # noqa: S608 - literal SQL of ours
    ),
    Kept(
        tables=("visitor", "link", "consent", "complaint", "seal"),
        holds="identified: a pseudonym, what its person said, a MAC of that",
        period="visitors_days",
        since="last seen",
        note="an open complaint stays, with all whom it silences",
        rows=f"SELECT count(*) FROM visitor WHERE NOT {_ANONYMOUS}",  # noqa: S608 - literal SQL of ours
        oldest="SELECT min(last_seen_at_ms) FROM visitor"  # noqa: S608 - literal SQL of ours
        f" WHERE NOT {_ANONYMOUS} AND id NOT IN ({SILENT_CIRCLE})",
    ),
    Kept(
        tables=("visitor.profile",),
        holds="what consenting customers bought, and what HQ told of them",
        period="profiles_days",
        since="last seen",
        rows="SELECT count(*) FROM visitor WHERE profile IS NOT NULL",
        oldest="SELECT min(last_seen_at_ms) FROM visitor WHERE profile IS NOT NULL",
    ),
    Kept(
        tables=("basket", "basket_line", "sale", "sale_line"),
        holds="what was bought",
        period="sales_days",
        since="the basket's last line",
        rows=_BASKET[0],
        oldest=_BASKET[1],
    ),
    Kept(
        tables=("sale_return",),
        holds="what was brought back",
        period="sales_days",
        since="the return",
        rows=_RETURN[0],
        oldest=_RETURN[1],
    ),
    Kept(
        tables=("decision",),
        holds="what was decided, and on what",
        period="decisions_days",
        since="the decision",
        rows=_DECISION[0],
        oldest=_DECISION[1],
    ),
    Kept(
        tables=("catalogue_before",),
        holds="what goods were before HQ changed them; nothing of a person",
        period="decisions_days",
        since="the last decision taken before the change",
        rows="SELECT count(*) FROM catalogue_before",
        oldest="SELECT (SELECT at_ms FROM decision WHERE goods <"
        " (SELECT min(until) FROM catalogue_before) ORDER BY id DESC LIMIT 1)",
    ),
    Kept(
        tables=("outcome",),
        holds="what came of a decision",
        period="decisions_days",
        since="the decision",
        rows=_OUTCOME[0],
        oldest=_OUTCOME[1],
    ),
    Kept(
        tables=("contact",),
        holds="what HQ says was said to a customer by other channels, and what came of it; what a"
        " screen said to several visitors at once, once for each",
        period="decisions_days",
        since="the contact",
        rows=_CONTACT[0],
        oldest=_CONTACT[1],
    ),
    Kept(
        tables=("offer",),
        holds="limited offers under a keyed digest of their code, to whom they were said, and in"
        " which basket they were used",
        period="decisions_days",
        since="its end",
        rows=_OFFER[0],
        oldest=_OFFER[1],
    ),
    Kept(
        tables=("rule_set",),
        holds="the text of each policy that was in force, with HQ's campaigns in it",
        period="decisions_days",
        since="the last decision that may name it",
        note="the one in force stays",
        rows="SELECT count(*) FROM rule_set",
        oldest="SELECT min(until_ms) FROM rule_set",
    ),
    Kept(
        tables=("campaign_told",),
        holds="who was told of a campaign that has a limit for each visitor, and when, once the"
        " decision is gone; nothing else of it",
        period="decisions_days",
        since="the day on which the campaign was last in force",
        note="it goes with its visitor before that",
        rows="SELECT count(*) FROM campaign_told",
        oldest="SELECT min(capped_ms) FROM campaign_run"
        " WHERE campaign IN (SELECT campaign FROM campaign_told)",
    ),
    Kept(
        tables=("campaign_use", "campaign_run"),
        holds="how often each campaign was said and redeemed on a day, to nobody in particular,"
        " and when it was last in force",
        period="counts_days",
        since="the day",
        note="and as long since the campaign was in force",
        rows="SELECT count(*) FROM campaign_use",
        oldest="SELECT min(max(strftime('%s', u.day) * 1000, coalesce(r.in_force_ms, 0)))"
        " FROM campaign_use u LEFT JOIN campaign_run r ON r.campaign = u.campaign",
    ),
    Kept(
        tables=("tried",),
        holds="how often each product stood first and was answered on a day, to nobody in"
        " particular, where the store explores",
        period="counts_days",
        since="the day",
        rows="SELECT count(*) FROM tried",
        oldest="SELECT min(strftime('%s', substr(what, 1, 10)) * 1000) FROM tried",
    ),
    Kept(
        tables=("promotion_plan",),
        holds="what HQ plans to display and mail in a week",
        period="decisions_days",
        since="the week's end",
        rows="SELECT count(*) FROM promotion_plan",
        oldest="SELECT min(strftime('%s', until_day) * 1000) FROM promotion_plan",
    ),
    Kept(
        tables=("fact",),
        holds="what HQ says of the day, such as the weather",
        period="decisions_days",
        since="its end",
        note="it is used until its end alone",
        rows=_FACT[0],
        oldest=_FACT[1],
    ),
    Kept(
        tables=("exposure",),
        holds="which arm of a campaign with a control group a visitor was in, and since when",
        period="sales_days",
        since="the first moment that counted",
        rows=_EXPOSURE[0],
        oldest=_EXPOSURE[1],
    ),
    Kept(
        tables=("goal",),
        holds="sets of products whose purchase is a campaign's outcome",
        period="sales_days",
        since="its first use",
        note="and as long as an exposure names it",
        rows=_GOAL[0],
        oldest="SELECT min(at_ms) FROM goal WHERE id NOT IN (SELECT goal FROM exposure)",
    ),
    Kept(
        tables=("trial",),
        holds="what came of each arm on a day, as sums over k visitors or more",
        period="counts_days",
        since="the day",
        rows=_TRIAL[0],
        oldest=_TRIAL[1],
    ),
    Kept(
        tables=("alert",),
        holds="what staff were alerted to",
        period="decisions_days",
        since="the alert",
        rows=_ALERT[0],
        oldest=_ALERT[1],
    ),
    Kept(
        tables=("help_call",),
        holds="calls for help: where, what about, for which pseudonymous visitor, who answered",
        period="decisions_days",
        since="the call",
        rows=_CALL[0],
        oldest=_CALL[1],
    ),
    Kept(
        tables=("showing",),
        holds="what each screen shows, and for which visitor",
        period="decisions_days",
        since="its end",
        note="one row a screen",
        rows=_SHOWING[0],
        oldest=_SHOWING[1],
    ),
    Kept(
        tables=("people_count",),
        holds="counts that belong to nobody",
        period="counts_days",
        since="the period",
        rows=_COUNT[0],
        oldest=_COUNT[1],
    ),
    Kept(
        tables=("summary_watermark",),
        holds="what was sent of each period; digests of who was behind it",
        period="watermarks_days",
        since="the period",
        note="no later event changes a period any more",
        rows=_WATERMARK[0],
        oldest=_WATERMARK[1],
    ),
    Kept(
        tables=("dead_letter",),
        holds="why a message was refused; its payload encrypted under the day's key",
        period="dead_letters_days",
        since="arrival",
        rows=_LETTER[0],
        oldest=_LETTER[1],
    ),
    Kept(
        tables=("mapping_state",),
        holds="what mappings remember: totals and levels of devices under keyed hashes, text in"
        " them sealed; what may be of people under the day's key",
        period="mapping_days",
        since="last changed",
        note="most are over within a day",
        rows=_MAPPING[0],
        oldest=_MAPPING[1],
    ),
    Kept(
        tables=("device",),
        holds="when each device was last heard, how often, how wrong its clock is",
        period="devices_days",
        since="last heard",
        rows=_DEVICE[0],
        oldest=_DEVICE[1],
    ),
    Kept(
        tables=("command",),
        holds="HQ's commands: kind, key, version",
        period="commands_days",
        since="arrival",
        rows=_COMMAND[0],
        oldest=_COMMAND[1],
    ),
    Kept(
        tables=("outbox",),
        holds="what waits to be sent; the days are those of customers' updates for an HQ that is"
        " away",
        period="outbox_days",
        since="the customer's day",
        note="else until it is acknowledged",
        rows="SELECT count(*) FROM outbox",
        oldest="SELECT min(strftime('%s', json_extract(CAST(payload AS TEXT), '$.activity_date'))"
        " * 1000) FROM outbox WHERE kind = 'customer'",
    ),
    Kept(
        tables=("customer_sent",),
        holds="what HQ was sent of a consenting customer, so that he can be told",
        period="sales_days",
        since="sending",
        rows=_SENT[0],
        oldest=_SENT[1],
    ),
    Kept(
        tables=("tombstone",),
        holds="keyed marks that keep late messages from bringing somebody forgotten back",
        period="tombstones_days",
        since="the forgetting",
        rows=_TOMBSTONE[0],
        oldest=_TOMBSTONE[1],
    ),
    Kept(
        tables=("audit",),
        holds="who looked at, erased or restricted somebody's data, and when; never whose",
        period="audits_days",
        since="the act",
        rows=_AUDIT[0],
        oldest=_AUDIT[1],
    ),
)

IMPERSONAL: Final = {
    "meta": "the agent's own settings, counters and sealed keyring",
    "zone_level": "how many are in a zone: a number, the newest alone",
    "campaign": "HQ's campaigns; the next one takes those along that are over",
    "stock": "how many of a product there are",
    "catalogue": "what the store sells",
    "mapping": "the text of each device mapping in force",
    "terms": "the agent's own settings that decisions rest on, each kind of them once",
    "mapped_message": "marks that recognise a device's message when the broker repeats it:"
    " the newest 4,096",
    "_sqlite_migrations": "which migrations ran",
    "sqlite_sequence": "SQLite's own count of rows",
}


def report_of(
    connection: sqlite3.Connection, retention: Retention, *, now_ms: int
) -> list[dict[str, Any]]:
    """Returns, for each group of tables, its rows, the oldest of them and when it goes.

    Args:
        connection: The database, to be read.
        retention: Days by kind of data.
        now_ms: The present, for what is overdue.
    """
    return [_reported(each, connection, retention, now_ms) for each in KEPT]


def _reported(
    kept: Kept, connection: sqlite3.Connection, retention: Retention, now_ms: int
) -> dict[str, Any]:
    n_rows = int(connection.execute(kept.rows).fetchone()[0])
    oldest_ms = connection.execute(kept.oldest).fetchone()[0]
    days = kept.days(retention)
    goes_ms = None if oldest_ms is None else int(oldest_ms) + days * DAY_MS
    return {
        "tables": list(kept.tables),
        "holds": kept.holds,
        "days": days,
        "setting": kept.period,
        "since": kept.since,
        "note": kept.note,
        "rows": n_rows,
        "oldest": None if oldest_ms is None else rfc3339_from_ms(int(oldest_ms)),
        "next_purge": None if goes_ms is None else rfc3339_from_ms(goes_ms),
        "is_overdue": goes_ms is not None and goes_ms + 2 * LOOKS_EVERY_MS < now_ms,
    }


def markdown_rows() -> list[str]:
    """Returns the README's table, row by row, with the default days."""
    retention = Retention()
    rows = []
    for kept in KEPT:
        tables = ", ".join(f"`{table}`" for table in kept.tables)
        note = f"; {kept.note}" if kept.note else ""
        since = f"{kept.days(retention)} since {kept.since}{note}"
        rows.append(f"| {tables} | {kept.holds} | {since} |")
    return rows


def unused_periods() -> set[str]:
    """Returns the settings of `Retention` that no table goes by."""
    return {field.name for field in fields(Retention)} - {kept.period for kept in KEPT}
