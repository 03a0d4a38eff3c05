"""What somebody says of one channel alone: where it holds, and for whom."""

from __future__ import annotations

import json
from typing import Any

import pytest

from edge_agent.domain.decisions import Decision
from edge_agent.domain.effects import Confirm
from edge_agent.ingest.decode import Refusal, decode_events
from edge_agent.replay.again import Knowledge
from edge_agent.replay.verification import Verifier
from edge_agent.wire.events import Event
from tests.factories import (
    CARD,
    at,
    command,
    entered,
    event,
    granted,
    ref,
    request,
    sale,
    scanned_card,
    till,
    world,
)
from tests.fakes import World

CARD_HOLDER = ref("loyalty", CARD)


def said(yes_or_no: str, seconds: float, *only_on: str, **data: Any) -> Event:
    """Returns the card holder's word on marketing, on some channels or on all."""
    kind = "consent.granted" if yes_or_no == "yes" else "consent.withdrawn"
    whole = {"visitor": CARD_HOLDER, "purposes": ["marketing"], **data}
    if only_on:
        whole["only_on"] = list(only_on)
    return event(kind, seconds, source="desk", **whole)


def rung_up(heard: World) -> list[Decision]:
    """Returns what is decided while the card holder's basket is rung up."""
    heard.take(granted(-60, purposes=("personal_recommendations",)))
    heard.take(till("basket.opened", 0, visitor=ref()), scanned_card(1))
    found = heard.take(till("basket.item_added", 2, product="d0", visitor=ref()))
    return [each for each in heard.decisions(found) if each.moment.place.channel == "receipt"]


def on_screen(heard: World, seconds: float) -> Decision:
    """Returns what is decided as the card holder's telephone comes before a screen."""
    (decision,) = heard.decisions(heard.take(entered("dairy", seconds)))
    return decision


def gates(decision: Decision) -> list[str]:
    """Returns the gates that ruled everything out."""
    return [each.gate for each in decision.suppressions if each.product == "*"]


def test_a_no_to_the_screens_leaves_the_receipt() -> None:
    """He said it as a card holder: his telephone, taken for him, has it too."""
    heard = world(audience="private")
    heard.take(said("no", -59, "screen"))
    (receipt,) = rung_up(heard)
    assert receipt.chosen
    assert gates(on_screen(heard, 10)) == ["refused"]


def test_a_no_to_the_receipt_leaves_the_screens() -> None:
    """And the other way round."""
    heard = world(audience="private")
    heard.take(said("no", -59, "receipt"))
    (receipt,) = rung_up(heard)
    assert (receipt.chosen, gates(receipt)) == ((), ["refused"])
    assert on_screen(heard, 10).chosen


def test_a_card_that_allows_nothing_still_silences_its_receipt() -> None:
    """Nobody is known to carry the basket, and its card's holder refused: that is all he said."""
    heard = world()
    heard.take(said("no", -59, "receipt"), till("basket.opened", 0), scanned_card(1))
    found = heard.decisions(heard.take(till("basket.item_added", 2, product="d0")))
    assert [gates(each) for each in found] == [["refused"]]


def test_a_no_to_marketing_is_a_no_everywhere() -> None:
    """Without a channel it is about all of them."""
    heard = world(audience="private")
    heard.take(said("no", -59))
    (receipt,) = rung_up(heard)
    assert gates(receipt) == gates(on_screen(heard, 10)) == ["refused"]


def test_a_no_by_e_mail_silences_nothing_in_the_store() -> None:
    """It is kept and told; e-mails are sent by others."""
    heard = world(audience="private")
    heard.take(said("no", -59, "e-mail"))
    assert rung_up(heard)[0].chosen
    assert on_screen(heard, 10).chosen


def test_the_word_empties_the_screen_that_it_is_about() -> None:
    """At once: what he sees is given back to the store."""
    heard = world(audience="private")
    rung_up(heard)
    assert on_screen(heard, 10).chosen
    (decision,) = heard.decisions(heard.take(said("no", 11, "screen")))
    assert decision.moment.kind == "store_default"


@pytest.mark.parametrize(
    ("words", "is_silent"),
    [
        (("no screen", "yes"), True),
        (("no screen", "yes screen"), False),
        (("no", "yes screen"), False),
        (("yes screen", "no"), True),
        (("yes", "no receipt"), False),
    ],
)
def test_a_no_to_a_channel_is_lifted_by_a_yes_to_it(
    words: tuple[str, ...], *, is_silent: bool
) -> None:
    """A yes to everything, ticked in passing, lifts it not."""
    heard = world(audience="private")
    for n, each in enumerate(words):
        yes_or_no, _, channel = each.partition(" ")
        heard.take(said(yes_or_no, n - 50, *filter(None, (channel,))))
    rung_up(heard)
    assert gates(on_screen(heard, 10)) == (["refused"] if is_silent else [])


@pytest.mark.parametrize(("first", "is_silent"), [("no", True), ("yes", False)])
def test_a_yes_that_ran_out_leaves_what_was_said_before(first: str, *, is_silent: bool) -> None:
    """It is no refusal, and it lifts the one before it only while it lasts."""
    heard = world(audience="private")
    heard.take(said(first, -50))
    heard.take(said("yes", -40, expires_at="2017-12-02T15:00:05Z"))
    rung_up(heard)
    assert on_screen(heard, 3).chosen
    heard.tick(at(9))
    assert gates(on_screen(heard, 10)) == (["refused"] if is_silent else [])


def test_a_history_is_used_on_no_channel_that_was_excepted() -> None:
    """Personal recommendations are refused on screens alone: there he is a stranger."""
    heard = world(audience="private")
    heard.take(granted(-60, purposes=("personal_recommendations", "profiling")))
    heard.take(till("basket.opened", 0, visitor=ref()), scanned_card(1))
    heard.take(sale(2, "d5", visitor=ref()))
    assert _has_history(on_screen(heard, 200))
    no: dict[str, Any] = {"visitor": CARD_HOLDER, "purposes": ["personal_recommendations"]}
    heard.take(event("consent.withdrawn", 201, source="desk", **no, only_on=["screen"]))
    plain = on_screen(heard, 202)
    assert plain.chosen
    assert not _has_history(plain)


def test_a_reply_is_refused_with_any_device_that_may_have_asked() -> None:
    """Of who asked it is not known whether that is an app, a handheld or a screen."""
    heard = world()
    rung_up(heard)
    asked = {"visitor": CARD_HOLDER}
    assert heard.decisions(heard.ask(request(**asked)))[0].chosen
    heard.take(said("no", 20, "app"))
    assert gates(heard.decisions(heard.ask(request(**asked)))[0]) == ["refused"]


@pytest.mark.parametrize(
    ("asker", "answered_to", "refused_on", "is_silent"),
    [
        ("app-1", "app-1", "app", True),
        ("app-1", "app-1/phone-7", "app", True),
        ("app-1", "app-1", "screen", False),
        ("app-1", "app-1", "handheld", False),
        ("totem-1", "totem-1", "screen", True),
        ("totem-1", "totem-1", "app", False),
        ("app-1", "totem-1", "screen", True),
        ("app-1", "app-10", "screen", True),
        ("kiosk-1", "kiosk-1", "handheld", True),
    ],
)
def test_a_no_to_a_channel_refuses_the_devices_of_that_channel(
    asker: str, answered_to: str, refused_on: str, *, is_silent: bool
) -> None:
    """Where the answer goes to the device's own topic; a name that is claimed binds nothing."""
    heard = world()
    rung_up(heard)
    heard.take(said("no", 20, refused_on))
    asked = request(source=asker, visitor=CARD_HOLDER)
    (decision,) = heard.decisions(heard.ask(asked, answered_to=answered_to))
    assert gates(decision) == (["refused"] if is_silent else [])


def test_a_device_is_told_in_the_record_and_comes_out_again() -> None:
    """A replay takes the decision for the same device; who has no channel has none there."""
    heard = world()
    rung_up(heard)
    places = {}
    for name in ("app-1", "kiosk-1"):
        asked = request(source=name, visitor=CARD_HOLDER)
        (decision,) = heard.decisions(heard.ask(asked, cause=name))
        verifier = Verifier(
            Knowledge(
                scorer=heard.scorer,
                catalogue=heard.catalogue,
                departments=heard.catalogue.departments,
                policy=heard.policy,
            )
        )
        assert verifier.differences(decision.id, decision.record) == []
        places[name] = json.loads(decision.record)["place"].get("device")
    assert places == {"app-1": "app", "kiosk-1": None}


def test_hq_s_word_on_a_channel_is_obeyed() -> None:
    """HQ may tighten at once, on one channel too."""
    heard = world(audience="private")
    rung_up(heard)
    body = {
        "visitor": CARD_HOLDER,
        "action": "withdraw",
        "purposes": ["marketing"],
        "stated_at": "2017-12-02T15:00:05Z",
        "only_on": ["screen"],
    }
    heard.tick(at(6))
    (confirm,) = (
        each for each in heard.command(command("consent", body)) if isinstance(each, Confirm)
    )
    assert confirm.reason is None
    assert gates(on_screen(heard, 10)) == ["refused"]


@pytest.mark.parametrize(
    ("kind", "only_on", "is_taken"),
    [
        ("consent.granted", [], False),
        ("consent.granted", ["pigeon"], False),
        ("consent.granted", ["screen"], True),
        ("consent.withdrawn", [], True),
    ],
)
def test_a_yes_to_no_channel_is_no_yes_to_all(
    kind: str, only_on: list[str], *, is_taken: bool
) -> None:
    """A device that lists nothing grants nothing; a no that lists nothing is about everything."""
    document = {
        "specversion": "1.0",
        "id": "n1",
        "source": "desk",
        "type": kind,
        "data": {"visitor": CARD_HOLDER, "purposes": ["marketing"], "only_on": only_on},
    }
    (found,) = decode_events(json.dumps(document).encode(), max_bytes=10_000)
    assert isinstance(found, Refusal) is not is_taken


def test_a_basis_that_is_nobody_s_own_word_is_refused() -> None:
    """An interest of the store's is no statement of a person."""
    whole = {"visitor": CARD_HOLDER, "purposes": ["marketing"], "basis": "dpv:LegitimateInterest"}
    document = {"specversion": "1.0", "id": "n1", "source": "desk", "type": "consent.granted"}
    payload = json.dumps({**document, "data": whole}).encode()
    (found,) = decode_events(payload, max_bytes=10_000)
    assert isinstance(found, Refusal)


def _has_history(decision: Decision) -> bool:
    return bool(json.loads(decision.record)["request"]["history"])
