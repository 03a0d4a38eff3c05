"""Messages of the store that are no events: requests, requests for offers, staff's answers."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Final

from edge_agent.domain.decisions import Cause
from edge_agent.domain.ids import TeamId
from edge_agent.domain.inputs import Asked, OfferAsked, StaffAnswered
from edge_agent.domain.time import MINUTE_MS
from edge_agent.ingest.decode import (
    Refusal,
    decode_offer_request,
    decode_request,
    decode_staff_feedback,
)
from edge_agent.ingest.ordering import mark_of
from edge_agent.runner.steps import OWN_ERROR, HalfApplied
from edge_agent.wire import topics

if TYPE_CHECKING:
    from edge_agent.domain.inputs import Input
    from edge_agent.ports import Delivery
    from edge_agent.runner.open_batch import OpenBatch
    from edge_agent.runner.people import People
    from edge_agent.runner.settings import RoadSettings
    from edge_agent.wire.offers import OfferRequest
    from edge_agent.wire.screens import RecommendRequest

log = logging.getLogger(__name__)

# Level of `store/{store}/staff/{team}/feedback`.
_TEAM_LEVEL: Final = 3
REPLY_TOPIC_MAX: Final = 512


class StoreMessages:
    """Takes such messages into the batch that is open."""

    def __init__(self, settings: RoadSettings, batch: OpenBatch, people: People) -> None:
        self._settings = settings
        self._present = batch.present
        self._marks = batch.marks
        self._steps = batch.steps
        self._refusals = batch.refusals
        self._counters = batch.counters
        self._people = people

    def take_request(self, delivery: Delivery) -> None:
        """Takes in a request for recommendations; one that is repeated is not answered again."""
        request = decode_request(delivery.payload, max_bytes=self._settings.max_message_bytes)
        if isinstance(request, Refusal):
            self._refusals.refuse(delivery, request)
            return
        if not _is_reply_topic(delivery.response_topic, self._settings.store):
            detail = "a request needs a response topic such as store/{store}/reply/{you}"
            refusal = Refusal(reason="invalid", detail=detail, source=request.source)
            self._refusals.refuse(delivery, refusal)
            return
        correlation, now_ms = delivery.correlation, self._present.now_ms
        identity = request.id or (correlation.hex() if correlation else f"at-{now_ms}")
        # Correlation data is counted anew after a kiosk's restart: it tells repeats of a minute.
        minute = "" if request.id is not None else f"/{now_ms // MINUTE_MS}"
        mark = mark_of(f"request/{request.source}{minute}", identity)
        if self._marks.has_seen(mark):
            self._counters["duplicates"] += 1
            return
        self._marks.add(mark, now_ms=now_ms)
        self._counters["requests"] += 1
        self._present.answer_within(request.budget_ms)
        self._run(delivery, self._asked(delivery, request, identity))

    def take_offer_request(self, delivery: Delivery) -> None:
        """Takes in a till's question about an offer; a repeated one is answered again."""
        request = decode_offer_request(
            delivery.payload, max_bytes=self._settings.max_message_bytes
        )
        if isinstance(request, Refusal):
            self._refusals.refuse(delivery, request)
            return
        own = topics.reply(self._settings.store, request.source)
        answered_to = delivery.response_topic or ""
        is_own = answered_to == own or answered_to.startswith(f"{own}/")
        if not (is_own and _is_reply_topic(answered_to, self._settings.store)):
            # Whoever hears a code's answer may be the one who guesses.
            detail = "the answer goes to store/{store}/reply/{source} or below, and nowhere else"
            refusal = Refusal(reason="invalid", detail=detail, source=request.source)
            self._refusals.refuse(delivery, refusal)
            return
        # A repeat is answered again: what it asks for is done once all the same.
        self._counters["offer_requests"] += 1
        self._run(delivery, self._offer_asked(delivery, request))

    def take_staff_feedback(self, delivery: Delivery) -> None:
        """Takes in what staff say of a call for help."""
        feedback = decode_staff_feedback(
            delivery.payload, max_bytes=self._settings.max_message_bytes
        )
        if isinstance(feedback, Refusal):
            self._refusals.refuse(delivery, feedback)
            return
        team = TeamId(topics.level(delivery.topic, _TEAM_LEVEL))
        at_ms = self._present.now_ms
        self._run(delivery, StaffAnswered(feedback=feedback, at_ms=at_ms, team=team))

    def _asked(self, delivery: Delivery, request: RecommendRequest, identity: str) -> Asked:
        day, now_ms = self._present.context.local.day, self._present.now_ms
        return Asked(
            request=request,
            cause=Cause(source=request.source, id=identity[:128]),
            response_topic=delivery.response_topic or "",
            correlation=delivery.correlation,
            subject=self._people.subject(request.visitor, day=day, now_ms=now_ms),
            basket=self._people.basket(request.basket, day=day, now_ms=now_ms),
        )

    def _offer_asked(self, delivery: Delivery, request: OfferRequest) -> OfferAsked:
        day, now_ms = self._present.context.local.day, self._present.now_ms
        mark = mark_of(f"offer/{request.source}", request.id)
        return OfferAsked(
            request=request,
            by=f"{request.source}/{mark:x}",
            response_topic=delivery.response_topic or "",
            correlation=delivery.correlation,
            basket=self._people.basket(request.basket, day=day, now_ms=now_ms),
        )

    def _run(self, delivery: Delivery, given: Input) -> None:
        try:
            self._steps.run(given, (delivery.topic, delivery.payload))
        except HalfApplied:
            raise
        except Exception as error:
            self._steps.pass_on_rot(error)
            log.exception("message_failed", extra={"fields": {"input": type(given).__name__}})
            self._refusals.refuse(delivery, Refusal(reason="failed", detail=OWN_ERROR))


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
