"""Everything that one person is known as: found from his identifiers, along the links.

Links lead from an identifier to a visitor, and from a visitor to the person he turned out to be.
Whoever is surely linked to the same person is a part of him. A basket is his if one of these
carried it, or if his card was shown with it and nobody else is known to have carried it.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final

from edge_agent.domain.ids import Pseudonym, VisitorId
from edge_agent.domain.visitor import Subject
from edge_agent.identify.links import person_among
from edge_agent.identify.pseudonyms import visitor_id_from

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from edge_agent.domain.policy import Policy
    from edge_agent.ports import State
    from edge_agent.shell.rows import Row

    Query = Callable[[str, Row], list[Row]]

_OF_IDENTIFIER: Final = (
    "SELECT visitor FROM link WHERE kind = ? AND pseudonym = ? AND until_ms IS NULL"
)
_BASKETS: Final = (
    "SELECT id, day, carrier, carrier IN (SELECT value FROM json_each(?1)) FROM basket"
    " WHERE carrier IN (SELECT value FROM json_each(?1))"
    " OR member IN (SELECT value FROM json_each(?1))"
    " OR cards <> '[]' AND EXISTS (SELECT 1 FROM json_each(cards) c"
    " WHERE json_extract(c.value, '$[1]') IN (SELECT value FROM json_each(?1)))"
)
_IDENTIFIERS: Final = (
    "SELECT kind, pseudonym, visitor FROM link WHERE visitor IN (SELECT value FROM json_each(?))"
    " AND kind <> 'visitor' ORDER BY kind, pseudonym"
)
_VISITS: Final = (
    "SELECT id FROM visit WHERE visitor IN (SELECT value FROM json_each(?)) ORDER BY id"
)
_DECISIONS: Final = (
    "SELECT id FROM decision WHERE visitor IN (SELECT value FROM json_each(?)) ORDER BY id"
)
# Taken for another visitor, and resting on his history: his card was shown with their basket, or
# they were linked to him for a while. Of who is purged by now no link tells any more.
_FOR_OTHERS: Final = (
    "SELECT id FROM decision WHERE (json_extract(record, '$.member') IN"
    " (SELECT value FROM json_each(?1)) OR member IN (SELECT value FROM json_each(?1))"
    " OR json_extract(record, '$.holder') IN (SELECT value FROM json_each(?1)))"
    " AND (visitor IN (SELECT value FROM json_each(?2)"
    " UNION SELECT pseudonym FROM link WHERE kind = 'visitor' AND visitor IN"
    " (SELECT value FROM json_each(?1))) OR visitor NOT IN (SELECT id FROM visitor)) ORDER BY id"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Person:
    """What is stored of one person, by id.

    Attributes:
        identifiers: His pseudonyms, those included by which he was asked for.
        visitors: The visitors that he is.
        visits: Their visits.
        baskets: His baskets.
        borrowed: Others' baskets with which his card was shown.
        decisions: Decisions for him, or resting on his history.
    """

    identifiers: tuple[Subject, ...]
    visitors: tuple[VisitorId, ...]
    visits: tuple[str, ...]
    baskets: tuple[str, ...]
    borrowed: tuple[str, ...]
    decisions: tuple[str, ...]

    @property
    def is_nobody(self) -> bool:
        """Whether nothing is held."""
        return not (self.visitors or self.baskets)


def find_person(
    query: Query, subjects: Iterable[Subject], *, state: State, policy: Policy
) -> Person:
    """Returns what is stored of whoever the identifiers lead to; they are taken for one's own.

    Args:
        query: Runs literal SQL.
        subjects: Identifiers of one person.
        state: Knows the links.
        policy: When a link is contested.
    """
    asked = tuple(dict.fromkeys(subjects))
    visitors: set[str] = set()
    asked_baskets: set[str] = set()
    for subject in asked:
        key = (subject.kind, subject.pseudonym)
        visitors.update(str(each) for (each,) in query(_OF_IDENTIFIER, key))
        if subject.kind == "basket":
            rows = query("SELECT id, carrier FROM basket WHERE id = ?", (subject.pseudonym,))
            asked_baskets.update(str(basket) for basket, _ in rows)
            visitors.update(str(carrier) for _, carrier in rows if carrier is not None)
    visitors = _all_parts(state, policy, visitors)
    baskets, borrowed = _baskets(query, visitors)
    ids = json.dumps(sorted(visitors))
    links = query(_IDENTIFIERS, (ids,))
    carriers = json.dumps(sorted(each for each in borrowed.values() if each is not None))
    decisions = {*_first(query(_DECISIONS, (ids,))), *_first(query(_FOR_OTHERS, (ids, carriers)))}
    known = [Subject(kind=kind, pseudonym=Pseudonym(name)) for kind, name, _ in links]
    return Person(
        identifiers=tuple(dict.fromkeys((*asked, *known))),
        visitors=tuple(VisitorId(each) for each in sorted(visitors)),
        visits=tuple(_first(query(_VISITS, (ids,)))),
        baskets=tuple(sorted(baskets | asked_baskets)),
        borrowed=tuple(sorted(borrowed)),
        decisions=tuple(sorted(decisions)),
    )


def _all_parts(state: State, policy: Policy, visitors: set[str]) -> set[str]:
    """Returns the visitors with those that the same person is known as.

    A link that ended because a consent did still tells who it was; one that somebody took back, or
    that leads to two people, does not: nobody else is ever erased or told of.
    """
    found = set(visitors)
    for visitor in sorted(visitors):
        person = _person_behind(state, policy, VisitorId(visitor))
        if person is not None:
            found.add(person)
    for each in sorted(found):
        linked = {link.of for link in state.links_to(VisitorId(each)) if link.is_claim}
        found.update(part for part in linked if _person_behind(state, policy, part) == each)
    return found


def _person_behind(state: State, policy: Policy, visitor_id: VisitorId) -> VisitorId | None:
    visitor = state.visitor(visitor_id)
    if visitor is None:
        return None
    claims = (link for link in visitor.links if link.is_claim)
    held = tuple(replace(link, until_ms=None, ended_by=None) for link in claims)
    return person_among(held, state.links_to, now_ms=0, policy=policy)


def _baskets(query: Query, visitors: set[str]) -> tuple[set[str], dict[str, Any]]:
    """Returns a person's baskets, and others' with his card, each with its carrier."""
    baskets: set[str] = set()
    borrowed: dict[str, Any] = {}
    for basket, day, carrier, is_his in query(_BASKETS, (json.dumps(sorted(visitors)),)):
        own = visitor_id_from(Subject(kind="basket", pseudonym=Pseudonym(basket)), day=day)
        if is_his or carrier in {None, own}:
            baskets.add(str(basket))
            # A basket that nobody was seen with has a visit of its own.
            visitors.add(str(own))
        else:
            borrowed[str(basket)] = carrier
    return baskets, borrowed


def _first(rows: list[Row]) -> list[str]:
    return [str(row[0]) for row in rows]
