"""Signs HQ's commands and verifies them: JWS in compact form, EdDSA over Ed25519, nothing else.

The only importer of `joserfc`. A signature says who wrote a command and that it is whole. Whether
it is for this store, still valid and newer than the last one is the core's question, not asked
here. Tokens that vendors sign with a shared secret are verified here too: HS256, nothing else.

Source: RFC 7515 (JWS), RFC 8037 section 3.1 (EdDSA in JOSE).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from hashlib import sha256
from typing import Any, Final, Literal

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from joserfc.errors import JoseError, UnsupportedAlgorithmError
from joserfc.jwk import OctKey, OKPKey
from joserfc.jws import (
    CompactSignature,
    JWSRegistry,
    extract_compact,
    serialize_compact,
    validate_compact,
)
from pydantic import ValidationError
from typing_extensions import override

from edge_agent.wire.downlink import COMMAND, AnyCommand

Refusal = Literal[
    "too_large", "not_a_jws", "wrong_algorithm", "unknown_key", "bad_signature", "not_a_command"
]

ALGORITHM: Final = "EdDSA"
DEMO_KEY_ID: Final = "demo"
# A catalogue of `downlink.ROWS_MAX` products with long titles is some 10 MB.
PAYLOAD_BYTES_MAX: Final = 16 * 1024 * 1024
HEADER_BYTES_MAX: Final = 512
SIGNATURE_BYTES_MAX: Final = 128
SHARED_ALGORITHM: Final = "HS256"
# A checksum or two, an id and two times are some 200.
SHARED_TOKEN_BYTES_MAX: Final = 4_096
_BASE64_GROWTH: Final = 4 / 3

_COMPACT: Final = re.compile(rb"[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+")
_DEMO_SEED: Final = b"edge-agent demo key: public, worthless outside the demo"


class _EdDsaOnly(JWSRegistry):
    """A registry with one algorithm, so that no header can choose a weaker one.

    A subclass because that is joserfc's way to set sizes and algorithms; its own look-up also
    warns at every call that RFC 9864 renames EdDSA.
    """

    max_header_length = HEADER_BYTES_MAX
    max_payload_length = int(PAYLOAD_BYTES_MAX * _BASE64_GROWTH)
    max_signature_length = SIGNATURE_BYTES_MAX

    @override
    def get_alg(self, name: str) -> Any:  # joserfc does not export its type
        if name != ALGORITHM:
            raise UnsupportedAlgorithmError(f"{name!r} is not {ALGORITHM}")
        return self.algorithms[ALGORITHM]


_REGISTRY: Final = _EdDsaOnly(algorithms=(ALGORITHM,))
_SHARED_REGISTRY: Final = JWSRegistry(algorithms=(SHARED_ALGORITHM,))
TOKEN_BYTES_MAX: Final = (
    HEADER_BYTES_MAX + _EdDsaOnly.max_payload_length + SIGNATURE_BYTES_MAX + len("..")
)


def sign_command(command: AnyCommand, *, key: Ed25519PrivateKey, key_id: str) -> bytes:
    """Returns the command as a signed token, as it goes onto a `down` topic.

    Args:
        command: What HQ wants.
        key: HQ's private key.
        key_id: The name under which the agents' configuration knows the public key.

    Example:
        >>> from edge_agent.wire.downlink import COMMAND
        >>> ack = COMMAND.validate_json('{"kind":"ack","command":"a1","store":"s42","version":1,'
        ...     '"issued_at":"2017-12-02T10:00:00Z","expires_at":"2017-12-03T10:00:00Z",'
        ...     '"body":{"ids":["m1"]}}')
        >>> token = sign_command(ack, key=demo_private_key(), key_id=DEMO_KEY_ID)
        >>> verify_command(token, keys={DEMO_KEY_ID: demo_private_key().public_key()}) == ack
        True
    """
    header = {"alg": ALGORITHM, "kid": key_id}
    payload = command.model_dump_json().encode()
    jwk = OKPKey.import_key(key)
    return serialize_compact(header, payload, jwk, registry=_REGISTRY).encode()


def verify_command(token: bytes, *, keys: Mapping[str, Ed25519PublicKey]) -> AnyCommand | Refusal:
    """Returns the command, or why it is refused; any bytes give one of the two.

    Args:
        token: What arrived on a `down` topic.
        keys: Key id to public key, from the configuration. A token that names no key is tried
            with each of them.
    """
    if len(token) > TOKEN_BYTES_MAX:
        return "too_large"
    if not _COMPACT.fullmatch(token):
        return "not_a_jws"
    payload = _verified_payload(token, keys=keys)
    if not isinstance(payload, bytes):
        return payload
    try:
        return COMMAND.validate_json(payload)
    except ValidationError:
        return "not_a_command"


def _verified_payload(token: bytes, *, keys: Mapping[str, Ed25519PublicKey]) -> bytes | Refusal:
    try:
        signature = extract_compact(token, registry=_REGISTRY)
        header = signature.headers()
    except (JoseError, ValueError, TypeError, AttributeError):
        # The last three: a header that is JSON, but no object.
        return "not_a_jws"
    if header.get("alg") != ALGORITHM:
        return "wrong_algorithm"
    candidates = _candidates(header.get("kid"), keys=keys)
    if not candidates:
        return "unknown_key"
    if any(_is_signed_by(signature, OKPKey.import_key(key)) for key in candidates):
        return signature.payload
    return "bad_signature"


def verify_shared(token: bytes, *, secrets: tuple[bytes, ...]) -> bytes | None:
    """Returns what a token says that one of the secrets has signed with HS256, else None.

    Whatever its head asks for: no `alg` but HS256 is tried, so that none can be turned off or a
    public key taken for a secret.
    """
    if len(token) > SHARED_TOKEN_BYTES_MAX or not _COMPACT.fullmatch(token):
        return None
    try:
        signature = extract_compact(token, registry=_SHARED_REGISTRY)
        algorithm = signature.headers().get("alg")
    except (JoseError, ValueError, TypeError, AttributeError):
        return None
    if algorithm != SHARED_ALGORITHM:
        return None
    fits = [_is_signed_by(signature, OctKey.import_key(each)) for each in secrets]
    return signature.payload if any(fits) else None


def _candidates(
    key_id: object, *, keys: Mapping[str, Ed25519PublicKey]
) -> tuple[Ed25519PublicKey, ...]:
    if key_id is None:
        return tuple(keys.values())
    return (keys[key_id],) if isinstance(key_id, str) and key_id in keys else ()


def _is_signed_by(signature: CompactSignature, key: OKPKey | OctKey) -> bool:
    registry = _REGISTRY if isinstance(key, OKPKey) else _SHARED_REGISTRY
    try:
        return validate_compact(signature, key, registry=registry)
    except (JoseError, ValueError, TypeError):
        return False


def demo_private_key() -> Ed25519PrivateKey:
    """Returns the demo's key, the same on every machine.

    Everybody can compute it from this file, so it proves nothing: `edge-agent demo` alone trusts
    it, under the key id `demo`.
    """
    return Ed25519PrivateKey.from_private_bytes(sha256(_DEMO_SEED).digest())
