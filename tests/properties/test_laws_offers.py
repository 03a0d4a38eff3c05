"""A limited offer is redeemed at most once, whatever order, repeats, crashes and forgetting.

Hypothesis plays tills against a store on disk: requests and events of several tills about a few
codes, again and again, with batches that are written, fail or die before they are. A till hears an
answer only once its batch is on the disk; whatever is not acknowledged is delivered again.
"""

from __future__ import annotations

import json
import shutil
import tempfile
from collections import defaultdict
from pathlib import Path
from typing import Final

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule
from typing_extensions import override

from edge_agent.domain.effects import GiveOffer, Step
from edge_agent.domain.ids import CampaignId, DecisionId, ProductId, VisitorId
from edge_agent.domain.offers import offer_from
from edge_agent.domain.rules import Campaign
from edge_agent.domain.time import SECOND_MS
from edge_agent.ingest.ordering import mark_of
from edge_agent.wire.events import Event, OfferRedeemed
from edge_agent.wire.offers import OfferReply, OfferRequest
from tests.factories import PHONE, T0, entered, event, world
from tests.fakes import OFFER_KEY
from tests.properties.test_laws_state_store import DiskWorld

CAMPAIGN: Final = Campaign(
    id=CampaignId("c1"),
    starts_at_ms=T0,
    ends_at_ms=T0 + 10_000 * SECOND_MS,
    products=frozenset({ProductId("d0")}),
    text="A third off",
    redeem_within_s=1_000,
)
N_CODES: Final = 3
TILLS: Final = ("pos-1", "pos-2")
BASKETS: Final = (None, "b1", "b2")
Told = OfferRequest | Event


class TillDay(RuleBasedStateMachine):
    """Tills that ask, take, tell and repeat."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = Path(tempfile.mkdtemp(prefix="edge-agent-law-"))
        self.disk = DiskWorld(self.folder / "state.db", world())
        self.codes: list[str] = []
        self.marks: list[str] = []
        # What the open batch was told, and what it would answer.
        self.batch: list[Told] = []
        self.answers: list[tuple[OfferRequest, OfferReply]] = []
        # By code: who heard that his request to take it was good.
        self.took: dict[str, set[tuple[str, str]]] = defaultdict(set)
        self.said: set[str] = set()

    @override
    def teardown(self) -> None:
        """Leaves nothing behind."""
        self.disk.connection.close()
        shutil.rmtree(self.folder)

    @initialize()
    def give(self) -> None:
        """Three offers to one visitor; the last is over soon."""
        self.disk.take(entered("entrance", 0))
        phone = self.disk.visitor("ble", PHONE)
        assert phone is not None
        for n in range(N_CODES):
            self._give(n, phone.id)
        self.write()

    def _give(self, n: int, visitor: VisitorId) -> None:
        given = offer_from(
            CAMPAIGN,
            decision=DecisionId(f"decision-{n}"),
            products=(ProductId("d0"),),
            visitor=visitor,
            now_ms=T0 - n * 400 * SECOND_MS,
            key=OFFER_KEY,
        )
        assert given is not None
        self.codes.append(given.code)
        self.marks.append(given.offer.mark)
        self.disk._apply(Step((), (GiveOffer(offer=given.offer),)))

    @rule(
        n=st.integers(0, N_CODES - 1),
        till=st.sampled_from(TILLS),
        request=st.integers(1, 3),
        action=st.sampled_from(("check", "redeem", "redeem")),
        basket=st.sampled_from(BASKETS),
    )
    def ask(self, n: int, till: str, request: int, action: str, basket: str | None) -> None:
        """A till asks; the same request again is a repeat."""
        body = {"source": till, "id": f"r{request}", "action": action, "code": self.codes[n]}
        self._tell(OfferRequest.model_validate_json(json.dumps({**body, "basket": basket})))

    @rule(
        n=st.integers(0, N_CODES - 1),
        till=st.sampled_from(TILLS),
        number=st.integers(1, 3),
        basket=st.sampled_from(BASKETS),
    )
    def tell(self, n: int, till: str, number: int, basket: str | None) -> None:
        """A till says that it took a code; events come again too."""
        told = {"campaign": "c1", "code": self.codes[n]}
        if basket is not None:
            told["basket"] = basket
        name = f"e{number}-{n}-{basket}"
        self._tell(event("offer.redeemed", 1, source=till, event_id=name, **told))

    @rule(seconds=st.sampled_from((1, 150, 700)))
    def wait(self, seconds: int) -> None:
        """Time passes."""
        self.disk.now_ms += seconds * SECOND_MS

    @rule()
    def write(self) -> None:
        """The batch is on the disk: its answers go out."""
        self.disk.unit.commit()
        for request, reply in self.answers:
            if request.action == "redeem" and reply.outcome == "good":
                self.took[request.code].add((request.source, request.id))
        for each in self.batch:
            if isinstance(each, OfferRedeemed) and each.data.code is not None:
                self.said.add(each.data.code)
        self.batch, self.answers = [], []

    @rule(is_crash=st.booleans())
    def fail(self, *, is_crash: bool) -> None:
        """The batch is lost, and told again."""
        if is_crash:
            self.disk.connection.close()
            self.disk.connect(self.disk.layout, self.disk)
        else:
            self.disk.unit.roll_back()
        again, self.batch, self.answers = self.batch, [], []
        self.disk._marks.clear()
        for each in again:
            self._tell(each)

    @rule()
    def restart(self) -> None:
        """The agent ends in order and starts again."""
        self.write()
        self.disk.connection.close()
        self.disk.connect(self.disk.layout, self.disk)
        self.disk._marks.clear()

    @rule()
    def forget(self) -> None:
        """The visitor is forgotten: what he was promised holds, and not that it was he."""
        self.write()
        self.disk.unit.erase([("DELETE FROM visitor", ())])
        self.disk.unit.commit()

    @invariant()
    def each_code_was_taken_once(self) -> None:
        """One request at most heard good, and each code is counted once at most."""
        for code, who in self.took.items():
            assert len(who) == 1, code
        offers = [self.disk.state.offer(mark) for mark in self.marks]
        used = [each for each in offers if each is not None and each.redeemed is not None]
        assert self.disk.state.campaign_uses(CAMPAIGN.id).redeemed == len(used)
        taken = {code for code, who in self.took.items() if who} | self.said
        marks = dict(zip(self.codes, self.marks, strict=True))
        assert {marks[code] for code in taken} <= {each.mark for each in used}

    def _tell(self, told: Told) -> None:
        self.batch.append(told)
        if isinstance(told, OfferRequest):
            self.answers.append((told, self.disk.ask_about(told)))
            return
        mark = mark_of(told.source, told.id)
        if self.disk.seen(mark):
            return
        arrival = self.disk.arrival(told)
        if arrival is not None:
            self.disk.unit.add("inbox", (arrival.tie, 0))
            self.disk.run(arrival)


TestTillDay = TillDay.TestCase
TestTillDay.settings = settings(
    max_examples=max(10, settings.default.max_examples // 2) if settings.default else 20,
    stateful_step_count=30,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
)
