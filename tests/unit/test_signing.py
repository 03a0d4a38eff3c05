"""Commands are taken as they were signed, and refused with a stable reason otherwise."""

from __future__ import annotations

import base64
import json
from datetime import UTC, datetime
from decimal import Decimal

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from hypothesis import given
from hypothesis import strategies as st

from edge_agent.shell import signing
from edge_agent.shell.signing import demo_private_key, sign_command, verify_command
from edge_agent.wire.base import Message, VisitorRef
from edge_agent.wire.downlink import (
    COMMAND,
    AckBody,
    AnyCommand,
    CampaignBody,
    CatalogueBody,
    CatalogueRow,
    ConsentBody,
    FactBody,
    ProfileBody,
)

ISSUED_AT = datetime(2017, 12, 2, 10, tzinfo=UTC)
EXPIRES_AT = datetime(2017, 12, 3, 10, tzinfo=UTC)
KEY = demo_private_key()
KEYS = {"demo": KEY.public_key()}
CARD = VisitorRef(kind="loyalty", value="6400000009005")


def command_of(kind: str, body: Message) -> AnyCommand:
    """A command for store s42 with this body."""
    envelope = {
        "command": "c-1",
        "store": "s42",
        "version": 7,
        "issued_at": ISSUED_AT.isoformat(),
        "expires_at": EXPIRES_AT.isoformat(),
    }
    content = {"kind": kind, "body": body.model_dump(mode="json")}
    return COMMAND.validate_json(json.dumps(envelope | content))


ACK = command_of("ack", AckBody(ids=("m-1", "m-2")))
CAMPAIGN = CampaignBody(
    campaign="18",
    starts_at=ISSUED_AT,
    ends_at=EXPIRES_AT,
    products=("1095275",),
    text="-20 %",
    value=Decimal("0.50"),
    currency="USD",
)
COMMANDS = (
    ACK,
    command_of("profile", ProfileBody(visitor=CARD, reference="r-1")),
    command_of("consent", ConsentBody(visitor=CARD, action="withdraw", stated_at=ISSUED_AT)),
    command_of("campaign", CAMPAIGN),
    command_of("fact", FactBody(name="raining", value=True, valid_until=EXPIRES_AT)),
)


def token_of(payload: bytes, *, key: Ed25519PrivateKey = KEY, **header: object) -> bytes:
    """A token made without the code under test."""
    segments = [
        base64.urlsafe_b64encode(part).rstrip(b"=")
        for part in (json.dumps({"alg": "EdDSA", "kid": "demo"} | header).encode(), payload)
    ]
    signed = b".".join(segments)
    return signed + b"." + base64.urlsafe_b64encode(key.sign(signed)).rstrip(b"=")


def payload_of(command: AnyCommand) -> bytes:
    """The signed content of a command."""
    return command.model_dump_json().encode()


@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: command.kind)
def test_command_comes_back_as_it_was_signed(command: AnyCommand) -> None:
    """Signing and verifying gives the equal command, of every shape of body."""
    assert verify_command(sign_command(command, key=KEY, key_id="demo"), keys=KEYS) == command


def test_token_of_another_implementation_is_taken() -> None:
    """Any RFC 8037 signer can write commands: nothing of ours beyond the standard is asked."""
    assert verify_command(token_of(payload_of(ACK)), keys=KEYS) == ACK


def test_token_without_key_id_is_tried_with_every_key() -> None:
    """A signer may leave the key's name out."""
    others = {"old": Ed25519PrivateKey.generate().public_key(), **KEYS}
    signed = base64.urlsafe_b64encode(b'{"alg":"EdDSA"}').rstrip(b"=") + b"."
    signed += base64.urlsafe_b64encode(payload_of(ACK)).rstrip(b"=")
    token = signed + b"." + base64.urlsafe_b64encode(KEY.sign(signed)).rstrip(b"=")
    assert verify_command(token, keys=others) == ACK


def test_large_catalogue_passes() -> None:
    """A whole shop's products fit into one command."""
    rows = tuple(CatalogueRow(product=str(number), title="x" * 40) for number in range(20_000))
    command = command_of("catalogue", CatalogueBody(rows=rows))
    assert verify_command(sign_command(command, key=KEY, key_id="demo"), keys=KEYS) == command


@pytest.mark.parametrize(
    ("token", "keys", "reason"),
    [
        (b"", KEYS, "not_a_jws"),
        (b"a.b", KEYS, "not_a_jws"),
        (b"\xff\x00.e30.e30", KEYS, "not_a_jws"),
        (b"e30.e30.e30", KEYS, "not_a_jws"),
        (b"W10.e30.e30", KEYS, "not_a_jws"),
        (payload_of(ACK), KEYS, "not_a_jws"),
        (token_of(payload_of(ACK)) + b".x", KEYS, "not_a_jws"),
        (token_of(payload_of(ACK)) + b"=", KEYS, "not_a_jws"),
        (token_of(payload_of(ACK), alg="none"), KEYS, "wrong_algorithm"),
        (token_of(payload_of(ACK), alg="HS256"), KEYS, "wrong_algorithm"),
        (token_of(payload_of(ACK), alg=["EdDSA"]), KEYS, "wrong_algorithm"),
        (token_of(payload_of(ACK), kid="stranger"), KEYS, "unknown_key"),
        (token_of(payload_of(ACK), kid=7), KEYS, "unknown_key"),
        (token_of(payload_of(ACK)), {}, "unknown_key"),
        (token_of(payload_of(ACK), key=Ed25519PrivateKey.generate()), KEYS, "bad_signature"),
        (token_of(payload_of(ACK), crit=["b64"], b64=False), KEYS, "not_a_command"),
        (token_of(b"{}"), KEYS, "not_a_command"),
        (token_of(b"\xff"), KEYS, "not_a_command"),
        (token_of(b"[" * 100_000), KEYS, "not_a_command"),
        (token_of(payload_of(ACK).replace(b'"ack"', b'"format_disk"')), KEYS, "not_a_command"),
        (b"a" * (signing.TOKEN_BYTES_MAX + 1), KEYS, "too_large"),
    ],
)
def test_refusal_has_its_reason(
    token: bytes, keys: dict[str, Ed25519PublicKey], reason: str
) -> None:
    """Every kind of bad token is refused, and by a reason that stays the same."""
    assert verify_command(token, keys=keys) == reason


@given(position=st.integers(min_value=0), bit=st.integers(min_value=0, max_value=7))
def test_one_flipped_bit_is_refused(position: int, bit: int) -> None:
    """No bit of a token can change without its being refused."""
    token = bytearray(sign_command(ACK, key=KEY, key_id="demo"))
    token[position % len(token)] ^= 1 << bit
    assert isinstance(verify_command(bytes(token), keys=KEYS), str)


@given(token=st.one_of(st.binary(max_size=200), st.from_regex(rb"[\w-]*\.[\w-]*\.[\w-]*")))
def test_any_bytes_are_refused_without_an_exception(token: bytes) -> None:
    """Whoever writes onto a down topic cannot stop the agent."""
    assert isinstance(verify_command(token, keys=KEYS), str)


def test_demo_key_is_the_same_everywhere() -> None:
    """The demo's key is computed, not stored: two calls agree."""
    assert (
        demo_private_key().public_key().public_bytes_raw() == KEY.public_key().public_bytes_raw()
    )
