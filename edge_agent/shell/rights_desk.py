"""What a person may ask of the store, asked of the running agent by its operator.

An identifier comes in as it was typed, is hashed at once, and is in nothing that is written or
logged. Each request is noted with who asked, what for and what came of it, and not about whom.
"""

from __future__ import annotations

import json
import logging
import secrets
import sqlite3
import time
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, Final, get_args

from pydantic import ValidationError
from typing_extensions import override

from edge_agent.domain.effects import SendToHq
from edge_agent.domain.ids import Pseudonym
from edge_agent.domain.inputs import Forgotten, Restricted, Unlink
from edge_agent.domain.time import datetime_from_ms, local_time
from edge_agent.domain.visitor import Link, Subject
from edge_agent.errors import RequestRefused, StoreBusy
from edge_agent.identify.pseudonyms import normalised
from edge_agent.identify.receipts import consent_receipt
from edge_agent.shell import erasing
from edge_agent.shell.control import (
    EXPORT_VISITOR,
    FORGET_VISITOR,
    RECEIPT_VISITOR,
    RESTRICT_VISITOR,
    SHOW_VISITOR,
    UNLINK_VISITOR,
)
from edge_agent.shell.held import held_of
from edge_agent.shell.person import Person, find_person
from edge_agent.wire import topics
from edge_agent.wire.base import VisitorKind, VisitorRef
from edge_agent.wire.summaries import Erasure

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from datetime import tzinfo
    from pathlib import Path

    from edge_agent.domain.ids import ProductId, VisitorId
    from edge_agent.domain.inputs import Input
    from edge_agent.domain.policy import Policy, Retention
    from edge_agent.ports import State, Tombstones, UnitOfWork
    from edge_agent.shell.derived import Shop

log = logging.getLogger(__name__)

Answer = dict[str, Any]
KINDS: Final[tuple[str, ...]] = get_args(VisitorKind)
ERASURE_ID_BYTES: Final = 16
# Who says that a link is wrong, as the evidence has it.
OPERATOR: Final = "operator"
# How long a command waits for the disk to let go of everything; the agent goes on trying after.
FINISH_WITHIN_S: Final = 20.0
TRY_AGAIN_S: Final = 0.5
LOOK_EVERY_S: Final = 1.0
_WAITING: Final = (
    "SELECT message_id, json_extract(CAST(payload AS TEXT), '$.reference') FROM outbox"
    " WHERE kind = 'erasure' AND link = 'hq'"
)
_REFERENCES: Final = (
    "SELECT DISTINCT json_extract(profile, '$.reference') FROM visitor WHERE profile IS NOT NULL"
    " AND id IN (SELECT value FROM json_each(?))"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Ways:
    """What of the agent the desk works with; all of it belongs to the core thread.

    Attributes:
        unit: The batch.
        state: Knows the links between visitors.
        connection: The one writer's.
        tombstones: Whom to keep out.
        known_as: Returns the pseudonyms that an identifier has now.
        run: Takes an input into the batch that is open.
        send_to_hq: Queues a message for HQ, if there is one.
        let_go: Drops what is held in memory of somebody.
        unsend: Forgets messages to the store that its broker has not taken yet, by row.
        now_ms: The agent's present.
        title_of: What a product is called.
        shop: What of the store tells something of somebody.
    """

    unit: UnitOfWork
    state: State
    connection: sqlite3.Connection
    tombstones: Tombstones
    known_as: Callable[[VisitorRef], tuple[Subject, ...]]
    run: Callable[[Input], None]
    send_to_hq: Callable[[SendToHq], None]
    let_go: Callable[[tuple[VisitorId, ...]], None]
    unsend: Callable[[frozenset[int]], None]
    now_ms: Callable[[], int]
    title_of: Callable[[ProductId], str | None]
    shop: Shop


@dataclass(frozen=True, slots=True, kw_only=True)
class StoreOf:
    """Which store it is, and what it promised.

    Attributes:
        period_ms: Length of a summary's period.
    """

    name: str
    zone: tzinfo
    database: Path
    policy: Policy
    retention: Retention
    period_ms: int
    has_hq: bool


class RightsDesk:
    """Answers `visitor.…` requests, and sees each erasure through to its end."""

    def __init__(
        self,
        store: StoreOf,
        ways: Ways,
        *,
        call: Callable[[Callable[[], Answer]], Answer],
        call_restricting: Callable[[Callable[[], Answer]], Answer],
    ) -> None:
        """Sets up the desk.

        Args:
            store: The store.
            ways: What it works with.
            call: Has something done in the core thread, in a batch of its own.
            call_restricting: The same for what erases or forbids, on a full disk too.
        """
        self._store = store
        self._ways = ways
        self._call = call
        self._call_restricting = call_restricting
        self._next_look_s = 0.0
        self._traces: tuple[bytes, ...] = ()
        self._has_told = False
        self._is_unfinished = self._marked()
        # Erasures that HQ did not confirm yet, by message.
        self._waiting = self._read_waiting()
        self.answers: dict[str, Callable[[Answer], Answer]] = {
            SHOW_VISITOR: partial(self._tell, act="show"),
            EXPORT_VISITOR: partial(self._tell, act="export"),
            RECEIPT_VISITOR: self._hand_out,
            FORGET_VISITOR: self._forget,
            RESTRICT_VISITOR: self._restrict,
            UNLINK_VISITOR: self._unlink,
        }

    def begin(self) -> None:
        """Finishes what an end of the agent interrupted; called before anything is taken in."""
        if self._is_unfinished:
            self._finish(is_rewritten=True)

    def look(self, now_s: float) -> None:
        """Sees to what is not finished; called often, in the core thread."""
        if not (self._is_unfinished or self._waiting) or now_s < self._next_look_s:
            return
        self._next_look_s = now_s + LOOK_EVERY_S
        still = self._read_waiting()
        confirmed = self._waiting.keys() - still.keys()
        if confirmed:
            log.info("erasure_confirmed", extra={"fields": {"n": len(confirmed)}})
            handles = (self._waiting[each].encode() for each in sorted(confirmed))
            self._traces += tuple(each for each in handles if each)
        self._waiting = still
        if (confirmed or not still) and self._tried(
            partial(erasing.cut_log, self._ways.connection)
        ):
            is_found = erasing.has_any(self._store.database, self._traces)
            self._finish(is_rewritten=is_found)

    # --- the requests, called in the control thread -------------------------------------------

    def _tell(self, request: Answer, *, act: str) -> Answer:
        asked = _asked(request)
        return self._call(partial(self._read, asked, act, _uid(request)))

    def _hand_out(self, request: Answer) -> Answer:
        return self._call(partial(self._receipts, _asked(request), _uid(request)))

    def _restrict(self, request: Answer) -> Answer:
        asked, is_lifted = _asked(request), request.get("lift") is True
        call = self._call if is_lifted else self._call_restricting
        return call(partial(self._set_restriction, asked, _uid(request), is_lifted=is_lifted))

    def _unlink(self, request: Answer) -> Answer:
        asked = _asked(request)
        other = None
        if request.get("other") is not None:
            other = _asked({"identifier": request["other"], "kind": request.get("other_kind")})
        return self._call(partial(self._end_links, asked, other, _uid(request)))

    def _forget(self, request: Answer) -> Answer:
        asked = _asked(request)
        answer = self._call_restricting(partial(self._erase, asked, _uid(request)))
        until_s = time.monotonic() + FINISH_WITHIN_S
        while not (is_gone := self._is_gone()) and time.monotonic() < until_s:
            time.sleep(TRY_AGAIN_S)
        outcome = answer["outcome"] if is_gone else "not_finished"
        return {**answer, "outcome": outcome}

    def _is_gone(self) -> bool:
        """Takes what was deleted off the disk; returns whether nothing of it is left there."""
        if not self._call_restricting(self._cut)["is_done"]:
            return False
        # Read here: in a large file this takes longer than an event may wait.
        is_found = erasing.has_any(self._store.database, self._traces)
        finish = partial(self._finish, is_rewritten=is_found)
        return bool(self._call_restricting(lambda: {"is_done": finish()})["is_done"])

    # --- in the core thread -------------------------------------------------------------------

    def _read(self, asked: _Asked, act: str, uid: int) -> Answer:
        ways, now_ms = self._ways, self._ways.now_ms()
        person = self._person(asked)
        self._note(uid, act, "nothing_held" if person.is_nobody else "told")
        held = held_of(
            person,
            query=ways.unit.query,
            shop=ways.shop,
            retention=self._store.retention,
            title_of=ways.title_of,
            store=self._store.name,
            now_ms=now_ms,
        )
        return {"held": {**held, "consent_receipts": self._consent_receipts(person, now_ms)}}

    def _consent_receipts(self, person: Person, now_ms: int) -> list[Answer]:
        """Returns a receipt for each that he is known as and under which he stated something."""
        known = (self._ways.state.visitor(each) for each in person.visitors)
        return [
            consent_receipt(each, store=self._store.name, now_ms=now_ms).model_dump(mode="json")
            for each in known
            if each is not None and each.consents
        ]

    def _receipts(self, asked: _Asked, uid: int) -> Answer:
        receipts = self._consent_receipts(self._person(asked), self._ways.now_ms())
        self._note(uid, "receipt", "told" if receipts else "nothing_stated")
        return {"receipts": receipts}

    def _set_restriction(self, asked: _Asked, uid: int, *, is_lifted: bool) -> Answer:
        person = self._person(asked)
        now_ms = self._ways.now_ms()
        if person.is_nobody and (is_lifted or asked.kind is None):
            self._note(uid, "restrict", "nothing_held")
            return {"outcome": "nothing_held"}
        if not person.identifiers:
            raise RequestRefused("no key of that day exists any more")
        self._ways.run(
            Restricted(
                visitors=person.visitors,
                subject=person.identifiers[0],
                day=local_time(now_ms, self._store.zone).day,
                at_ms=now_ms,
                is_lifted=is_lifted,
            )
        )
        outcome = "lifted" if is_lifted else "restricted"
        self._note(uid, "restrict", outcome)
        return {"outcome": outcome}

    def _end_links(self, asked: _Asked, other: _Asked | None, uid: int) -> Answer:
        subject = self._known(asked)
        not_he = None if other is None else self._known(other)
        if subject is None or (other is not None and not_he is None):
            self._note(uid, "unlink", "nothing_held")
            return {"outcome": "nothing_held"}
        links_before = self._links_of(subject)
        self._ways.run(Unlink(subject=subject, other=not_he, source=OPERATOR))
        outcome = "not_linked" if self._links_of(subject) == links_before else "unlinked"
        self._note(uid, "unlink", outcome)
        return {"outcome": outcome}

    def _known(self, asked: _Asked) -> Subject | None:
        """Returns the pseudonym that leads to somebody.

        Raises:
            RequestRefused: More than one does.
        """
        subjects = (each for ref in asked.references for each in self._ways.known_as(ref))
        known = [each for each in subjects if self._ways.state.visitor_of(each) is not None]
        if len(known) > 1:
            raise RequestRefused("it is known as more than one", hint="say which with --kind")
        return known[0] if known else None

    def _links_of(self, subject: Subject) -> frozenset[Link]:
        state = self._ways.state
        visitor = state.visitor_of(subject)
        if visitor is None:
            return frozenset()
        current = state.visitor(visitor.id) or visitor
        claims = (*current.links, *state.links_to(current.id))
        return frozenset(link for link in claims if link.is_claim)

    def _erase(self, asked: _Asked, uid: int) -> Answer:
        ways, unit, now_ms = self._ways, self._ways.unit, self._ways.now_ms()
        person = self._person(asked)
        references = self._references(person)
        ways.run(Forgotten(visitors=person.visitors, at_ms=now_ms))
        for reference in references:
            self._tell_hq(reference, now_ms)
        ways.tombstones.put((*person.identifiers, *_subjects_of_baskets(person)), at_ms=now_ms)
        words = _spellings(asked)
        unit.erase(
            erasing.statements_for(
                person, query=unit.query, words=words, period_ms=self._store.period_ms
            )
        )
        ways.unsend(erasing.unsent_of(person, unit.query))
        ways.let_go(person.visitors)
        outcome = "nothing_held" if person.is_nobody else "forgotten"
        self._note(uid, "forget", outcome)
        self._traces += erasing.traces_of(person)
        self._is_unfinished = True
        log.info("visitor_forgotten", extra={"fields": {"outcome": outcome}})
        return {
            "outcome": outcome,
            "visits": len(person.visits),
            "purchases": len(person.baskets),
            "decisions": len(person.decisions),
            "hq_is_told": bool(references) and self._store.has_hq,
        }

    def _cut(self) -> Answer:
        self._waiting = self._read_waiting()
        return {"is_done": self._tried(lambda: erasing.cut_log(self._ways.connection))}

    def _finish(self, *, is_rewritten: bool) -> bool:
        """Destroys the copies and, if asked to, writes the file anew; returns whether it did.

        The mark goes when nothing waits for HQ any more: until then its name for him is kept.
        """
        return self._tried(partial(self._take_off_disk, is_rewritten=is_rewritten))

    def _take_off_disk(self, *, is_rewritten: bool) -> None:
        connection = self._ways.connection
        erasing.destroy_copies(self._store.database)
        if is_rewritten:
            erasing.rewrite(connection)
        if not self._waiting:
            connection.execute("DELETE FROM meta WHERE key = ?", (erasing.UNFINISHED,))
        erasing.cut_log(connection)
        self._traces = ()
        self._is_unfinished = bool(self._waiting)

    def _tried(self, act: Callable[[], None]) -> bool:
        try:
            act()
        except (sqlite3.Error, OSError, StoreBusy) as error:
            if not self._has_told:
                log.warning("erasing_waits", extra={"fields": {"error": str(error)}})
            self._has_told = True
            return False
        self._has_told = False
        return True

    def _tell_hq(self, reference: str, now_ms: int) -> None:
        erasure = Erasure(
            erasure_id=secrets.token_hex(ERASURE_ID_BYTES),
            store=self._store.name,
            reference=reference,
            at=datetime_from_ms(now_ms),
        )
        self._ways.send_to_hq(
            SendToHq(
                message_id=erasure.erasure_id,
                topic=topics.hq_up(self._store.name, "erasure"),
                payload=erasure.model_dump_json().encode(),
                kind="erasure",
            )
        )

    def _person(self, asked: _Asked) -> Person:
        """Returns whom an identifier leads to.

        Raises:
            RequestRefused: As one kind it leads to one person, as another to somebody else.
        """
        found: dict[str, Person] = {}
        subjects: list[Subject] = []
        for reference in asked.references:
            known = self._ways.known_as(reference)
            subjects += known
            found[reference.kind] = self._found(known)
        held = {kind: person for kind, person in found.items() if not person.is_nobody}
        if len({person.visitors for person in held.values()}) > 1:
            raise RequestRefused(
                f"it is known as {' and as '.join(held)}, of different people",
                hint="say which with --kind",
            )
        if held:
            return next(iter(held.values()))
        return self._found(subjects)

    def _found(self, subjects: Iterable[Subject]) -> Person:
        ways, policy = self._ways, self._store.policy
        return find_person(ways.unit.query, subjects, state=ways.state, policy=policy)

    def _references(self, person: Person) -> list[str]:
        rows = self._ways.unit.query(_REFERENCES, (json.dumps(person.visitors),))
        return [str(each) for (each,) in rows if each is not None]

    def _note(self, uid: int, act: str, outcome: str) -> None:
        self._ways.unit.add("audit", (self._ways.now_ms(), uid, act, outcome))

    def _marked(self) -> bool:
        query = "SELECT 1 FROM meta WHERE key = ?"
        return bool(self._ways.unit.query(query, (erasing.UNFINISHED,)))

    def _read_waiting(self) -> dict[str, str]:
        return {
            str(message): str(handle or "") for message, handle in self._ways.unit.query(_WAITING)
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class _Asked:
    """An identifier as it was typed, under each kind that it may be; it is never shown."""

    kind: str | None
    references: tuple[VisitorRef, ...]

    @override
    def __repr__(self) -> str:
        return "_Asked(***)"


def _asked(request: Answer) -> _Asked:
    """Returns the identifier of a request.

    Raises:
        RequestRefused: There is none, or its kind is not known. It is not repeated.
    """
    value, kind = request.get("identifier"), request.get("kind")
    if kind is not None and kind not in KINDS:
        raise RequestRefused("there is no such kind", hint=f"kinds are {', '.join(KINDS)}")
    text = value.strip() if isinstance(value, str) else ""
    try:
        references = tuple(
            VisitorRef.model_validate({"kind": each, "value": text})
            for each in ((kind,) if kind is not None else KINDS)
        )
    except ValidationError:
        # The validator's own words would repeat what was typed.
        raise RequestRefused(
            "that is no identifier", hint="1 to 256 characters, none of them invisible"
        ) from None
    return _Asked(kind=kind, references=references)


def _uid(request: Answer) -> int:
    return int(request["uid"])


def _subjects_of_baskets(person: Person) -> tuple[Subject, ...]:
    return tuple(Subject(kind="basket", pseudonym=Pseudonym(each)) for each in person.baskets)


def _spellings(asked: _Asked) -> tuple[str, ...]:
    """Returns the identifier as a device may have written it, to be compared and not kept."""
    found: list[str] = []
    for reference in asked.references:
        plain = normalised(reference.kind, reference.value)
        found += [reference.value, plain]
        if reference.kind in {"ble", "wifi"}:
            pairs = [plain[at : at + 2] for at in range(0, len(plain), 2)]
            found += [":".join(pairs), "-".join(pairs)]
    return tuple(dict.fromkeys(found))
