"""HQ's commands: verified, in order, confirmed in the transaction that takes them in."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from edge_agent.domain.inputs import Commanded
from edge_agent.domain.time import ms_from_datetime
from edge_agent.runner.steps import OWN_ERROR, HalfApplied
from edge_agent.sync.downlink import refusal_of
from edge_agent.wire import topics

if TYPE_CHECKING:
    from collections.abc import Callable

    from edge_agent.domain.ids import StoreId
    from edge_agent.domain.visitor import Subject
    from edge_agent.ports import Delivery, RuleBook, State
    from edge_agent.runner.open_batch import OpenBatch
    from edge_agent.runner.people import People
    from edge_agent.runner.tombstones import Tombstones
    from edge_agent.wire.downlink import AnyCommand

    VersionRow = tuple[str, str, int, str]

log = logging.getLogger(__name__)


class HqCommands:
    """Takes HQ's commands into the batch that is open.

    Attributes:
        acked: Ids of our messages that HQ has, one tuple for each command that named some.
    """

    def __init__(
        self,
        store: StoreId,
        batch: OpenBatch,
        *,
        state: State,
        people: People,
        tombstones: Tombstones,
        rule_book: RuleBook | None,
        verify: Callable[[bytes], AnyCommand | str],
    ) -> None:
        self._store = store
        self._unit = batch.unit
        self._present = batch.present
        self._steps = batch.steps
        self._outgoing = batch.outgoing
        self._counters = batch.counters
        self._state = state
        self._people = people
        self._tombstones = tombstones
        self._rule_book = rule_book
        self._verify = verify
        # Those of the open batch, which the database does not know yet.
        self._newest: dict[tuple[str, str], tuple[int, str]] = {}
        self.acked: list[tuple[str, ...]] = []

    def begin_batch(self) -> None:
        """Starts a batch: nothing of it is on the disk yet."""
        self._newest.clear()
        self.acked.clear()

    def take(self, delivery: Delivery) -> None:
        """Takes in one command.

        Raises:
            HalfApplied: The batch is to be rolled back and done again.
        """
        command = self._verify(delivery.payload)
        if isinstance(command, str):
            self._counters[f"command_{command}"] += 1
            log.warning("command_refused", extra={"fields": {"reason": command}})
            return
        self._present.hear_hq(command)
        if command.kind == "ack":
            self._take_ack(command)
            return
        last = self._last(command.kind, command.key)
        if last == (command.version, command.command):
            # It was confirmed, as taken or not, in the transaction that took it in.
            self._counters["command_repeated"] += 1
            return
        reason = refusal_of(
            command,
            store=self._store,
            topic_kind=topics.last_level(delivery.topic),
            now_ms=self._present.now_ms,
            last_version=None if last is None else last[0],
        )
        if reason is not None:
            self._counters["command_refused"] += 1
            self._outgoing.confirm(command.command, reason)
            return
        self._take_new(command)

    def _take_ack(self, command: AnyCommand) -> None:
        if command.store == self._store and command.kind == "ack":
            self.acked.append(command.body.ids)
            self._counters["hq_acked"] += len(command.body.ids)

    def _last(self, kind: str, key: str) -> tuple[int, str] | None:
        known = self._newest.get((kind, key))
        if known is not None:
            return known
        rows = self._unit.query(
            "SELECT version, command FROM command WHERE kind = ? AND key = ?", (kind, key)
        )
        return (int(rows[0][0]), str(rows[0][1])) if rows else None

    def _take_new(self, command: AnyCommand) -> None:
        version_row = (command.kind, command.key, command.version, command.command)
        self._newest[command.kind, command.key] = (command.version, command.command)
        self._unit.add("command", (*version_row, None, self._present.now_ms))
        day, now_ms = self._present.context.local.day, self._present.now_ms
        visitor = getattr(command.body, "visitor", None)
        subject = self._people.subject(visitor, day=day, now_ms=now_ms)
        if self._is_of_forgotten(command, subject):
            self._counters["of_forgotten"] += 1
            self._outgoing.confirm(command.command, "this customer was forgotten after that")
            return
        self._counters["command_taken"] += 1
        case = getattr(command.body, "complaint", None)
        given = Commanded(
            command=command,
            day=day,
            subject=subject,
            problem=self._problem_of(command),
            case=None if case is None else self._people.case(case),
        )
        self._run(given, version_row)
        self._present.heed_hq()

    def _is_of_forgotten(self, command: AnyCommand, subject: Subject | None) -> bool:
        stated_at = getattr(command.body, "stated_at", command.issued_at)
        return self._tombstones.covers(subject, None, at_ms=ms_from_datetime(stated_at))

    def _problem_of(self, command: AnyCommand) -> str | None:
        if self._rule_book is None or command.kind != "campaign":
            return None
        campaigns, now_ms = self._state.hq_campaigns(), self._present.now_ms
        return self._rule_book.refusal_of(command.body, campaigns, now_ms=now_ms)

    def _run(self, given: Commanded, version_row: VersionRow) -> None:
        command = given.command
        try:
            self._steps.run(given, ("command", command.command))
        except HalfApplied:
            raise
        except Exception as error:
            self._steps.pass_on_rot(error)
            log.exception("command_failed", extra={"fields": {"kind": command.kind}})
            self._counters["command_failed"] += 1
            self._unit.add("command", (*version_row, OWN_ERROR, self._present.now_ms))
            self._outgoing.confirm(command.command, OWN_ERROR)
