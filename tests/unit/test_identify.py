"""Pseudonyms, consent and the freshness of both."""

from __future__ import annotations

from dataclasses import replace

import pytest

from edge_agent.domain.ids import Pseudonym, VisitorId
from edge_agent.domain.visitor import Complaint, ConsentStatement, Subject, Visitor
from edge_agent.identify.consent import (
    has_any_consent,
    has_consent,
    may_hq_loosen,
    unbroken_since,
    with_statements,
)
from edge_agent.identify.pseudonyms import Pseudonymiser, visitor_id_from
from edge_agent.wire.base import VisitorRef

DAY, NEXT = "2017-12-02", "2017-12-03"
KEYS = {DAY: b"1" * 32, NEXT: b"2" * 32}


def hashed(kind: str, value: str, *, day: str = DAY, store_key: bytes = b"s" * 32) -> str | None:
    """Returns the pseudonym of an identifier."""
    reference = VisitorRef.model_validate({"kind": kind, "value": value})
    found = Pseudonymiser(store_key=store_key, day_keys=KEYS).subject(reference, day=day)
    return None if found is None else found.pseudonym


@pytest.mark.parametrize(
    ("kind", "one", "other"),
    [
        ("ble", "AC:23:3F:A0:11:22", "ac-23-3f-a0-11-22"),
        ("wifi", "AC23.3FA0.1122", "AC:23:3F:A0:11:22"),
        ("loyalty", "6400000009005", "6400 0000 0900 5"),
        ("track", "t-9", " t-9 "),
    ],
)
def test_spellings_of_one_identifier_are_one(kind: str, one: str, other: str) -> None:
    """Devices spell identifiers in their own ways; the person is the same."""
    assert hashed(kind, one) == hashed(kind, other)


@pytest.mark.parametrize("kind", ["ble", "wifi", "track", "basket"])
def test_an_anonymous_identifier_is_another_tomorrow(kind: str) -> None:
    """Nobody who did not choose to is recognised the next day."""
    assert hashed(kind, "x1") != hashed(kind, "x1", day=NEXT)


@pytest.mark.parametrize("kind", ["app", "loyalty", "receipt", "customer"])
def test_a_chosen_identifier_is_the_same_tomorrow_but_not_elsewhere(kind: str) -> None:
    """The store's key lasts, and is the store's own."""
    assert hashed(kind, "x1") == hashed(kind, "x1", day=NEXT)
    assert hashed(kind, "x1") != hashed(kind, "x1", store_key=b"t" * 32)


def test_without_its_day_s_key_an_identifier_is_nobody() -> None:
    """After the key is destroyed nothing can be matched any more."""
    assert hashed("ble", "x1", day="2017-12-04") is None


def test_kinds_do_not_meet() -> None:
    """The same text as a track and as a beacon are two people."""
    assert hashed("track", "aa") != hashed("ble", "aa")


def test_a_pseudonym_holds_nothing_of_the_raw_value() -> None:
    """Neither the text nor its hexadecimal form is in it."""
    found = hashed("loyalty", "6400000009005")
    assert found is not None
    assert "640000" not in found
    assert len(found) == 32


def test_a_visitor_s_id_follows_from_his_pseudonym_and_day() -> None:
    """A UUIDv7: the same evidence gives the same id in whatever order it comes."""
    subject = Subject(kind="ble", pseudonym=Pseudonym("f" * 32))
    first, again = (visitor_id_from(subject, day=DAY) for _ in range(2))
    assert first == again
    assert first[14] == "7"
    assert first[19] in "89ab"


def said(yes_or_no: str, at_ms: int, *, expires_at_ms: int | None = None) -> ConsentStatement:
    """Returns a statement about profiling."""
    return ConsentStatement(
        purpose="profiling",
        granted=yes_or_no == "yes",
        stated_at_ms=at_ms,
        source="desk",
        expires_at_ms=expires_at_ms,
    )


def person(*statements: ConsentStatement) -> Visitor:
    """Returns a card holder who said this."""
    return Visitor(
        id=VisitorId("v"),
        kind="loyalty",
        pseudonym=Pseudonym("p"),
        first_seen_at_ms=0,
        last_seen_at_ms=0,
        consents=statements,
    )


@pytest.mark.parametrize(
    ("statements", "expected"),
    [
        ((), False),
        ((said("yes", 1),), True),
        ((said("yes", 1), said("no", 2)), False),
        ((said("no", 2), said("yes", 1)), False),
        ((said("no", 1), said("yes", 2)), True),
        ((said("yes", 2), said("no", 2)), False),
        ((said("yes", 1, expires_at_ms=50),), False),
        ((said("yes", 1, expires_at_ms=101),), True),
    ],
)
def test_the_newest_statement_holds_and_a_tie_means_no(
    statements: tuple[ConsentStatement, ...], *, expected: bool
) -> None:
    """Consent is a ledger: what was said last counts, until it expires."""
    assert has_consent(person(*statements), "profiling", now_ms=100) is expected
    assert has_any_consent(person(*statements), now_ms=100) is expected
    assert not has_consent(person(*statements), "marketing", now_ms=100)


@pytest.mark.parametrize(
    ("statements", "since_ms"),
    [
        ((), None),
        ((said("yes", 1), said("yes", 9)), 1),
        ((said("yes", 9), said("no", 5), said("yes", 1)), 9),
        ((said("yes", 1), said("no", 9)), None),
        ((said("yes", 9), said("no", 9)), None),
        ((said("yes", 1, expires_at_ms=50),), None),
        ((said("yes", 1, expires_at_ms=50), said("yes", 60)), 60),
        ((said("yes", 1, expires_at_ms=50), said("yes", 40)), 1),
        ((said("yes", 1), replace(said("no", 5), only_on="screen"), said("yes", 9)), 1),
    ],
)
def test_a_consent_holds_since_the_last_break(
    statements: tuple[ConsentStatement, ...], since_ms: int | None
) -> None:
    """A no or an expiry breaks it, whatever is told first; a no to one channel does not."""
    assert unbroken_since(person(*statements), "profiling", now_ms=100) == since_ms
    assert unbroken_since(person(*statements[::-1]), "profiling", now_ms=100) == since_ms


def test_a_statement_told_twice_is_one() -> None:
    """The ledger holds each statement once, in a fixed order."""
    known = person(said("yes", 1))
    assert with_statements(known, (said("yes", 1), said("no", 0))) == (
        said("no", 0),
        said("yes", 1),
    )


def test_hq_may_loosen_only_what_was_said_after_the_last_no() -> None:
    """A grant at HQ older than the store's withdrawal is void."""
    known = person(said("no", 10))
    assert not may_hq_loosen(known, "profiling", stated_at_ms=10)
    assert may_hq_loosen(known, "profiling", stated_at_ms=11)
    assert may_hq_loosen(known, "marketing", stated_at_ms=1)


@pytest.mark.parametrize(
    ("opened", "closed", "expected"),
    [(5, None, True), (5, 4, True), (5, 6, False), (None, 6, False)],
)
def test_a_complaint_is_open_until_a_later_closing(
    opened: int | None, closed: int | None, *, expected: bool
) -> None:
    """A closing that came before the opening closes nothing."""
    assert Complaint(case="c", opened_at_ms=opened, closed_at_ms=closed).is_open is expected
