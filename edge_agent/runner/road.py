"""The way of one message: decode, dedupe, identify, step; its changes join the batch.

The per-event boundary is here: whatever goes wrong with one event makes it a dead letter and
spares its neighbours, because a step that fails has changed nothing yet.
"""

from __future__ import annotations

import logging
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from edge_agent.domain import effects
from edge_agent.domain.decisions import Cause
from edge_agent.domain.ids import TeamId
from edge_agent.domain.inputs import (
    Arrival,
    Asked,
    Commanded,
    OfferAsked,
    StaffAnswered,
    Wake,
)
from edge_agent.domain.rules import NEUTRAL, Rules
from edge_agent.domain.time import DAY_MS, MINUTE_MS, SECOND_MS, local_time, ms_from_datetime
from edge_agent.engine import Context, step
from edge_agent.ingest.decode import (
    Refusal,
    decode_events,
    decode_offer_request,
    decode_request,
    decode_staff_feedback,
    decode_tick,
    refusal_of_feedback,
    refusal_of_source,
)
from edge_agent.ingest.ordering import mark_of, timing_of
from edge_agent.runner.devices import is_of_people
from edge_agent.runner.mapped import as_published
from edge_agent.sync.downlink import ALL_STORES
from edge_agent.sync.downlink import refusal_of as command_refusal_of
from edge_agent.wire import topics
from edge_agent.wire.notices import EventReceipt
from edge_agent.wire.summaries import Confirmation

if TYPE_CHECKING:
    from collections.abc import Callable

    from edge_agent.domain.inputs import Input
    from edge_agent.domain.scoring import PromotionPlan
    from edge_agent.ingest.device_mapping import DeviceMapping
    from edge_agent.ports import (
        Catalogue,
        Delivery,
        Observer,
        RuleBook,
        Scorer,
        State,
        Stopwatch,
        UnitOfWork,
    )
    from edge_agent.runner.dead_letters import DeadLetters
    from edge_agent.runner.devices import Devices
    from edge_agent.runner.hq_heard import HqHeard
    from edge_agent.runner.mapped import Mapper, Understood
    from edge_agent.runner.name_guard import NameGuard
    from edge_agent.runner.people import People
    from edge_agent.runner.settings import RoadSettings
    from edge_agent.runner.tombstones import Tombstones
    from edge_agent.runner.wakes import Wakes
    from edge_agent.wire.base import VisitorRef
    from edge_agent.wire.downlink import AnyCommand
    from edge_agent.wire.events import Event

log = logging.getLogger(__name__)

# Levels of `store/{store}/{kind}/...`.
_KIND_LEVEL: Final = 2
_EVENT_LEVELS: Final = 4
_FEEDBACK_LEVELS: Final = 5
_TEAM_LEVEL: Final = 3
# Quarters of an hour whose local day is remembered.
_KNOWN_QUARTERS: Final = 1_000
_QUARTER_MS: Final = 15 * MINUTE_MS
REPLY_TOPIC_MAX: Final = 512
_OWN_ERROR: Final = "an error of the agent's own, see its log"
_URGENT: Final = (effects.Publish, effects.RecordDecision, effects.Confirm)


class HalfApplied(Exception):
    """Something of an input was applied before it failed; the batch is to be done again."""


class Spoilt(Exception):
    """An input failed half-way when this batch was done before."""


class Road:
    """Takes messages in, one after the other, into the batch that is open."""

    def __init__(
        self,
        *,
        settings: RoadSettings,
        state: State,
        unit: UnitOfWork,
        people: People,
        catalogue: Catalogue,
        scorer: Scorer,
        dead_letters: DeadLetters,
        mapper: Mapper,
        devices: Devices,
        wakes: Wakes,
        guard: NameGuard,
        tombstones: Tombstones,
        hq_heard: HqHeard | None,
        verify: Callable[[bytes], AnyCommand | str],
        now_ms: int,
        watermark_ms: int,
        observer: Observer | None = None,
        rule_book: RuleBook | None = None,
        stopwatch: Stopwatch | None = None,
        use_plans: Callable[[tuple[PromotionPlan, ...]], None] = lambda _plans: None,
    ) -> None:
        self._settings = settings
        self._observer = observer
        self._stopwatch = stopwatch
        self._state = state
        self._unit = unit
        self._people = people
        self._catalogue = catalogue
        self._scorer = scorer
        self._dead_letters = dead_letters
        self.mapper = mapper
        self.devices = devices
        self.wakes = wakes
        self._guard = guard
        self._tombstones = tombstones
        self._hq_heard = hq_heard
        self._verify = verify
        self.watermark_ms = watermark_ms
        self.closed_until_ms = 0
        self.counters = mapper.counters
        self._marks: set[int] = set()
        # Marks that were looked up ahead, all at once, and those of them that are on the disk.
        self._looked_up: set[int] = set()
        self._seen: set[int] = set()
        self._decoded: dict[int, list[Event | Refusal]] = {}
        self._newest_commands: dict[tuple[str, str], tuple[int, str]] = {}
        self._rules = NEUTRAL
        self._rule_book = rule_book
        self._campaigns = state.hq_campaigns()
        self._plans: tuple[PromotionPlan, ...] | None = None
        self._use_plans = use_plans
        layout = self._layout = settings.layout
        self._exits = frozenset(zone.id for zone in layout.zones.values() if zone.is_exit)
        self._register_zones = frozenset(
            each.zone for each in layout.registers.values() if each.zone is not None
        )
        # What is refused while a dead letter is tried again: it is a dead letter already.
        self._refused_again: list[Refusal] | None = None
        # What failed half-way in this batch: refused when the batch is done again.
        self._spoilt: set[object] = set()
        self.publishes: list[effects.Publish | None] = []
        self.acked: list[tuple[str, ...]] = []
        self._is_urgent = False
        self._days: dict[int, str] = {}
        self.set_now(now_ms)

    # --- the batch ----------------------------------------------------------------------------

    def begin_batch(self) -> None:
        """Starts a batch: nothing of it is on the disk yet."""
        self._marks.clear()
        self._heed_hq()
        if self._hq_heard is not None:
            self._hq_heard.begin_batch(self.now_ms)
        self.mapper.begin_batch(self.now_ms)
        self._newest_commands.clear()
        self.publishes.clear()
        self.acked.clear()
        self._is_urgent = False

    def look_ahead(self, deliveries: list[Delivery]) -> None:
        """Decodes messages that wait and asks for all their marks in one query.

        A query for each event would cost a quarter of its way: each lets the network thread in.
        """
        self._looked_up.clear()
        self._seen.clear()
        self._decoded.clear()
        max_bytes = self._settings.max_message_bytes
        for delivery in deliveries:
            if _topic_source(delivery) is None:
                continue
            found = decode_events(delivery.payload, max_bytes=max_bytes)
            self._decoded[id(delivery)] = found
            for each in found:
                if not isinstance(each, Refusal):
                    self._looked_up.add(mark_of(each.source, each.id))
        self._seen = self._unit.seen_among(self._looked_up)

    def note_committed(self) -> None:
        """Notes that what was taken in is on the disk."""
        self._spoilt.clear()
        self._seen |= self._marks
        self.mapper.note_committed()
        if self._hq_heard is not None:
            self._hq_heard.note_committed()

    def set_now(self, now_ms: int) -> None:
        """Moves the agent's present on."""
        self.now_ms = now_ms
        settings = self._settings
        self._context = Context(
            now_ms=now_ms,
            local=local_time(now_ms, settings.zone),
            zone=settings.zone,
            seed=settings.seed,
            store=settings.store,
            locale=settings.locale,
            currency=settings.currency,
            policy=settings.policy,
            layout=self._layout,
            catalogue=self._catalogue,
            scorer=self._scorer,
            closed_until_ms=self.closed_until_ms,
            exits=self._exits,
            register_zones=self._register_zones,
            hq_heard_ms=None if self._hq_heard is None else self._hq_heard.at_ms,
            lost_at_ms=settings.lost_at_ms,
            unit_key=self._people.unit_key,
            rules=self._rules,
            offer_key=self._people.offer_key,
            stopwatch=self._stopwatch,
        )

    @property
    def context(self) -> Context:
        """What a decision rests on now besides the state."""
        return self._context

    @property
    def hurry_ms(self) -> int:
        """Left of the time budget, below which a decision is made more simply; 0 is never."""
        return 0 if self._settings.is_replay else max(self._rules.hurry_ms)

    def hurry(self, left_ms: float | None) -> None:
        """Says how much time is left for what is taken in next; None for enough."""
        if left_ms != self._context.left_ms:
            self._context = replace(self._context, left_ms=left_ms)

    @property
    def is_hq_unheard(self) -> bool:
        """Whether HQ was not heard for so long that whoever is identified is left alone."""
        heard = self._hq_heard
        return heard is not None and heard.is_over(self.now_ms, self._settings.policy)

    def use_scorer(self, scorer: Scorer) -> None:
        """Lets another scorer rank from the next decision on."""
        self._scorer = scorer
        self.set_now(self.now_ms)

    def use_rules(self, rules: Rules) -> None:
        """Lets other rules hold from the next event on; HQ's campaigns are joined to them."""
        self._campaigns = self._state.hq_campaigns()
        if self._rule_book is not None and self._campaigns:
            rules = self._rule_book.joined(self._campaigns, self._unit, now_ms=self.now_ms)
        self._rules = rules
        self._layout = self._settings.layout.tightened(rules.audiences)
        self.set_now(self.now_ms)

    def _heed_hq(self) -> None:
        """Takes up HQ's campaigns and plans where they changed, by a rolled back batch too."""
        plans, campaigns = self._state.plans(), self._state.hq_campaigns()
        if plans is not self._plans:
            self._plans = plans
            self._use_plans(plans)
        if self._rule_book is None or campaigns is self._campaigns:
            return
        # The state is read anew now and then, and says the same.
        is_other, self._campaigns = campaigns != self._campaigns, campaigns
        if is_other:
            self.use_rules(self._rule_book.rules)

    @property
    def is_urgent(self) -> bool:
        """Whether something in this batch must not wait for company."""
        return self._is_urgent

    def take(self, delivery: Delivery) -> int:
        """Takes in one message from the store's broker; returns how many events it held.

        Raises:
            HalfApplied: The batch is to be rolled back and done again.
        """
        try:
            return self._dispatch(delivery)
        except HalfApplied:
            raise
        except Exception as error:
            self._pass_on_rot(error)
            # The per-message boundary: whatever a message does, the next one is taken in.
            log.exception("message_failed", extra={"fields": {"bytes": len(delivery.payload)}})
            self.counters["messages_failed"] += 1
            return 1

    def _pass_on_rot(self, error: Exception) -> None:
        """Raises what says that the database is damaged: that is not the message's fault.

        Nothing is acknowledged then; the agent ends, and begins anew with what waits.
        """
        if self._unit.is_rot(error):
            raise error

    def _dispatch(self, delivery: Delivery) -> int:
        mappings = self.mapper.hearing(delivery.topic)
        if mappings:
            return self._take_mapped(delivery, mappings)
        levels = delivery.topic.split("/")
        if levels[0] != topics.STORE_LEVEL:
            # Two overlapping subscriptions became one that brings more than either.
            self.counters["not_asked_for"] += 1
            return 1
        kind = levels[_KIND_LEVEL] if len(levels) > _KIND_LEVEL else ""
        if kind == "event" and len(levels) == _EVENT_LEVELS:
            return self._take_events(delivery, source=levels[3])
        is_feedback = kind == "screen" and levels[-1] == "feedback"
        if is_feedback and len(levels) == _FEEDBACK_LEVELS:
            return self._take_events(delivery, screen=levels[3])
        if kind in {"recommend", "offer"}:
            take = self._take_request if kind == "recommend" else self._take_offer_request
            take(delivery)
        elif kind == "staff" and levels[-1] == "feedback":
            self._take_staff_feedback(delivery)
        elif kind == "clock" and self._settings.is_replay:
            self._take_tick(delivery)
        return 1

    def retry(self, delivery: Delivery, *, at_ms: int) -> Refusal | None:
        """Takes a refused message again, as of its arrival; returns why it is refused again."""
        mappings = self.mapper.hearing(delivery.topic)
        if not mappings and not delivery.topic.startswith(f"{topics.STORE_LEVEL}/"):
            return Refusal(reason="unknown_topic", detail="no mapping hears its topic any more")
        refused: list[Refusal] = []
        self._refused_again = refused
        try:
            if mappings:
                found = self.mapper.understand_as_of(delivery, mappings, at_ms=at_ms)
                self._take_understood(delivery, found)
            else:
                self._dispatch(delivery)
        except Exception:
            log.exception("retry_failed", extra={"fields": {"bytes": len(delivery.payload)}})
            return Refusal(reason="failed", detail="an error of the agent's own, see its log")
        finally:
            self._refused_again = None
        return refused[0] if refused else None

    def pass_time(self, now_ms: int) -> None:
        """Moves time on and does what is due by then."""
        self.set_now(now_ms)
        for wake in self.wakes.due(now_ms):
            self._run_wake(wake)

    def _run_wake(self, wake: Wake) -> None:
        try:
            self._run(wake, wake)
        except HalfApplied:
            raise
        except Exception as error:
            self._pass_on_rot(error)
            # It follows from the state again at the next start; until then all else goes on.
            log.exception("wake_failed", extra={"fields": {"kind": wake.kind}})
            self.counters["wakes_failed"] += 1

    def take_command(self, delivery: Delivery) -> None:
        """Takes in one command from HQ."""
        command = self._verify(delivery.payload)
        if isinstance(command, str):
            self.counters[f"command_{command}"] += 1
            log.warning("command_refused", extra={"fields": {"reason": command}})
            return
        self._hear_hq(command)
        if command.kind == "ack":
            self._take_ack(command)
            return
        last = self._last_command(command.kind, command.key)
        if last == (command.version, command.command):
            # It was confirmed, as taken or not, in the transaction that took it in.
            self.counters["command_repeated"] += 1
            return
        reason = command_refusal_of(
            command,
            store=self._settings.store,
            topic_kind=topics.last_level(delivery.topic),
            now_ms=self.now_ms,
            last_version=None if last is None else last[0],
        )
        if reason is not None:
            self.counters["command_refused"] += 1
            self._confirm(command.command, reason)
            return
        version_row = (command.kind, command.key, command.version, command.command)
        self._newest_commands[command.kind, command.key] = (command.version, command.command)
        self._unit.add("command", (*version_row, None, self.now_ms))
        day = self._context.local.day
        visitor = getattr(command.body, "visitor", None)
        case = getattr(command.body, "complaint", None)
        subject = self._people.subject(visitor, day=day, now_ms=self.now_ms)
        stated_at = getattr(command.body, "stated_at", command.issued_at)
        if self._tombstones.covers(subject, None, at_ms=ms_from_datetime(stated_at)):
            self.counters["of_forgotten"] += 1
            self._confirm(command.command, "this customer was forgotten after that")
            return
        self.counters["command_taken"] += 1
        problem = None
        if self._rule_book is not None and command.kind == "campaign":
            problem = self._rule_book.refusal_of(command.body, self._state.hq_campaigns())
        given = Commanded(
            command=command,
            day=day,
            subject=subject,
            case=None if case is None else self._people.case(case),
            problem=problem,
        )
        self._run_command(given, version_row)
        self._heed_hq()

    def _run_command(self, given: Commanded, version_row: tuple[str, str, int, str]) -> None:
        command = given.command
        try:
            self._run(given, ("command", command.command))
        except HalfApplied:
            raise
        except Exception as error:
            self._pass_on_rot(error)
            log.exception("command_failed", extra={"fields": {"kind": command.kind}})
            self.counters["command_failed"] += 1
            self._unit.add("command", (*version_row, _OWN_ERROR, self.now_ms))
            self._confirm(command.command, _OWN_ERROR)

    def _hear_hq(self, command: AnyCommand) -> None:
        heard = self._hq_heard
        if heard is None or command.store not in {self._settings.store, ALL_STORES}:
            return
        if heard.hear(ms_from_datetime(command.issued_at), now_ms=self.now_ms):
            self.set_now(self.now_ms)

    # --- events -------------------------------------------------------------------------------

    def _take_events(
        self, delivery: Delivery, *, source: str | None = None, screen: str | None = None
    ) -> int:
        found = self._decoded.get(id(delivery))
        if found is None:
            found = decode_events(delivery.payload, max_bytes=self._settings.max_message_bytes)
        for each in found:
            refusal = each if isinstance(each, Refusal) else None
            if isinstance(each, Refusal):
                self._refuse(delivery, each)
                continue
            if source is not None:
                refusal = refusal_of_source(each, source=source)
            elif screen is not None:
                refusal = refusal_of_feedback(each, screen=screen)
            if refusal is not None:
                self._refuse(delivery, refusal)
            else:
                # A screen names its own ids: they must not meet those of a till.
                speaker = event_source(each, screen)
                self._take_event(delivery, each, mark_of(speaker, each.id))
        return len(found)

    def _take_mapped(self, delivery: Delivery, mappings: tuple[DeviceMapping, ...]) -> int:
        if self.mapper.has_taken(delivery):
            self.counters["duplicates"] += 1
            return 1
        # Not every message is an event: that the device speaks at all is told here.
        name = mappings[0].name
        self.devices.heard(f"mapping {name}", own_ms=None, now_ms=self.now_ms, mapping=name)
        found = self.mapper.understand(delivery, mappings, now_ms=self.now_ms)
        return self._take_understood(delivery, found)

    def _take_understood(self, delivery: Delivery, found: Understood) -> int:
        self.counters["mapped"] += 1
        for event in found.events:
            made = as_published(event, self._settings.store)
            mark = mark_of(event.source, event.id)
            self._take_event(made, event, mark, at_ms=found.at_ms, mapping=found.mapping)
        if self._refused_again is None:
            for source in found.unchanged:
                self.devices.heard(source, own_ms=None, now_ms=self.now_ms, mapping=found.mapping)
        if found.refusal is not None:
            self._refuse(delivery, found.refusal, heard_on=found.heard_on, at_ms=found.at_ms)
        return max(1, len(found.events))

    def _has_seen(self, mark: int) -> bool:
        if mark in self._marks:
            return True
        if mark in self._looked_up:
            return mark in self._seen
        return self._unit.has_seen(mark)

    def _take_event(
        self,
        delivery: Delivery,
        event: Event,
        mark: int,
        *,
        at_ms: int | None = None,
        mapping: str = "",
    ) -> None:
        if self._is_refused_for_its_names(delivery, event):
            return
        own_ms = None if event.time is None else ms_from_datetime(event.time)
        if self._refused_again is None:
            # A mapping gives an event without a time that of its arrival: no clock of the device.
            told_ms = None if own_ms == at_ms else own_ms
            self.devices.heard(
                event.source,
                own_ms=told_ms,
                now_ms=self.now_ms,
                is_of_people=is_of_people(event),
                mapping=mapping,
            )
        if self._has_seen(mark):
            self.counters["duplicates"] += 1
            self._give_receipt(delivery, event)
            return
        timing = timing_of(
            own_ms,
            now_ms=self.now_ms,
            watermark_ms=self.watermark_ms,
            policy=self._settings.policy,
        )
        if timing.was_impossible:
            self.counters["impossible_times"] += 1
        if timing.may_correct:
            self._move_watermark(timing.at_ms)
            self.counters["late"] += not timing.may_decide
            if not self._run_event(
                delivery, event, mark, timing.at_ms, may_decide=timing.may_decide
            ):
                return
            self.counters["accepted"] += 1
        else:
            self.counters["too_late"] += 1
        self._marks.add(mark)
        self._unit.add("inbox", (mark, self.now_ms // DAY_MS))
        self._give_receipt(delivery, event)

    def _is_refused_for_its_names(self, delivery: Delivery, event: Event) -> bool:
        field = self._guard.refused_field(event, day=self._context.local.day)
        if field is None:
            return False
        detail = f"{field} names a person where a thing is named"
        told = None if field == "id" else event.id
        refusal = Refusal(reason="personal", detail=detail, source=event.source, event=told)
        self._refuse(delivery, refusal)
        return True

    def _run_event(
        self, delivery: Delivery, event: Event, mark: int, at_ms: int, *, may_decide: bool
    ) -> bool:
        try:
            arrival = self._arrival(event, mark, at_ms, may_decide=may_decide)
            if self._tombstones and self._is_of_forgotten(arrival):
                self.counters["of_forgotten"] += 1
            else:
                self._run(arrival, mark)
        except HalfApplied:
            raise
        except Exception as error:
            self._pass_on_rot(error)
            # The per-event boundary: nothing of this event was applied, its neighbours go on.
            log.exception("event_failed", extra={"fields": {"type": event.type}})
            refusal = Refusal(
                reason="failed",
                detail=_OWN_ERROR,
                source=event.source,
                event=event.id,
            )
            self._refuse(delivery, refusal)
            return False
        return True

    def _arrival(self, event: Event, mark: int, at_ms: int, *, may_decide: bool) -> Arrival:
        day = self._day(at_ms)
        # A pydantic model answers for an attribute it lacks only after 4 us: its dict is instant.
        data = vars(event.data)
        visitor: VisitorRef | None = data.get("visitor")
        basket: str | None = data.get("basket")
        case: str | None = data.get("complaint")
        if basket is None and visitor is not None and visitor.kind == "basket":
            basket = visitor.value
        people, now_ms = self._people, self.now_ms
        return Arrival(
            event,
            at_ms,
            mark,
            may_decide,
            day,
            people.subject(visitor, day=day, now_ms=now_ms),
            people.basket(basket, day=day, now_ms=now_ms),
            None if case is None else people.case(case),
        )

    def _is_of_forgotten(self, arrival: Arrival) -> bool:
        told = arrival.event.time
        own_ms = None if told is None else ms_from_datetime(told)
        # A time that was replaced by the arrival's says nothing of when it happened.
        at_ms = own_ms if own_ms == arrival.at_ms else None
        return self._tombstones.covers(arrival.subject, arrival.basket, at_ms=at_ms)

    def _day(self, at_ms: int) -> str:
        # A local day begins at a whole quarter of an hour everywhere on earth.
        quarter = at_ms // _QUARTER_MS
        day = self._days.get(quarter)
        if day is None:
            if len(self._days) > _KNOWN_QUARTERS:
                self._days.clear()
            day = self._days[quarter] = local_time(at_ms, self._settings.zone).day
        return day

    def _move_watermark(self, at_ms: int) -> None:
        # An event ahead of the clock must not make all others late.
        newest_ms = min(at_ms, self.now_ms)
        watermark_ms = newest_ms - self._settings.policy.lateness_s * SECOND_MS
        self.watermark_ms = max(self.watermark_ms, watermark_ms)

    def _give_receipt(self, delivery: Delivery, event: Event) -> None:
        if _topic_source(delivery) != event.source:
            return
        if event.receipt or event.source in self._settings.layout.receipt_sources:
            self._tell_source(event.source, event.id, outcome="committed")

    def _tell_source(self, source: str, event: str, *, outcome: str) -> None:
        receipt = EventReceipt.model_validate({"source": source, "id": event, "outcome": outcome})
        topic = topics.event_receipt(self._settings.store, source)
        self._carry_out(effects.Publish(topic=topic, payload=receipt.model_dump_json().encode()))

    # --- the other messages -------------------------------------------------------------------

    def _take_request(self, delivery: Delivery) -> None:
        request = decode_request(delivery.payload, max_bytes=self._settings.max_message_bytes)
        if isinstance(request, Refusal):
            self._refuse(delivery, request)
            return
        if not _is_reply_topic(delivery.response_topic, self._settings.store):
            detail = "a request needs a response topic such as store/{store}/reply/{you}"
            self._refuse(delivery, Refusal(reason="invalid", detail=detail, source=request.source))
            return
        correlation = delivery.correlation
        identity = request.id or (correlation.hex() if correlation else f"at-{self.now_ms}")
        # Correlation data is counted anew after a kiosk's restart: it tells repeats of a minute.
        minute = "" if request.id is not None else f"/{self.now_ms // MINUTE_MS}"
        mark = mark_of(f"request/{request.source}{minute}", identity)
        if mark in self._marks or self._unit.has_seen(mark):
            self.counters["duplicates"] += 1
            return
        self._marks.add(mark)
        self._unit.add("inbox", (mark, self.now_ms // DAY_MS))
        self.counters["requests"] += 1
        day = self._context.local.day
        people, now_ms = self._people, self.now_ms
        self._run_guarded(
            delivery,
            Asked(
                request=request,
                cause=Cause(source=request.source, id=identity[:128]),
                response_topic=delivery.response_topic or "",
                correlation=correlation,
                subject=people.subject(request.visitor, day=day, now_ms=now_ms),
                basket=people.basket(request.basket, day=day, now_ms=now_ms),
            ),
        )

    def _take_offer_request(self, delivery: Delivery) -> None:
        request = decode_offer_request(
            delivery.payload, max_bytes=self._settings.max_message_bytes
        )
        if isinstance(request, Refusal):
            self._refuse(delivery, request)
            return
        own = topics.reply(self._settings.store, request.source)
        answered_to = delivery.response_topic or ""
        is_own = answered_to == own or answered_to.startswith(f"{own}/")
        if not (is_own and _is_reply_topic(answered_to, self._settings.store)):
            # Whoever hears a code's answer may be the one who guesses.
            detail = "the answer goes to store/{store}/reply/{source} or below, and nowhere else"
            self._refuse(delivery, Refusal(reason="invalid", detail=detail, source=request.source))
            return
        # A repeat is answered again: what it asks for is done once all the same.
        self.counters["offer_requests"] += 1
        day, now_ms = self._context.local.day, self.now_ms
        mark = mark_of(f"offer/{request.source}", request.id)
        self._run_guarded(
            delivery,
            OfferAsked(
                request=request,
                by=f"{request.source}/{mark:x}",
                response_topic=answered_to,
                correlation=delivery.correlation,
                basket=self._people.basket(request.basket, day=day, now_ms=now_ms),
            ),
        )

    def run_called(self, given: Input) -> None:
        """Takes in what somebody in the store ordered; called within a batch of its own."""
        self._run(given)

    def _take_staff_feedback(self, delivery: Delivery) -> None:
        feedback = decode_staff_feedback(
            delivery.payload, max_bytes=self._settings.max_message_bytes
        )
        if isinstance(feedback, Refusal):
            self._refuse(delivery, feedback)
            return
        team = TeamId(topics.level(delivery.topic, _TEAM_LEVEL))
        self._run_guarded(delivery, StaffAnswered(feedback=feedback, at_ms=self.now_ms, team=team))

    def _take_tick(self, delivery: Delivery) -> None:
        tick = decode_tick(delivery.payload, max_bytes=self._settings.max_message_bytes)
        if isinstance(tick, Refusal):
            self._refuse(delivery, tick)
            return
        self.pass_time(max(self.now_ms, ms_from_datetime(tick.now)))

    def _run_guarded(self, delivery: Delivery, given: Input) -> None:
        try:
            self._run(given, (delivery.topic, delivery.payload))
        except HalfApplied:
            raise
        except Exception as error:
            self._pass_on_rot(error)
            log.exception("message_failed", extra={"fields": {"input": type(given).__name__}})
            self._refuse(delivery, Refusal(reason="failed", detail=_OWN_ERROR))

    def give_up(self, delivery: Delivery) -> None:
        """Keeps a message that can never be written as a dead letter."""
        detail = "it cannot be written, see the agent's log"
        self._refuse(delivery, Refusal(reason="failed", detail=detail))

    def _take_ack(self, command: AnyCommand) -> None:
        if command.store == self._settings.store and command.kind == "ack":
            self.acked.append(command.body.ids)
            self.counters["hq_acked"] += len(command.body.ids)

    def _last_command(self, kind: str, key: str) -> tuple[int, str] | None:
        known = self._newest_commands.get((kind, key))
        if known is not None:
            return known
        rows = self._unit.query(
            "SELECT version, command FROM command WHERE kind = ? AND key = ?", (kind, key)
        )
        return (int(rows[0][0]), str(rows[0][1])) if rows else None

    # --- effects ------------------------------------------------------------------------------

    def _run(self, given: Input, name: object = None) -> None:
        """Applies an input, wholly or not at all.

        Args:
            given: The input.
            name: Tells it from the others of its batch; None where the caller rolls back.

        Raises:
            HalfApplied: It failed when something of it was applied: the batch is to be rolled
                back and done again, in which this input is refused.
            Spoilt: It failed so before.
        """
        if name is not None and name in self._spoilt:
            raise Spoilt(_OWN_ERROR)
        result = step(self._state, given, self._context)
        try:
            for change in result.changes:
                self._unit.put(change)
            for effect in result.effects:
                self._carry_out(effect)
        except Exception as error:
            if name is None:
                raise
            self._pass_on_rot(error)
            log.exception("half_applied", extra={"fields": {"input": type(given).__name__}})
            self._spoilt.add(name)
            raise HalfApplied(_OWN_ERROR) from error
        if isinstance(given, Wake):
            self.counters["wakes"] += 1

    def _carry_out(self, effect: effects.Effect) -> None:
        if isinstance(effect, _URGENT):
            self._is_urgent = True
        match effect:
            case effects.ScheduleWake():
                self.wakes.ask(effect.due_ms, effect.kind, effect.key)
            case effects.Publish():
                self._queue(effect)
            case effects.SendToHq():
                self.send_to_hq(effect)
            case effects.Confirm():
                self._confirm(effect.command, effect.reason)
            case effects.Count():
                self.counters[effect.name] += 1
            case _:
                if isinstance(effect, effects.RecordDecision):
                    self.counters["decisions"] += 1
                self._unit.carry_out(effect)
                self._show(effect)

    def _show(self, effect: effects.Effect) -> None:
        if self._observer is None:
            return
        if isinstance(effect, effects.RecordDecision):
            self._observer.decided(effect.decision, self._rules)
        elif isinstance(effect, effects.JoinPurchases):
            self._observer.bought(effect)

    def _queue(self, message: effects.Publish) -> None:
        row = (
            "store",
            message.topic,
            message.payload,
            int(message.retain),
            message.expires_at_ms,
            message.correlation,
            None,
            "publish",
            message.about,
        )
        self._unit.add("outbox", row)
        self.publishes.append(message)

    def send_to_hq(self, message: effects.SendToHq) -> None:
        """Queues a message for HQ, if there is one."""
        if not self._settings.has_hq:
            return
        row = ("hq", message.topic, message.payload, 0, None, None)
        self._unit.add("outbox", (*row, message.message_id, message.kind, message.visitor))
        if message.visitor is not None:
            sent = (message.visitor, self.now_ms, message.message_id, message.payload)
            self._unit.add("customer_sent", sent)
        self.publishes.append(None)

    def _confirm(self, command: str, reason: str | None) -> None:
        store = self._settings.store
        outcome = "taken" if reason is None else "refused"
        confirmation = Confirmation(
            confirm_id=f"{command}.{outcome}"[:128],
            store=store,
            command=command,
            outcome="taken" if reason is None else "refused",
            reason=reason or "",
        )
        self._is_urgent = True
        self.send_to_hq(
            effects.SendToHq(
                message_id=confirmation.confirm_id,
                topic=topics.hq_up(store, "confirm"),
                payload=confirmation.model_dump_json().encode(),
                kind="confirm",
            )
        )

    def _refuse(
        self,
        delivery: Delivery,
        refusal: Refusal,
        *,
        heard_on: str | None = None,
        at_ms: int | None = None,
    ) -> None:
        if self._refused_again is not None:
            self._refused_again.append(refusal)
            return
        self.counters["dead_letters"] += 1
        notice = self._dead_letters.keep(
            delivery,
            refusal,
            now_ms=self.now_ms if at_ms is None else at_ms,
            key=self._people.today_key(self.now_ms),
            heard_on=heard_on,
        )
        if notice is not None:
            topic = topics.dead_letter(self._settings.store)
            self._queue(effects.Publish(topic=topic, payload=notice))
        asks = self._settings.layout.receipt_sources
        source, event = refusal.source, refusal.event
        # Only who owns the topic is told: a forged refusal would make a till give up.
        is_own = source is not None and _topic_source(delivery) == source
        if is_own and source is not None and event is not None and source in asks:
            self._tell_source(source, event, outcome="refused")


def event_source(event: Event, screen: str | None) -> str:
    """Returns in whose name an event's id is unique: its source's, or the screen's own."""
    return event.source if screen is None else f"screen/{screen}"


def _topic_source(delivery: Delivery) -> str | None:
    levels = delivery.topic.split("/")
    if len(levels) != _EVENT_LEVELS or levels[0] != topics.STORE_LEVEL:
        return None
    return levels[-1] if levels[_KIND_LEVEL] == "event" else None


def _is_reply_topic(topic: str | None, store: str) -> bool:
    """Whether an answer may go there: never where screens, tills, staff or HQ listen."""
    if topic is None or not 0 < len(topic) <= REPLY_TOPIC_MAX or not topic.isprintable():
        return False
    if any(character in topic for character in "+#") or topic.startswith("$"):
        return False
    if topic.partition("/")[0] not in {"store", "hq"}:
        return True
    own = (f"store/{store}/reply/", f"store/{store}/recommend/reply/")
    return topic.startswith(own)
