"""Forgetting somebody leaves the state as if he had never been, whatever he and others did.

Two shops live through the same random day, one without him. After he is forgotten in the one,
every table says what the other's says: of what is told of nobody, such as the default that a
screen showed when he left, only that it is told of nobody.
"""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path
from typing import Any, Final

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from edge_agent.domain.time import SECOND_MS
from edge_agent.shell import erasing
from edge_agent.shell.person import find_person
from edge_agent.wire.base import VisitorRef
from edge_agent.wire.events import Event
from tests.factories import (
    complained,
    entered,
    event,
    granted,
    left,
    lifted,
    presence,
    ref,
    sale,
    scanned_card,
    till,
    withdrawn,
    world,
)
from tests.properties.test_laws_state_store import DiskWorld

HIS_PHONES: Final = ("AC:23:3F:A0:11:01", "AC:23:3F:A0:11:02")
OTHERS: Final = ("AC:23:3F:A0:11:08", "AC:23:3F:A0:11:09")
HIS_CARD: Final = "6400000009005"
OTHER_CARD: Final = "6400000009999"
# A visitor's own rows, and what follows from them; each without ids that are counted up.
TABLES: Final = (
    "SELECT * FROM visitor",
    "SELECT * FROM link",
    "SELECT * FROM consent",
    "SELECT * FROM complaint",
    "SELECT * FROM visit",
    "SELECT visit, at_ms, tie, kind, zone, product, dwell_ms FROM mark",
    "SELECT * FROM zone_stay",
    "SELECT * FROM basket",
    "SELECT * FROM basket_line",
    "SELECT * FROM sale",
    "SELECT * FROM sale_line",
    "SELECT * FROM decision WHERE visitor IS NOT NULL",
    "SELECT o.* FROM outcome o JOIN decision d ON d.id = o.decision WHERE d.visitor IS NOT NULL",
)

Act = tuple[str, bool, int, str, int]
ACTS: Final = st.lists(
    st.tuples(
        st.sampled_from(
            ("enter", "leave", "lift", "end", "open", "add", "card", "sale", "grant", "withdraw",
             "complain", "settle", "wait")
        ),
        st.booleans(),
        st.integers(0, 1),
        st.sampled_from(("dairy", "exit")),
        st.sampled_from((1, 20, 700)),
    ),
    min_size=5,
    max_size=40,
)  # fmt: skip


def made_from(act: Act, n: int, at_s: float) -> Event:
    """Returns what somebody does; a basket names whose it is, so nobody is guessed."""
    kind, is_he, which, zone, _ = act
    phone = (HIS_PHONES if is_he else OTHERS)[which]
    card = HIS_CARD if is_he else OTHER_CARD
    basket = f"{'his' if is_he else 'theirs'}-{which}"
    own = {"visitor": ref("ble", phone)}
    made = {
        "enter": lambda: entered(zone, at_s, who=phone),
        "leave": lambda: left(zone, at_s, who=phone),
        "lift": lambda: lifted("d0", at_s, who=phone, zone=zone),
        "end": lambda: presence("visit.ended", at_s, who=phone),
        "open": lambda: till("basket.opened", at_s, basket=basket, **own),
        "add": lambda: till("basket.item_added", at_s, basket=basket, product="d1", **own),
        "card": lambda: scanned_card(at_s, basket=basket, card=card),
        "sale": lambda: sale(at_s, "d0", basket=basket, **own),
        "grant": lambda: granted(at_s, card=card),
        "withdraw": lambda: withdrawn(at_s, card=card),
        "complain": lambda: complained(at_s, who=ref("loyalty", card), case=f"c-{is_he}"),
        "settle": lambda: complained(
            at_s, who=ref("loyalty", card), case=f"c-{is_he}", opened=False
        ),
        "wait": lambda: event("people.counted", at_s, source="door", entries=0, exits=0),
    }[kind]()
    return made.model_copy(update={"id": f"h{n}"})


class Shop:
    """A store on disk, and the day it lives through."""

    def __init__(self, folder: Path, name: str) -> None:
        self.like = world(visit_timeout_s=600)
        self.disk = DiskWorld(folder / f"{name}.db", self.like)

    def live(self, acts: list[Act], *, without_him: bool) -> None:
        """Takes in what happens, each in a batch of its own."""
        now_ms = self.like.now_ms
        for n, act in enumerate(acts):
            now_ms += act[-1] * SECOND_MS
            self.disk.now_ms = now_ms
            self.disk.tick(now_ms)
            if not (without_him and act[1]):
                at_s = (now_ms - self.like.now_ms) / SECOND_MS
                self.disk.take(made_from(act, n, at_s))
            self.disk.unit.commit()

    def forget_him(self) -> None:
        """Deletes whatever any of his identifiers leads to."""
        disk = self.disk
        day = "2017-12-02"
        references = [
            VisitorRef(kind="loyalty", value=HIS_CARD),
            *(VisitorRef(kind="ble", value=phone) for phone in HIS_PHONES),
            # A card without a consent leaves no trace: such a basket is his by its number alone.
            *(VisitorRef(kind="basket", value=f"his-{n}") for n in range(2)),
        ]
        for reference in references:
            subject = disk.people.subject(reference, day=day)
            assert subject is not None
            person = find_person(disk.unit.query, (subject,), state=disk.store, policy=disk.policy)
            disk.unit.erase(
                erasing.statements_for(
                    person, query=disk.unit.query, words=(), period_ms=disk.period_ms
                )
            )
            disk.unit.commit()

    def told(self) -> list[set[Any]]:
        """Returns the rows of every table."""
        return [set(self.disk.connection.execute(query).fetchall()) for query in TABLES]


@settings(
    max_examples=max(20, settings.default.max_examples // 2) if settings.default else 25,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
)
@given(acts=ACTS)
def test_forgotten_is_as_if_never_been(acts: list[Act]) -> None:
    """Whatever happened, in whatever order: what is left is what others alone would have left."""
    folder = Path(tempfile.mkdtemp(prefix="edge-agent-law-"))
    try:
        with_him, without_him = Shop(folder, "with"), Shop(folder, "without")
        with_him.live(acts, without_him=False)
        without_him.live(acts, without_him=True)
        with_him.forget_him()
        assert with_him.told() == without_him.told()
        for shop in (with_him, without_him):
            shop.disk.connection.close()
    finally:
        shutil.rmtree(folder)


def test_a_forgotten_carrier_s_basket_is_in_nobody_s_profile(tmp_path: Path) -> None:
    """His basket, paid with another's card: the card holder keeps the sale, and not its number."""
    shop = Shop(tmp_path, "borrowed")
    disk = shop.disk
    disk.tick(shop.like.now_ms + 300 * SECOND_MS)
    disk.take(granted(-60, card=OTHER_CARD))
    # One card with two people's baskets at once makes neither of them known.
    for number, phone in (("his-0", HIS_PHONES[0]), ("theirs-0", OTHERS[0])):
        own = {"visitor": ref("ble", phone)}
        disk.take(
            till("basket.opened", 1, basket=number, **own),
            scanned_card(2, basket=number, card=OTHER_CARD),
            sale(3, "d0", basket=number, **own),
        )
    disk.unit.commit()
    numbers = {each: disk.basket(each) for each in ("his-0", "theirs-0")}
    his, theirs = (str(each.id) for each in numbers.values() if each is not None)
    assert his in profiles_of(disk)
    shop.forget_him()
    assert his not in profiles_of(disk)
    assert theirs in profiles_of(disk)
    card = disk.visitor("loyalty", OTHER_CARD)
    assert card is not None
    assert [each.basket for each in card.profile.purchases] == [theirs]


def profiles_of(disk: DiskWorld) -> str:
    """Returns all profiles as they lie in the database."""
    return str(disk.connection.execute("SELECT profile FROM visitor").fetchall())
