"""Signatures that are not simply over the body: over two of its fields, or of a token beside it.

A body's fields are read here to verify them alone; what goes to the broker is the body as it came.
"""

from __future__ import annotations

import hmac
import json
from dataclasses import dataclass
from hashlib import sha256
from typing import Annotated, Final

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from edge_agent.bridge.signatures import Asked, Refusal, Signed, instant_s
from edge_agent.shell.signing import verify_shared

# How far a sender's clock may be ahead of ours.
AHEAD_S: Final = 300
Seconds = Annotated[float, Field(allow_inf_nan=False)]


@dataclass(frozen=True, slots=True, kw_only=True)
class SignedFields:
    """An HMAC in a header, over two texts of a JSON body: `{timestamp}.{payload}`.

    The body's other fields are not signed: nothing may rest on them.

    Attributes:
        signed: How, where and with what the two texts are signed.
        repeated_for_s: How long the sender repeats a message, with the same time: an older one is
            a replay.
        probe: What `eventName` says in the message that tries the address before there is a key.
    """

    signed: Signed
    repeated_for_s: int
    probe: str
    needs_body: bool = True

    def refusal(self, asked: Asked) -> Refusal | None:
        """Returns why a request does not pass, or None."""
        told, fields = asked.headers.get(self.signed.header), _object(asked.body)
        if not told:
            return Refusal.PROBE if fields.get("eventName") == self.probe else Refusal.MISSING
        stamp, payload = fields.get("timestamp"), fields.get("payload")
        if not isinstance(stamp, str) or not isinstance(payload, str):
            return Refusal.WRONG
        # A lone surrogate is no text that anybody has signed.
        if not self.signed.fits(told, payload.encode(errors="replace"), stamp):
            return Refusal.WRONG
        at_s = instant_s(stamp)
        is_fresh = at_s is not None and -AHEAD_S <= asked.now_s - at_s <= self.repeated_for_s
        return None if is_fresh else Refusal.STALE


@dataclass(frozen=True, slots=True, kw_only=True)
class SignedToken:
    """A token (JWT) in a header, signed with a shared secret, that tells the body's checksum.

    Source: RFC 7519; HS256 alone (`shell/signing.py`), whatever the token's head asks for.
    """

    secrets: tuple[bytes, ...]
    header: str
    needs_body: bool = True

    def refusal(self, asked: Asked) -> Refusal | None:
        """Returns why a request does not pass, or None."""
        told = asked.headers.get(self.header, "").strip()
        if not told:
            return Refusal.MISSING
        content = verify_shared(told.encode(errors="replace"), secrets=self.secrets)
        if content is None:
            return Refusal.WRONG
        try:
            claims = _Claims.model_validate_json(content)
        except ValidationError:
            return Refusal.WRONG
        if not hmac.compare_digest(claims.checksum_sha256, sha256(asked.body).hexdigest()):
            return Refusal.WRONG
        is_fresh = claims.iat - AHEAD_S <= asked.now_s < claims.exp
        return None if is_fresh else Refusal.STALE


class _Claims(BaseModel):
    """What a token must say: when it was made, until when it is good, and of which body."""

    model_config = ConfigDict(frozen=True, strict=True)

    iat: Seconds
    exp: Seconds
    checksum_sha256: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]


def _object(body: bytes) -> dict[str, object]:
    """The object of a JSON text; empty when it is none, or says something twice."""
    try:
        found = json.loads(body, object_pairs_hook=_once)
    except (ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


def _once(pairs: list[tuple[str, object]]) -> dict[str, object]:
    # Of two fields of one name the mapping could read the one that is not signed.
    found = dict(pairs)
    if len(found) != len(pairs):
        msg = "a field is there twice"
        raise ValueError(msg)
    return found
