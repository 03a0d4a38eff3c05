"""Signatures over fields of a body or of a token beside it, against the vendors' own examples."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
from typing import Final

import pytest

from edge_agent.bridge.signatures import Asked, Refusal
from edge_agent.bridge.vendors import DISRUPTIVE_HEADER, ZETTLE_HEADER, disruptive, zettle

ZETTLE_KEY: Final = b"zLzClQLQN8yfH8aEjONeXzgJRAHR0zpD7RonFCpizujCUCectBlln0vFArTbLPYa"
"""The signing key of Zettle's own example of a subscription."""
ZETTLE_AT_S: Final = 1_618_837_780.812
ZETTLE_STAMP: Final = "2021-04-19T13:09:40.812Z"
ZETTLE_PAYLOAD: Final = '{"purchaseUuid":"7cdf4ae2-a110-11eb-a7f9-24cfef8c2970","note":"ä \\\\ /"}'


def _zettle(
    *, payload: object = ZETTLE_PAYLOAD, now_s: float = ZETTLE_AT_S, more: str = ""
) -> Asked:
    """A message as Zettle sends it, signed over the example's payload."""
    signed = f"{ZETTLE_STAMP}.{ZETTLE_PAYLOAD}".encode()
    told = hmac.digest(ZETTLE_KEY, signed, hashlib.sha256).hex()
    fields = {"eventName": "PurchaseCreated", "payload": payload, "timestamp": ZETTLE_STAMP}
    body = "{" + more + json.dumps(fields)[1:]
    return Asked(headers={ZETTLE_HEADER: told}, query="", body=body.encode(), now_s=now_s)


def test_zettle_signs_the_time_and_the_payloads_own_text() -> None:
    """Source: Zettle's "Create subscriptions", step 4: `<timestamp>.<payload>`, hex digest."""
    rule = zettle((ZETTLE_KEY,))
    assert rule.refusal(_zettle()) is None
    assert rule.refusal(_zettle(payload=ZETTLE_PAYLOAD + " ")) is Refusal.WRONG
    assert rule.refusal(_zettle(payload=json.loads(ZETTLE_PAYLOAD))) is Refusal.WRONG
    assert zettle((b"another key",)).refusal(_zettle()) is Refusal.WRONG


def test_zettle_may_repeat_for_three_days_and_nobody_longer() -> None:
    """Its repeats carry the first time; what is older, or of the future, is a replay."""
    rule = zettle((ZETTLE_KEY,))
    for after_s, refusal in (
        (71 * 3_600 + 2_400, None),
        (73 * 3_600, Refusal.STALE),
        (-200, None),
        (-400, Refusal.STALE),
    ):
        assert rule.refusal(_zettle(now_s=ZETTLE_AT_S + after_s)) is refusal


def test_a_second_field_of_the_same_name_hides_no_forged_one() -> None:
    """Whoever adds a payload to a signed one is refused, whichever of them a reader would take."""
    forged = _zettle(more='"payload": "{}", ')
    assert zettle((ZETTLE_KEY,)).refusal(forged) is Refusal.WRONG


def test_zettles_test_message_is_no_wrong_signature() -> None:
    """It comes before there is a key; any other message without a signature is refused."""
    rule = zettle((ZETTLE_KEY,))
    for name, refusal in (
        ("TestMessage", Refusal.PROBE),
        ("PurchaseCreated", Refusal.MISSING),
    ):
        body = json.dumps({"eventName": name, "payload": {"data": "payload"}}).encode()
        asked = Asked(headers={}, query="", body=body, now_s=ZETTLE_AT_S)
        assert rule.refusal(asked) is refusal


DT_TOKEN: Final = (
    "eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9.eyJjaGVja3N1bSI6ImYyYjVkYzA0OTY0MzcyMDFkM2NlZTE1NmMyMz"
    "NhMTMzNTYwM2Q0NjUiLCJjaGVja3N1bV9zaGEyNTYiOiJhZmQ4MWExNmJiOWMwNzZlNTdmOTI3MjhmMjg0ZmY1NTgzM"
    "WJmZGYxZDNjMmMxMGI4MzM1NjdmNTIxZDc4MmRlIiwiZXhwIjoxNjQ0NTAwNTMzLCJpYXQiOjE2NDQ0OTY5MzMsImp0"
    "aSI6ImM4MmdnOTloZ2EzNWpjMmFma2VnIn0.gm8m_HrhlOnAyS08CfR_RNYdZQIpGV6E8bk3UiAR3uo"
)
DT_BODY: Final = (
    b'{"event":{"eventId":"c82gg9catj3vmh4248og","targetName":"projects/c14u9p094l47cdv1o3pg/'
    b'devices/emuc17m6d7lq0bgk44smcqg","eventType":"touch","data":{"touch":{"updateTime":'
    b'"2022-02-10T12:42:13.313949Z"}},"timestamp":"2022-02-10T12:42:13.313949Z"},"labels":'
    b'{"name":"touch"},"metadata":{"deviceId":"emuc17m6d7lq0bgk44smcqg","projectId":'
    b'"c14u9p094l47cdv1o3pg","deviceType":"touch","productNumber":""}}'
)
DT_FROM_S: Final = 1_644_496_933
DT_UNTIL_S: Final = 1_644_500_533
SHORT_KEY: Final = pytest.mark.filterwarnings("ignore:Key size should be")


def _dt(
    token: str = DT_TOKEN,
    body: bytes = DT_BODY,
    *,
    secret: bytes = b"test-secret",
    now_s: float = DT_FROM_S,
) -> Refusal | None:
    asked = Asked(headers={DISRUPTIVE_HEADER: token}, query="", body=body, now_s=now_s)
    return disruptive((secret,)).refusal(asked)


@SHORT_KEY
def test_disruptives_own_example_passes() -> None:
    """Source: tests/events.py of the vendor's python-integrations; good for its hour alone."""
    assert _dt() is None
    assert _dt(body=DT_BODY + b" ") is Refusal.WRONG
    assert _dt(secret=b"test-secret-2") is Refusal.WRONG
    for now_s, refusal in (
        (DT_UNTIL_S - 1, None),
        (DT_UNTIL_S, Refusal.STALE),
        (DT_FROM_S - 300, None),
        (DT_FROM_S - 301, Refusal.STALE),
    ):
        assert _dt(now_s=now_s) is refusal


def _base64url(content: bytes) -> str:
    return base64.urlsafe_b64encode(content).rstrip(b"=").decode()


def _token(
    head: dict[str, object], claims: object, *, secret: bytes, hashed: str = "sha256"
) -> str:
    text = f"{_base64url(json.dumps(head).encode())}.{_base64url(json.dumps(claims).encode())}"
    return f"{text}.{_base64url(hmac.digest(secret, text.encode(), hashed))}"


KEY: Final = b"a-signature-secret"
CLAIMS: Final = {
    "iat": DT_FROM_S,
    "exp": DT_UNTIL_S,
    "checksum_sha256": hashlib.sha256(b"{}").hexdigest(),
}


@pytest.mark.parametrize(
    ("head", "hashed"),
    [
        ({"alg": "none"}, "sha256"),
        ({"alg": "None"}, "sha256"),
        ({"alg": "HS384"}, "sha384"),
        ({"alg": "HS512"}, "sha512"),
        ({"alg": "RS256"}, "sha256"),
        ({"alg": "EdDSA"}, "sha256"),
        ({"alg": ["HS256"]}, "sha256"),
        ({"alg": None}, "sha256"),
        ({}, "sha256"),
        ({"alg": "HS256", "crit": ["exp"]}, "sha256"),
        ({"alg": "HS256", "b64": False, "crit": ["b64"]}, "sha256"),
    ],
)
def test_a_token_chooses_no_algorithm(head: dict[str, object], hashed: str) -> None:
    """Whatever its head asks for, and a token of nothing but a head and claims, is refused."""
    good = _token({"alg": "HS256"}, CLAIMS, secret=KEY)
    assert _dt(good, b"{}", secret=KEY) is None
    token = _token(head, CLAIMS, secret=KEY, hashed=hashed)
    assert _dt(token, b"{}", secret=KEY) is Refusal.WRONG
    unsigned = token.rpartition(".")[0] + "."
    assert _dt(unsigned, b"{}", secret=KEY) is Refusal.WRONG


@pytest.mark.parametrize(
    "claims",
    [
        {name: value for name, value in CLAIMS.items() if name != "checksum_sha256"},
        {name: value for name, value in CLAIMS.items() if name != "exp"},
        {name: value for name, value in CLAIMS.items() if name != "iat"},
        {**CLAIMS, "exp": "1644500533"},
        {**CLAIMS, "exp": float("inf")},
        {**CLAIMS, "checksum_sha256": ""},
        [],
        7,
    ],
)
def test_a_token_must_tell_its_time_and_its_body(claims: object) -> None:
    """A signed token that leaves out what would bind it binds nothing."""
    token = _token({"alg": "HS256"}, claims, secret=KEY)
    assert _dt(token, b"{}", secret=KEY) is Refusal.WRONG


def test_a_token_of_the_old_or_the_new_secret_is_good() -> None:
    """While a secret is being replaced both sign."""
    rule = disruptive((b"the-old-signature-secret", KEY))
    for secret, is_good in ((b"the-old-signature-secret", True), (KEY, True), (b"x" * 20, False)):
        token = _token({"alg": "HS256"}, CLAIMS, secret=secret)
        asked = Asked(headers={DISRUPTIVE_HEADER: token}, query="", body=b"{}", now_s=DT_FROM_S)
        assert (rule.refusal(asked) is None) == is_good
