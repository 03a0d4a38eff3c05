"""Links: who a visitor turned out to be, when that ends, and what conflicting links make of it."""

from __future__ import annotations

import json
from typing import Any

from edge_agent.domain.effects import Effect, SendToHq
from edge_agent.domain.ids import VisitorId
from edge_agent.domain.time import DAY_MS
from edge_agent.wire.events import Event
from edge_agent.wire.staff import StaffAlert
from tests.factories import (
    CARD,
    PHONE,
    at,
    command,
    complained,
    entered,
    event,
    granted,
    ref,
    sale,
    scanned_card,
    till,
    withdrawn,
    world,
)
from tests.fakes import World

OTHER_CARD = "6400000000002"


def linked(heard: World, start: float = 0, *, phone: str = PHONE, card: str = CARD) -> None:
    """Has a phone's carrier show a card with a basket of his."""
    basket = f"b-{phone}-{card}-{start}"
    heard.take(
        till("basket.opened", start, basket=basket, visitor=ref("ble", phone)),
        scanned_card(start + 1, card=card, basket=basket),
    )
    heard.tick(at(start + 1))


def card_of(heard: World, card: str = CARD) -> VisitorId:
    """Returns a card holder's id."""
    found = heard.visitor("loyalty", card)
    assert found is not None
    return found.id


def consenting(*cards: str) -> World:
    """Returns a store in which these card holders consented."""
    heard = world()
    heard.take(*(granted(-60, card=card) for card in cards or (CARD,)))
    return heard


def test_a_link_says_what_it_rests_on() -> None:
    """Kind, both sides, since when, basis, source and how sure."""
    heard = consenting()
    linked(heard)
    phone = heard.visitor("ble", PHONE)
    assert phone is not None
    (link,) = phone.links
    assert (link.kind, link.of, link.visitor) == ("ble", phone.id, card_of(heard))
    assert (link.since_ms, link.until_ms, link.basis) == (at(1), None, "consent")
    assert (link.source, link.confidence) == ("pos-1", 1.0)
    assert heard.person_behind("ble", PHONE) == card_of(heard)


def test_one_late_entry_tells_of_both_baskets_at_the_register() -> None:
    """Two cards with the baskets of one who stood there, told last or first: neither's phone."""
    heard = consenting(CARD, OTHER_CARD)
    heard.tick(at(60))
    heard.take(
        till("basket.opened", 10, basket="x"),
        scanned_card(11, basket="x"),
        till("basket.opened", 40, basket="y"),
        scanned_card(41, card=OTHER_CARD, basket="y"),
        entered("checkout", 0),
    )
    phone = heard.visitor("ble", PHONE)
    assert phone is not None
    assert [link.since_ms for link in phone.links] == [at(11), at(41)]
    assert heard.person_behind("ble", PHONE) is None


def test_evidence_outlives_its_basket() -> None:
    """A link whose basket was kept long enough, or is lost, still tells whom it leads to."""
    heard = consenting()
    linked(heard)
    heard.take(complained(10))
    heard.memory.baskets.clear()
    heard.take(till("basket.opened", 200, basket="next", visitor=ref()))
    assert heard.person_behind("ble", PHONE) == card_of(heard)
    assert heard.is_silenced("ble", PHONE)
    heard.unlink("ble", PHONE)
    heard.take(till("basket.item_added", 210, product="d0", basket="next", visitor=ref()))
    assert not heard.is_silenced("ble", PHONE)


def test_a_withdrawal_ends_the_link_and_a_later_grant_begins_no_old_one() -> None:
    """Un-merged at the withdrawal; known again only when the card is read again."""
    heard = consenting()
    linked(heard)
    heard.take(withdrawn(10))
    assert heard.person_behind("ble", PHONE) is None
    phone = heard.visitor("ble", PHONE)
    assert phone is not None
    assert (phone.links[0].until_ms, phone.links[0].ended_by) == (at(10), "consent")
    heard.take(granted(20))
    assert heard.person_behind("ble", PHONE) is None
    linked(heard, 30)
    assert heard.person_behind("ble", PHONE) == card_of(heard)


def test_a_link_lasts_as_long_as_any_purpose_is_allowed() -> None:
    """One purpose withdrawn leaves the link to the others."""
    heard = consenting()
    linked(heard)
    heard.take(withdrawn(10, purposes=("profiling",)))
    assert heard.person_behind("ble", PHONE) == card_of(heard)


def test_a_link_ends_when_its_consent_expires() -> None:
    """Nobody needs to say a word."""
    heard = world()
    heard.take(
        event(
            "consent.granted",
            -60,
            source="desk",
            visitor=ref("loyalty", CARD),
            purposes=["profiling"],
            expires_at="2017-12-02T15:01:00Z",
        )
    )
    linked(heard)
    assert heard.person_behind("ble", PHONE) == card_of(heard)
    heard.tick(at(61))
    assert heard.person_behind("ble", PHONE) is None


def test_an_unlink_ends_what_was_seen_before_it_and_nothing_after() -> None:
    """A wrong link is gone; a card that is read later is new evidence."""
    heard = consenting()
    linked(heard)
    heard.tick(at(10))
    heard.unlink("ble", PHONE)
    assert heard.person_behind("ble", PHONE) is None
    heard.take(
        till("basket.item_added", 12, product="d0", basket=f"b-{PHONE}-{CARD}-0", visitor=ref())
    )
    assert heard.person_behind("ble", PHONE) is None
    linked(heard, 200)
    assert heard.person_behind("ble", PHONE) == card_of(heard)


def test_a_card_is_unlinked_from_every_phone() -> None:
    """By the card's own number, all of its links end."""
    heard = consenting()
    linked(heard)
    linked(heard, 100, phone="AC:23:3F:A0:11:33")
    heard.unlink("loyalty", CARD)
    assert heard.person_behind("ble", PHONE) is None
    assert heard.person_behind("ble", "AC:23:3F:A0:11:33") is None


def test_an_unlink_of_one_person_leaves_the_other() -> None:
    """Of two cards that claim a phone one may be told to be wrong; the phone is the other's."""
    heard = consenting(CARD, OTHER_CARD)
    linked(heard)
    linked(heard, 100, card=OTHER_CARD)
    assert heard.person_behind("ble", PHONE) is None
    heard.unlink("ble", PHONE, other=("loyalty", OTHER_CARD))
    assert heard.person_behind("ble", PHONE) == card_of(heard)


def test_unlinking_somebody_unknown_changes_nothing() -> None:
    """A number that the store never saw leaves no trace."""
    heard = world()
    before = heard.memory.snapshot()
    heard.unlink("loyalty", CARD)
    assert heard.memory.snapshot() == before


def test_a_card_in_two_places_at_once_makes_neither_known() -> None:
    """Two people's baskets with one card within a minute: whose it is cannot be told."""
    heard = consenting()
    linked(heard)
    linked(heard, 30, phone="AC:23:3F:A0:11:33")
    assert heard.person_behind("ble", PHONE) is None
    assert heard.person_behind("ble", "AC:23:3F:A0:11:33") is None


def test_a_family_shares_a_card_and_a_house_card_makes_nobody_known() -> None:
    """Four phones in a day are a family's; with the fifth the card is everybody's."""
    heard = consenting()
    phones = [f"AC:23:3F:A0:12:{n:02d}" for n in range(5)]
    for n, phone in enumerate(phones[:4]):
        linked(heard, 100 * n, phone=phone)
    assert {heard.person_behind("ble", phone) for phone in phones[:4]} == {card_of(heard)}
    linked(heard, 500, phone=phones[4])
    assert {heard.person_behind("ble", phone) for phone in phones} == {None}


def test_of_two_cards_read_with_a_basket_the_last_one_gets_the_sale() -> None:
    """Whichever event came first; the phone that carried it is neither's."""
    for order in ((1, 2), (2, 1)):
        heard = consenting(CARD, OTHER_CARD)
        heard.tick(at(10))
        cards = {
            1: scanned_card(1),
            2: scanned_card(2, card=OTHER_CARD),
        }
        heard.take(till("basket.opened", 0, visitor=ref()), *(cards[n] for n in order))
        basket = heard.basket("b1")
        assert basket is not None
        assert basket.member == card_of(heard, OTHER_CARD)
        assert heard.person_behind("ble", PHONE) is None


def test_a_complaint_by_phone_silences_its_card_and_still_does_after_a_withdrawal() -> None:
    """Withdrawing a consent lifts no silence: the person is the same."""
    heard = consenting()
    heard.take(complained(-10, who=ref()))
    assert not heard.is_silenced("loyalty", CARD)
    linked(heard)
    assert heard.is_silenced("loyalty", CARD)
    heard.take(withdrawn(10))
    assert heard.is_silenced("loyalty", CARD)


def test_after_an_unlink_a_strangers_complaint_silences_no_more() -> None:
    """The complaint stays with whoever made it."""
    heard = consenting()
    heard.take(complained(-10, who=ref()))
    linked(heard)
    heard.unlink("ble", PHONE)
    assert not heard.is_silenced("loyalty", CARD)
    assert heard.is_silenced("ble", PHONE)


def test_a_case_opened_by_phone_is_closed_by_card() -> None:
    """One person, one case, whichever of his identifiers is named."""
    heard = consenting()
    heard.take(complained(-10, who=ref()))
    linked(heard)
    heard.take(complained(20, opened=False))
    assert not heard.is_silenced("ble", PHONE)
    heard.take(complained(30))
    assert heard.is_silenced("ble", PHONE)


def test_a_grant_from_a_clock_that_is_ahead_does_not_outlast_a_withdrawal() -> None:
    """Four minutes ahead, and the no said now holds all the same."""
    heard = world()
    heard.take(granted(240), withdrawn(1))
    linked(heard, 300)
    assert heard.person_behind("ble", PHONE) is None


def test_hq_cannot_grant_in_the_future() -> None:
    """A statement dated ahead would outlast what is said until then."""
    heard = world()
    body = {
        "visitor": ref("loyalty", CARD),
        "action": "grant",
        "purposes": ["profiling"],
        "stated_at": "2017-12-03T15:00:00Z",
    }
    heard.command(command("consent", body))
    linked(heard)
    assert heard.person_behind("ble", PHONE) is None


def test_the_phones_own_no_is_the_stricter() -> None:
    """A no said by phone keeps the card's history off a private screen."""
    chosen = []
    for said in ((), (_phone_says_no(5),)):
        heard = world(audience="private")
        heard.take(granted(-60))
        linked(heard, -40)
        heard.take(sale(-20, "d5", visitor=ref("loyalty", CARD)))
        heard.take(*said)
        heard.tick(at(120))
        (decision,) = heard.decisions(heard.take(entered("dairy", 120)))
        chosen.append(decision.record)
    assert '"you_often_buy"' in chosen[0]
    assert '"you_often_buy"' not in chosen[1]


def test_the_phones_no_keeps_a_sale_out_of_the_profile_and_from_hq() -> None:
    """What the card allows and the phone that carried the basket refuses is not done."""
    for refused in ((), ("profiling",), ("sending_to_hq",)):
        heard = with_handle()
        heard.take(*(_phone_says_no(-50, purpose=each) for each in refused))
        linked(heard)
        found = heard.take(sale(2, "d5", basket=f"b-{PHONE}-{CARD}-0", visitor=ref()))
        member = heard.visitor("loyalty", CARD)
        assert member is not None
        assert bool(member.profile.history) == ("profiling" not in refused)
        assert bool(updates(found)) == ("sending_to_hq" not in refused)


def test_hq_hears_no_interests_of_who_is_not_to_be_profiled() -> None:
    """To work them out anew for headquarters alone would be profiling all the same."""
    heard = with_handle()
    for n in range(3):
        heard.take(till("basket.opened", 100 * n, basket=f"s{n}"))
        heard.take(scanned_card(100 * n + 1, basket=f"s{n}"))
        heard.tick(at(100 * n + 2))
        if n == 2:
            heard.take(withdrawn(201, purposes=("profiling",)))
        (update,) = updates(heard.take(sale(100 * n + 2, "d5", basket=f"s{n}")))
        assert bool(update["interests"]) == (n == 1)


def with_handle() -> World:
    """Returns a store in which a card holder consented, and HQ gave a handle for him."""
    heard = consenting()
    body = {"visitor": ref("loyalty", CARD), "reference": "crm-1"}
    heard.command(command("profile", body))
    return heard


def updates(found: list[Effect]) -> list[dict[str, Any]]:
    """Returns what HQ is to hear of customers."""
    return [json.loads(each.payload) for each in found if isinstance(each, SendToHq)]


def test_links_of_another_day_do_not_count_towards_a_house_card() -> None:
    """A customer with a new pseudonym every day is no crowd."""
    heard = consenting()
    for n in range(6):
        heard.now_ms = at(n * (DAY_MS // 1000 + 60))
        linked(heard, n * (DAY_MS // 1000 + 60))
        assert heard.person_behind("ble", PHONE) == card_of(heard)


def alerts(heard: World, found: list[Effect]) -> list[StaffAlert]:
    """Returns what staff were told."""
    told = [each for each in heard.published(found) if "/staff/" in each.topic]
    return [StaffAlert.model_validate_json(each.payload) for each in told]


def test_a_complaint_reaches_the_staff_of_his_zone_with_its_story() -> None:
    """Known by his card, found by his phone, also when head office heard it."""
    heard = consenting()
    linked(heard)
    heard.take(entered("wine", 5))
    said: dict[str, Any] = {
        "visitor": ref("loyalty", CARD),
        "complaint": "c1",
        "story": "The scale is wrong.",
    }
    (told,) = alerts(heard, heard.take(event("complaint.opened", 6, source="desk", **said)))
    assert (told.kind, told.zone, told.team) == ("complaint", "wine", "cellar")
    assert told.text == "The scale is wrong."
    assert told.dwell_s is None
    body = {**said, "action": "open", "stated_at": "2017-12-02T14:00:00Z", "complaint": "c2"}
    (from_hq,) = alerts(heard, heard.command(command("complaint", body)))
    assert (from_hq.zone, from_hq.text) == ("wine", "The scale is wrong.")


def test_no_staff_are_called_without_a_story_or_for_who_is_not_here() -> None:
    """Nobody runs after somebody who is at home, or without knowing why."""
    heard = consenting()
    said: dict[str, Any] = {"visitor": ref(), "complaint": "c1", "story": "It is broken."}
    assert alerts(heard, heard.take(event("complaint.opened", 1, source="desk", **said))) == []
    heard.take(entered("dairy", 2))
    assert alerts(heard, heard.take(complained(3, who=ref(), case="c2"))) == []


def _phone_says_no(seconds: float, *, purpose: str = "personal_recommendations") -> Event:
    return event(
        "consent.withdrawn",
        seconds,
        source="desk",
        visitor=ref(),
        purposes=[purpose],
    )
