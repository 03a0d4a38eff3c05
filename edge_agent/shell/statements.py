"""What somebody stated, as one text: read from the database, and put back into it.

A person's text holds his identifiers, his consents and his complaints. Whoever complained or
refused anything also has the links around him in it, and the identifiers of whom they link him
with, so that his telephone is recognised as his. Equal rows give equal texts.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from edge_agent.domain.visitor import CONSENT_BASIS

if TYPE_CHECKING:
    import sqlite3

_IS_SUPPRESSED: Final = """(
    EXISTS (SELECT 1 FROM consent c WHERE c.visitor = v.id AND NOT c.granted)
    OR EXISTS (SELECT 1 FROM complaint p WHERE p.visitor = v.id))"""
_LINK: Final = "kind, pseudonym, visitor, since_ms, until_ms, basis, ended_by, source, confidence"
# Rows of one visitor come in the order of their index: putting them in order costs as much again.
_LINKS: Final = f"""(SELECT coalesce(group_concat(json_array({_LINK})), '')
    FROM link INDEXED BY link_visitor WHERE visitor = v.id AND kind <> 'visitor')"""  # noqa: S608
# Links of his own, and all that lead to him or to whom he was taken for.
_AROUND: Final = """SELECT * FROM link WHERE kind = 'visitor' AND pseudonym = v.id
    UNION SELECT * FROM link WHERE +kind = 'visitor' AND visitor IN (SELECT v.id
        UNION SELECT visitor FROM link WHERE kind = 'visitor' AND pseudonym = v.id)"""
_CIRCLE: Final = f"""(SELECT coalesce(group_concat(json_array({_LINK})), '')
    FROM (SELECT * FROM ({_AROUND}) ORDER BY pseudonym, visitor, since_ms, basis))"""  # noqa: S608
# CROSS JOIN keeps SQLite from going through every visitor there is.
_OTHERS: Final = f"""(SELECT coalesce(group_concat(json_array(whose_kind, {_LINK})), '')
    FROM (SELECT o.kind AS whose_kind, l.* FROM (
            SELECT DISTINCT iif(ends.is_of, r.pseudonym, r.visitor) AS id FROM ({_AROUND}) AS r
                CROSS JOIN (SELECT 0 AS is_of UNION ALL SELECT 1) AS ends) AS i
        CROSS JOIN visitor o ON o.id = i.id CROSS JOIN link l ON l.visitor = o.id
        WHERE l.kind <> 'visitor' AND o.id <> v.id
        ORDER BY o.id, l.kind, l.pseudonym, l.since_ms, l.basis))"""  # noqa: S608
_STATEMENT: Final = "purpose, stated_at_ms, granted, source, text_version, channel, expires_at_ms"
# A statement on consent and about every channel reads as it did before there were others, so that
# the MACs made then are good.
_CONSENTS: Final = f"""(SELECT coalesce(group_concat(iif(basis = '{CONSENT_BASIS}'
        AND only_on = '', json_array({_STATEMENT}), json_array({_STATEMENT}, basis, only_on))), '')
    FROM consent WHERE visitor = v.id)"""  # noqa: S608
_COMPLAINTS: Final = """(SELECT coalesce(group_concat(
        json_array(case_hash, opened_at_ms, closed_at_ms)), '')
    FROM complaint WHERE visitor = v.id)"""
_HAS_STATED: Final = """(
    EXISTS (SELECT 1 FROM consent c WHERE c.visitor = v.id)
    OR EXISTS (SELECT 1 FROM complaint p WHERE p.visitor = v.id) OR s.visitor IS NOT NULL)"""
# Bytes all the way: what rot made of a text need not be one any more.
_PERSON: Final = f"""SELECT CAST(v.id AS BLOB),
    CAST('[' || json_quote(v.id) || ',' || json_quote(v.kind)
    || ',[' || {_LINKS} || '],[' || iif(a.is_suppressed, {_CIRCLE} || '],[' || {_OTHERS}, '],[')
    || '],[' || {_CONSENTS} || '],[' || {_COMPLAINTS} || ']]' AS BLOB), s.mac, a.is_suppressed
FROM asked a CROSS JOIN visitor v ON v.id = a.id LEFT JOIN seal s ON s.visitor = v.id"""  # noqa: S608
_ALL: Final = f"""WITH asked (id, is_suppressed) AS (SELECT id, max(is_suppressed) FROM (
        SELECT visitor AS id, max(NOT granted) AS is_suppressed FROM consent GROUP BY visitor
        UNION ALL SELECT visitor, 1 FROM complaint UNION ALL SELECT visitor, 0 FROM seal)
    GROUP BY id ORDER BY id) {_PERSON}"""  # noqa: S608
# A link that leads to somebody is also around all the others who were taken for him.
_SOME: Final = f"""WITH asked (id, is_suppressed) AS MATERIALIZED (SELECT id, {_IS_SUPPRESSED}
    FROM (SELECT value AS id FROM json_each(?1)
        UNION SELECT l.pseudonym FROM json_each(?1) j CROSS JOIN link l ON l.visitor = j.value
            WHERE +l.kind = 'visitor') v
    ORDER BY id) {_PERSON} WHERE {_HAS_STATED}"""  # noqa: S608

_PUT_VISITOR: Final = (
    "INSERT INTO visitor (id, kind, first_seen_at_ms, last_seen_at_ms, profile)"
    " VALUES (?, ?, ?, ?, NULL) ON CONFLICT (id) DO UPDATE SET kind = excluded.kind"
)
_PUT_LINK: Final = f"INSERT OR REPLACE INTO link ({_LINK}) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)"  # noqa: S608
_DROP_LINKS: Final = "DELETE FROM link WHERE visitor = ? AND kind <> 'visitor'"
_DROP_CIRCLE: Final = """DELETE FROM link WHERE kind = 'visitor' AND (pseudonym = ?1
    OR visitor IN (SELECT value FROM json_each(?2)))"""
_PUT_CONSENT: Final = (
    "INSERT INTO consent (visitor, purpose, stated_at_ms, granted, source, text_version,"
    " channel, expires_at_ms, basis, only_on) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
)
# What a statement's row that tells neither of them has there, and how many it tells.
_PLAIN: Final = (CONSENT_BASIS, "")
_PLAIN_LENGTH: Final = 7
_PUT_COMPLAINT: Final = (
    "INSERT INTO complaint (visitor, case_hash, opened_at_ms, closed_at_ms) VALUES (?, ?, ?, ?)"
)
_WHOSE: Final = "SELECT visitor FROM link WHERE kind = ? AND pseudonym = ?"


class Stated(NamedTuple):
    """One person as the database has him, and the seal that is on it."""

    visitor: bytes
    text: bytes
    seal: bytes | None
    is_suppressed: int


def stated_by(connection: sqlite3.Connection, visitors: Iterable[str]) -> list[Stated]:
    """Returns those of these visitors who stated anything, in a fixed order."""
    rows = connection.execute(_SOME, (json.dumps(sorted(visitors)),))
    return [Stated(*row) for row in rows]


def all_stated(connection: sqlite3.Connection) -> Iterable[Stated]:
    """Returns everybody who stated anything, in a fixed order."""
    return map(Stated._make, connection.execute(_ALL))


def put_back(connection: sqlite3.Connection, text: bytes, *, now_ms: int) -> None:
    """Makes a person's rows what his text says, within the transaction that is open.

    Args:
        connection: The writer's.
        text: His text, which a MAC vouches for.
        now_ms: When a visitor of whom no row is left was seen last, for all that is known.
    """
    told = json.loads(text)
    visitor, kind, _, circle, others, consents, complaints = told
    put = connection.execute
    put(_PUT_VISITOR, (visitor, kind, now_ms, now_ms))
    for whose_kind, *link in others:
        put(_PUT_VISITOR, (link[2], whose_kind, now_ms, now_ms))
    put(_DROP_LINKS, (visitor,))
    if is_suppressed(text):
        persons = {visitor, *(link[2] for link in circle)}
        put(_DROP_CIRCLE, (visitor, json.dumps(sorted(persons))))
    for link in _links_in(told):
        put(_PUT_LINK, link)
    put("DELETE FROM consent WHERE visitor = ?", (visitor,))
    for row in consents:
        put(_PUT_CONSENT, (visitor, *row[:_PLAIN_LENGTH], *(row[_PLAIN_LENGTH:] or _PLAIN)))
    put("DELETE FROM complaint WHERE visitor = ?", (visitor,))
    for row in complaints:
        put(_PUT_COMPLAINT, (visitor, *row))


def is_found(connection: sqlite3.Connection, text: bytes) -> bool:
    """Returns whether identifiers lead to their people, looked up as events look them up.

    A page whose rows are all there may still have lost their order.
    """
    told = json.loads(text)
    found, expected = connection.execute, _links_in(told)
    return all(
        (link[2],) in found(_WHOSE, (link[0], link[1])).fetchall() for link in expected
    ) and all(
        found("SELECT 1 FROM visitor WHERE id = ?", (each,)).fetchone()
        for each in {told[0], *(link[2] for link in expected)}
    )


def said_by(text: bytes) -> Any:
    """Returns what is in a text of one person alone: all but the links around him."""
    visitor, kind, links, _, _, consents, complaints = json.loads(text)
    return visitor, kind, links, consents, complaints


def visitor_of(text: bytes) -> str:
    """Returns whose text it is."""
    return str(json.loads(text)[0])


def has_stated(text: bytes) -> bool:
    """Returns whether there is anything that a person stated."""
    *_, consents, complaints = json.loads(text)
    return bool(consents or complaints)


def is_suppressed(text: bytes) -> bool:
    """Returns whether a person complained or refused anything, ever."""
    *_, consents, complaints = json.loads(text)
    return bool(complaints) or any(not granted for _, _, granted, *_ in consents)


def _links_in(told: list[Any]) -> list[tuple[Any, ...]]:
    """Returns the rows of `link` that somebody's text tells, of people who are in it."""
    visitor, _, links, circle, others, *_ = told
    known = {visitor, *(link[2] for _, *link in others)}
    around = (link for link in circle if link[2] in known)
    return [tuple(link) for link in (*links, *(link for _, *link in others), *around)]
