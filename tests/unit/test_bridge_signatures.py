"""Signatures of vendors, against the examples in their own documents."""

from __future__ import annotations

import base64
import hashlib
import hmac
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_agent.bridge.signatures import Asked, Refusal, Signed, Told, Unguarded
from edge_agent.bridge.vendors import (
    DISRUPTIVE_HEADER,
    LIGHTSPEED_HEADER,
    LOYVERSE_HEADER,
    SHOPIFY_HEADER,
    SQUARE_HEADER,
    ZETTLE_HEADER,
    Rule,
    disruptive,
    lightspeed,
    loyverse,
    shopify,
    square,
    zettle,
)

NOW_S = 1_772_445_600.0
SQUARE = square((b"asdf1234",), url="https://example.com/webhook")
SLACK = Signed(
    secrets=(b"8f742231b10e8888abcd99yyyzzz85a5",),
    header="x-slack-signature",
    encoding="hex",
    prefix="v0=",
    signed="v0:{timestamp}:{body}",
    timestamp_header="x-slack-request-timestamp",
)
SLACK_BODY = (
    b"token=xyzz0WbapA4vBCDEFasx0q6G&team_id=T1DC2JH3J&team_domain=testteamnow"
    b"&channel_id=G8PSS9T3V&channel_name=foobar&user_id=U2CERLKJA&user_name=roadrunner"
    b"&command=%2Fwebhook-collect&text=&response_url=https%3A%2F%2Fhooks.slack.com%2Fcommands"
    b"%2FT1DC2JH3J%2F397700885554%2F96rGlfmibIGlgcZRskXaIFfN"
    b"&trigger_id=398738663015.47445629121.803a0bc887a14d10d2c447fce8b6703c"
)
SLACK_AT_S = 1_531_420_618


def _asked(body: bytes, *, query: str = "", now_s: float = NOW_S, **headers: str) -> Asked:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return Asked(headers=named, query=query, body=body, now_s=now_s)


def test_squares_own_example_passes() -> None:
    """Source: the curl example of Square's SDKs and of "Verify and validate an event"."""
    headers = {SQUARE_HEADER: "2kRE5qRU2tR+tBGlDwMEw2avJ7QM4ikPYD/PJ3bd9Og="}
    good = Asked(headers=headers, query="", body=b'{"hello":"world"}', now_s=NOW_S)
    assert SQUARE.refusal(good) is None
    other_url = square((b"asdf1234",), url="https://example.com/webhook/")
    assert other_url.refusal(good) is Refusal.WRONG


def test_shopifys_form_passes() -> None:
    """Source: SQLPage's published test of its verification of Shopify webhooks."""
    body = b'{"id":1234567890,"email":"customer@example.com","total_price":"123.45"}'
    headers = {SHOPIFY_HEADER: "QNyObTlKbMx2qDlPF/ZOZcBqg5OgPg+2oky3zldc0Gw="}
    rule = shopify((b"test-webhook-secret",))
    assert rule.refusal(Asked(headers=headers, query="", body=body, now_s=NOW_S)) is None


def test_githubs_own_example_passes_the_general_form() -> None:
    """Source: GitHub's "Validating webhook deliveries", section "Testing"."""
    rule = Signed(
        secrets=(b"It's a Secret to Everybody",),
        header="x-hub-signature-256",
        encoding="hex",
        prefix="sha256=",
    )
    told = "sha256=757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17"
    assert rule.refusal(_asked(b"Hello, World!", x_hub_signature_256=told)) is None
    assert rule.refusal(_asked(b"Hello, World!", x_hub_signature_256=told[7:])) is Refusal.WRONG


def test_slacks_own_example_passes_the_stamped_form() -> None:
    """Source: Slack's "Verifying requests", step by step; five minutes later it is a replay."""
    told = "v0=a2114d57b48eac39b9ad189dd8316235a7b4a8d21a10bd27519666489c69b503"
    headers = {"x_slack_signature": told, "x_slack_request_timestamp": str(SLACK_AT_S)}
    for now_s, refusal in ((SLACK_AT_S, None), (SLACK_AT_S + 300, None)):
        assert SLACK.refusal(_asked(SLACK_BODY, now_s=now_s, **headers)) is refusal
    for now_s in (SLACK_AT_S + 301, SLACK_AT_S - 301):
        assert SLACK.refusal(_asked(SLACK_BODY, now_s=now_s, **headers)) is Refusal.STALE
    headers["x_slack_request_timestamp"] = str(SLACK_AT_S + 1)
    assert SLACK.refusal(_asked(SLACK_BODY, now_s=SLACK_AT_S, **headers)) is Refusal.WRONG


def test_lightspeeds_header_holds_signature_and_algorithm() -> None:
    """`signature=…,algorithm=HMAC-SHA256`, with or without a space; no other algorithm."""
    rule, body = lightspeed((b"client-secret",)), b"payload=%7B%7D"
    raw = hmac.digest(b"client-secret", body, hashlib.sha256)
    digest, in_base64 = raw.hex(), base64.b64encode(raw).decode()
    for told, refusal in (
        (f"signature={digest},algorithm=HMAC-SHA256", None),
        (f"signature={digest}, algorithm=HMAC-SHA256", None),
        (f"signature={digest.upper()}", None),
        (f"signature={in_base64},algorithm=HMAC-SHA256", None),
        (f"signature={digest},algorithm=MD5", Refusal.WRONG),
        (digest, Refusal.WRONG),
        ("algorithm=HMAC-SHA256", Refusal.WRONG),
        ("", Refusal.MISSING),
    ):
        asked = Asked(headers={LIGHTSPEED_HEADER: told}, query="", body=body, now_s=NOW_S)
        assert rule.refusal(asked) is refusal, told


@pytest.mark.parametrize("write", [bytes.hex, lambda digest: base64.b64encode(digest).decode()])
def test_loyverse_signs_with_sha1_in_either_writing(write: Callable[[bytes], str]) -> None:
    """Its document says base64, a developer measured hex; a longer hash is none of its."""
    rule, body = loyverse((b"client-secret",)), b'{"receipts":[]}'
    for name, refusal in (("sha1", None), ("sha256", Refusal.WRONG)):
        told = write(hmac.digest(b"client-secret", body, name))
        asked = Asked(headers={LOYVERSE_HEADER: told}, query="", body=body, now_s=NOW_S)
        assert rule.refusal(asked) is refusal


@pytest.mark.parametrize(
    ("stamp", "is_good"),
    [
        (str(int(NOW_S)), True),
        (str(int(NOW_S * 1_000)), True),
        ("2026-03-02T10:00:00Z", True),
        ("2026-03-02T12:00:00+02:00", True),
        ("2026-03-02T10:00:00", False),
        ("yesterday", False),
        ("9" * 400, False),
        ("-1", False),
    ],
)
def test_a_signed_time_is_read_in_every_usual_form(stamp: str, *, is_good: bool) -> None:
    """Seconds, milliseconds, ISO 8601 with a zone; anything else is no time at all."""
    rule = Signed(
        secrets=(b"secret-secret",),
        header="x-signature",
        signed="{timestamp}{body}",
        timestamp_header="x-time",
    )
    told = base64.b64encode(rule.signature(b"secret-secret", b"{}", stamp)).decode()
    asked = _asked(b"{}", x_signature=told, x_time=stamp)
    assert (rule.refusal(asked) is None) == is_good


def test_two_secrets_are_good_while_one_is_replaced() -> None:
    """The old and the new one sign, a third does not."""
    rule = shopify((b"old-secret", b"new-secret"))
    for secret, is_good in ((b"old-secret", True), (b"new-secret", True), (b"third", False)):
        told = base64.b64encode(hmac.digest(secret, b"{}", hashlib.sha256)).decode()
        asked = Asked(headers={SHOPIFY_HEADER: told}, query="", body=b"{}", now_s=NOW_S)
        assert (rule.refusal(asked) is None) == is_good


@given(body=st.binary(max_size=200), other=st.binary(max_size=200), secret=st.binary(min_size=1))
def test_a_signature_holds_for_its_body_and_secret_alone(
    body: bytes, other: bytes, secret: bytes
) -> None:
    """What is signed passes; the same signature passes for no other body, and for no other key."""
    rule = square((secret,), url="https://example.com/w")
    told = base64.b64encode(rule.signature(secret, body)).decode()

    def refused(by: Signed, content: bytes) -> bool:
        asked = Asked(headers={SQUARE_HEADER: told}, query="", body=content, now_s=NOW_S)
        return by.refusal(asked) is not None

    assert not refused(rule, body)
    assert refused(rule, other) == (other != body)
    assert refused(square((secret + b"x",), url="https://example.com/w"), body)


RULES: tuple[Rule, ...] = (
    SQUARE,
    SLACK,
    lightspeed((b"client-secret",)),
    loyverse((b"client-secret",)),
    zettle((b"client-secret",)),
    disruptive((b"client-secret",)),
    Told(secrets=(b"secret-secret",), scheme="bearer"),
    Told(secrets=(b"secret-secret",), scheme="basic", user="camera"),
    Told(secrets=(b"secret-secret",), scheme="url_token"),
)


@given(
    rule=st.sampled_from(RULES),
    told=st.text(max_size=80)
    | st.sampled_from(["Bearer ", "Basic ", "signature=", "v0=", "é", "a.b.c"]),
    query=st.text(max_size=80),
    body=st.binary(max_size=80)
    | st.sampled_from([b"[" * 20_000, b'{"payload":"\\ud800","timestamp":"1"}']),
)
def test_nothing_that_is_told_raises_or_passes(
    rule: Rule, told: str, query: str, body: bytes
) -> None:
    """Any header, query and body end in a refusal."""
    names = (
        SQUARE_HEADER, LIGHTSPEED_HEADER, LOYVERSE_HEADER, ZETTLE_HEADER, DISRUPTIVE_HEADER,
        "authorization", "x-slack-signature", "x-slack-request-timestamp",
    )  # fmt: skip
    asked = Asked(headers=dict.fromkeys(names, told), query=query, body=body, now_s=NOW_S)
    assert rule.refusal(asked) in set(Refusal)


def test_a_page_of_a_browser_is_no_program_of_this_machine() -> None:
    """Without any secret only requests that no page can send are taken."""
    assert Unguarded().refusal(_asked(b"{}")) is None
    assert Unguarded().refusal(_asked(b"{}", origin="null")) is Refusal.BROWSER
    assert Unguarded().refusal(_asked(b"{}", sec_fetch_site="none")) is Refusal.BROWSER
