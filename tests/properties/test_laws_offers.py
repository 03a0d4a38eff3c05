"""A limited offer is redeemed at most once, whatever order, repeats, crashes and forgetting.

Hypothesis plays tills against a store on disk: requests and events of several tills about a few
codes, again and again, with batches that are written, fail or die before they are. A till hears an
answer only once its batch is on the disk; whatever is not acknowledged is delivered again.
Two of the codes are one person's, and one offer; who is forgotten before they were used has two,
because nothing is left that makes them one's.

A second law has a card holder gather codes on every channel, before and after it is known that the
telephone is his, and take them in any order.
"""

from __future__ import annotations

import json
import shutil
import tempfile
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Final

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule
from typing_extensions import override

from edge_agent.domain.effects import Effect, GiveOffer, Step
from edge_agent.domain.ids import CampaignId, DecisionId, ProductId, VisitorId
from edge_agent.domain.offers import offer_from
from edge_agent.domain.rules import Campaign, Rules
from edge_agent.domain.time import SECOND_MS
from edge_agent.ingest.ordering import mark_of
from edge_agent.wire.events import Event, OfferRedeemed
from edge_agent.wire.offers import OfferReply, OfferRequest
from tests.factories import (
    CARD,
    PHONE,
    T0,
    at,
    entered,
    event,
    granted,
    ref,
    request,
    scanned_card,
    till,
    world,
)
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
OTHER: Final = "AC:23:3F:A0:11:33"
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
        # The codes of one person, by their numbers.
        self.one_offer: list[set[int]] = [{0, 1}, {2}]
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
        """Two codes to one visitor, and one to another that is over soon."""
        for n, who in enumerate((PHONE, PHONE, OTHER)):
            self.disk.take(entered("entrance", n, who=who))
            phone = self.disk.visitor("ble", who)
            assert phone is not None
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
        for asked, reply in self.answers:
            if asked.action == "redeem" and reply.outcome == "good":
                self.took[asked.code].add((asked.source, asked.id))
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
        """The visitors are forgotten: what was promised holds, and not that it was they."""
        self.write()
        offers = [self.disk.state.offer(mark) for mark in self.marks]
        if not all(each is not None and each.redeemed for each in offers[:2]):
            self.one_offer = [{0}, {1}, {2}]
        self.disk.unit.erase([("DELETE FROM visitor", ())])
        self.disk.unit.commit()

    @invariant()
    def each_code_was_taken_once(self) -> None:
        """One request at most heard good of an offer, and each offer is counted once at most."""
        offers = [self.disk.state.offer(mark) for mark in self.marks]
        used = {n for n, each in enumerate(offers) if each is not None and each.redeemed}
        for numbers in self.one_offer:
            heard = [who for n in sorted(numbers) for who in self.took[self.codes[n]]]
            assert len(heard) <= 1, heard
        n_used = sum(bool(each & used) for each in self.one_offer)
        assert self.disk.state.campaign_uses(CAMPAIGN.id).redeemed == n_used
        taken = {code for code, who in self.took.items() if who} | self.said
        assert {self.codes.index(code) for code in taken} <= used

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


class Shopper:
    """A card holder with a telephone, and what codes they were told; an oracle of their use."""

    def __init__(self, audience: str) -> None:
        self.heard = world(audience="private")
        # The kiosk stays his own; who sees the screens is another matter.
        self.heard.layout = world(audience=audience).layout
        offer = replace(CAMPAIGN, value=1_000.0, redeem_within_s=9_000)
        self.heard.rules = Rules(version="r", campaigns=(offer,))
        self.heard.take(granted(0))
        self.is_one = False
        # By code: of what it was said to, and when; of what one was used, and when.
        self.given: dict[str, tuple[str, int]] = {}
        self.used: list[tuple[str, int]] = []
        self.gone: set[str] = set()

    def hear(self, name: str, effects: Iterable[Effect]) -> None:
        """Takes down the codes of what was said."""
        for each in self.heard.published(effects):
            for item in json.loads(each.payload).get("items", ()):
                code = (item.get("offer") or {}).get("code")
                if code is not None:
                    assert code not in self.gone, "a code is told that no till takes"
                    self.given.setdefault(code, (name, self.heard.now_ms))

    def may_take(self, code: str) -> bool:
        """Returns whether nothing that was known as the same person used it since it was given."""
        name, given_ms = self.given[code]
        return not any(
            at_ms > given_ms and (self.is_one or who == name) for who, at_ms in self.used
        )

    def take(self, code: str, n: int) -> None:
        """Has a till ask for a code; holds its answer against what it must be."""
        body = {"source": "pos-1", "id": f"r{n}", "action": "redeem", "code": code}
        told = self.heard.ask_about(OfferRequest.model_validate_json(json.dumps(body)))
        assert told.outcome == ("good" if self.may_take(code) else "used")
        if told.outcome == "good":
            self.used.append((self.given[code][0], self.heard.now_ms))
        self.gone.add(code)


N_TRIED: Final = 6
STEPS: Final = st.one_of(
    st.tuples(st.just("walk"), st.sampled_from(("dairy", "bakery", "wine"))),
    st.tuples(st.sampled_from(("card", "receipt", "link")), st.just("")),
    st.tuples(st.just("take"), st.integers(0, N_TRIED - 1)),
)


@given(st.lists(STEPS, min_size=3, max_size=14), st.sampled_from(("public", "private")))
def test_whatever_codes_a_person_gathers_his_offer_is_taken_once(
    story: Sequence[tuple[str, str | int]], audience: str
) -> None:
    """Of codes that were open at once one is good, once it is known that all are his.

    In the end that is known, and he tries every code that he has.
    """
    story = [*story, ("link", ""), *(("take", k) for k in range(N_TRIED))]
    shopper = Shopper(audience)
    heard = shopper.heard
    for n, (what, which) in enumerate(story, start=1):
        seconds = 120 * n
        heard.tick(at(seconds))
        if what == "walk":
            shopper.hear("phone", heard.take(entered(str(which), seconds)))
        elif what == "card":
            asking = request(zone="bakery", visitor=ref("loyalty", CARD))
            shopper.hear("card", heard.ask(asking, cause=f"k{n}"))
        elif what == "receipt":
            heard.take(scanned_card(seconds, basket=f"b{n}"))
            line = till("basket.item_added", seconds, product="d1", basket=f"b{n}")
            shopper.hear("card", heard.take(line))
        elif what == "link":
            heard.take(till("basket.opened", seconds, basket=f"b{n}", visitor=ref()))
            heard.take(scanned_card(seconds, basket=f"b{n}"))
            shopper.is_one = True
        elif shopper.given:
            codes = sorted(shopper.given)
            shopper.take(codes[int(which) % len(codes)], n)
