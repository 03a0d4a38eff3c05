"""Visitors by id and by identifier, held in memory for those who were asked about of late."""

from __future__ import annotations

from collections import OrderedDict
from typing import TYPE_CHECKING, Final

from edge_agent.domain.ids import VisitorId
from edge_agent.shell import rows

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Set as AbstractSet

    from edge_agent.domain.visitor import Link, Subject, Visitor

# Several times what a large store holds at once; the rest waits on the disk.
CACHED_VISITORS: Final = 5_000
CACHED_ABSENT: Final = 5_000
CACHED_PERSONS: Final = 5_000

_LINKS_OF: Final = (
    "SELECT ?, pseudonym, visitor, since_ms, until_ms, basis, ended_by, source, confidence"
    " FROM link WHERE kind = 'visitor' AND pseudonym = ?"
)
# The plus keeps SQLite from looking through every link between visitors instead of the person's.
_LINKS_TO: Final = (
    "SELECT v.kind, l.pseudonym, l.visitor, l.since_ms, l.until_ms, l.basis, l.ended_by,"
    " l.source, l.confidence FROM link l JOIN visitor v ON v.id = l.pseudonym"
    " WHERE l.visitor = ? AND +l.kind = 'visitor'"
)


class VisitorBook:
    """Visitors with their links, consents and complaints: the disk's, and the open batch's."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._db = connection
        self._visitors: OrderedDict[VisitorId, Visitor] = OrderedDict()
        # Under these ids nothing is kept: most of them would be of whoever spoke by a basket.
        self._absent: set[VisitorId] = set()
        self._ids: dict[tuple[str, str], VisitorId | None] = {}
        self._links_to: OrderedDict[VisitorId, dict[VisitorId, tuple[Link, ...]]] = OrderedDict()
        self._complainers = {
            VisitorId(visitor)
            for (visitor,) in self._db.execute("SELECT DISTINCT visitor FROM complaint")
        }

    def visitor_of(self, subject: Subject) -> Visitor | None:
        """Returns the visitor that an identifier leads to."""
        key = (subject.kind, subject.pseudonym)
        if key in self._ids:
            return self.visitor(self._ids[key])
        row = self._db.execute(
            "SELECT visitor FROM link WHERE kind = ? AND pseudonym = ? AND until_ms IS NULL", key
        ).fetchone()
        found = None if row is None else VisitorId(row[0])
        if found is not None:
            self._ids[key] = found
        return self.visitor(found)

    def visitor(self, visitor: VisitorId | None) -> Visitor | None:
        """Returns a visitor by his id."""
        if visitor is None:
            return None
        known = self._visitors.get(visitor)
        if known is None and visitor not in self._absent:
            known = self._load(visitor)
            if known is None:
                self._absent.add(visitor)
            else:
                self._visitors[visitor] = known
        return known

    def links_to(self, person: VisitorId) -> tuple[Link, ...]:
        """Returns the links that lead to a person, ended ones too."""
        known = self._links_to.get(person)
        if known is None:
            known = {}
            for row in self._db.execute(_LINKS_TO, (person,)):
                link = rows.link_from(tuple(row))
                known[link.of] = (*known.get(link.of, ()), link)
            self._links_to[person] = known
        return tuple(link for links in known.values() for link in links)

    def complainers(self) -> AbstractSet[VisitorId]:
        """Returns everybody who ever complained."""
        return self._complainers

    # --- what a batch changes -----------------------------------------------------------------

    def put(self, visitor: Visitor) -> None:
        """Lays a visitor over what is known of him; he is on the disk with the batch."""
        self._put_links(self._visitors.get(visitor.id), visitor)
        if visitor.complaints:
            self._complainers.add(visitor.id)
        self._visitors[visitor.id] = visitor
        self._absent.discard(visitor.id)
        self._ids[visitor.kind, visitor.pseudonym] = visitor.id

    def _put_links(self, before: Visitor | None, visitor: Visitor) -> None:
        links_before = () if before is None else before.links
        if links_before is visitor.links or links_before == visitor.links:
            return
        for person in {link.visitor for link in (*links_before, *visitor.links)}:
            # What is not on the disk yet must be in memory.
            self.links_to(person)
            links = tuple(link for link in visitor.links if link.visitor == person)
            self._links_to[person][visitor.id] = links

    # --- the cache's bounds -------------------------------------------------------------------

    def __len__(self) -> int:
        """Returns how many visitors are held."""
        return len(self._visitors)

    def keep_bounds(self) -> None:
        """Lets go of who is not there, and of links to whom nobody asked about for long."""
        if len(self._absent) > CACHED_ABSENT:
            self._absent.clear()
        while len(self._links_to) > CACHED_PERSONS:
            self._links_to.popitem(last=False)

    def pop_oldest(self) -> Visitor:
        """Lets go of the visitor who is held longest; his identifier still leads to his id."""
        return self._visitors.popitem(last=False)[1]

    def hold(self, visitor: Visitor) -> None:
        """Holds a visitor as the newest."""
        self._visitors[visitor.id] = visitor

    def forget_identifier(self, visitor: Visitor) -> None:
        """Lets go of where a visitor's identifier leads."""
        self._ids.pop((visitor.kind, visitor.pseudonym), None)

    # --- reading ------------------------------------------------------------------------------

    def _load(self, visitor: VisitorId) -> Visitor | None:
        row = self._db.execute(
            "SELECT id, kind, first_seen_at_ms, last_seen_at_ms, CAST(profile AS BLOB)"
            " FROM visitor WHERE id = ?",
            (visitor,),
        ).fetchone()
        if row is None:
            return None
        link = self._db.execute(
            "SELECT pseudonym FROM link WHERE visitor = ? AND kind = ?", (visitor, row[1])
        ).fetchone()
        return rows.visitor_from(
            tuple(row),
            pseudonym="" if link is None else link[0],
            links=self._db.execute(_LINKS_OF, (row[1], visitor)).fetchall(),
            consents=self._db.execute(
                "SELECT purpose, stated_at_ms, granted, source, text_version, channel,"
                " expires_at_ms, basis, only_on FROM consent WHERE visitor = ?"
                " ORDER BY stated_at_ms, purpose, granted, source, only_on",
                (visitor,),
            ).fetchall(),
            complaints=self._db.execute(
                "SELECT case_hash, opened_at_ms, closed_at_ms FROM complaint WHERE visitor = ?"
                " ORDER BY case_hash",
                (visitor,),
            ).fetchall(),
        )
