"""Consent receipts: every purpose in the DPV's terms, what was said, and how it stands."""

from __future__ import annotations

from typing import Any, get_args

from edge_agent.identify.consent import CHANNELS, CHANNELS_OF_PLACE, PURPOSES
from edge_agent.identify.receipts import DPV_PROCESSING, DPV_PURPOSES, consent_receipt
from edge_agent.wire.consents import ConsentReceipt
from edge_agent.wire.events import OfferChannel, Purpose
from tests.factories import CARD, at, event, granted, ref, withdrawn, world
from tests.fakes import World


def receipt_of(heard: World, seconds: float) -> ConsentReceipt:
    """Returns the card holder's receipt at an instant."""
    card = heard.visitor("loyalty", CARD)
    assert card is not None
    return consent_receipt(card, store="s1", now_ms=at(seconds))


def test_every_purpose_of_the_wire_has_its_dpv_terms() -> None:
    """No purpose can be asked for that a receipt could not name."""
    assert set(get_args(Purpose)) == set(PURPOSES) == set(DPV_PURPOSES) == set(DPV_PROCESSING)
    assert get_args(OfferChannel) == CHANNELS
    assert {each for some in CHANNELS_OF_PLACE.values() for each in some} < set(CHANNELS)


def test_a_receipt_tells_given_withdrawn_expired_and_never_asked() -> None:
    """Each purpose stands as the ledger says at that instant."""
    heard = world()
    heard.take(granted(0, purposes=("profiling", "sending_to_hq")))
    heard.take(withdrawn(5, purposes=("sending_to_hq",)))
    heard.take(
        event(
            "consent.granted",
            6,
            source="desk",
            visitor=ref("loyalty", CARD),
            purposes=["staff_assistance"],
            text_version="2017-11",
            channel="till",
            expires_at="2017-12-02T15:01:00Z",
        )
    )
    stands = {each.purpose: each.status for each in receipt_of(heard, 61).purposes}
    assert stands == {
        "marketing": None,
        "personal_recommendations": None,
        "profiling": "dpv:ConsentGiven",
        "sending_to_hq": "dpv:ConsentWithdrawn",
        "staff_assistance": "dpv:ConsentExpired",
    }
    assert {each.purpose: each.status for each in receipt_of(heard, 30).purposes}[
        "staff_assistance"
    ] == "dpv:ConsentGiven"


def test_a_receipt_tells_who_heard_it_how_and_by_which_text() -> None:
    """Source, channel, version of the text, and until when."""
    heard = world()
    heard.take(
        event(
            "consent.granted",
            6,
            source="desk",
            visitor=ref("loyalty", CARD),
            purposes=["profiling"],
            text_version="2017-11",
            channel="till",
            expires_at="2018-12-02T15:01:00Z",
        )
    )
    receipt = receipt_of(heard, 61)
    (said,) = next(each.events for each in receipt.purposes if each.purpose == "profiling")
    assert (said.entity_id, said.channel, said.notice_version) == ("desk", "till", "2017-11")
    assert said.valid_until is not None
    assert said.event_time.timestamp() * 1000 == at(6)


def test_a_receipt_tells_the_basis_and_each_channel_that_was_spoken_of() -> None:
    """A yes on contract to all, and a no to the screens: both stand there."""
    heard = world()
    told: dict[str, Any] = {"visitor": ref("loyalty", CARD), "purposes": ["marketing"]}
    yes = event("consent.granted", 1, source="desk", **told, basis="dpv:Contract")
    heard.take(yes, event("consent.withdrawn", 2, source="desk", **told, only_on=["screen"]))
    marketing = next(e for e in receipt_of(heard, 9).purposes if e.purpose == "marketing")
    assert (marketing.status, marketing.lawful_basis) == ("dpv:ConsentGiven", "dpv:Contract")
    assert [(each.channel, each.status) for each in marketing.channels] == [
        ("screen", "dpv:ConsentWithdrawn")
    ]
    assert [(each.only_on, each.lawful_basis) for each in marketing.events] == [
        (None, "dpv:Contract"),
        ("screen", None),
    ]


def test_a_receipt_names_no_identifier_and_reads_back() -> None:
    """It names its person by the store's own id alone."""
    heard = world()
    heard.take(granted(0))
    text = receipt_of(heard, 1).model_dump_json()
    assert CARD not in text
    assert ConsentReceipt.model_validate_json(text) == receipt_of(heard, 1)
