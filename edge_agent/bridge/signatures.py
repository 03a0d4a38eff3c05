"""Who may post: a signature over the body, a told secret. Every comparison in constant time.

A rule is a value; `refusal` tells why a request does not pass it. Several secrets may be good at
once, so that one can be replaced without a gap; all of them are tried, whichever fits. What signs
something else than the body is in `envelopes.py`, which vendor does what in `vendors.py`.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Final, Literal
from urllib.parse import parse_qs

MS_PER_S: Final = 1_000
# Later than the year 5000 in seconds: such a number is of milliseconds.
SECONDS_MAX: Final = 100_000_000_000
QUERY_FIELDS_MAX: Final = 20

Algorithm = Literal["sha1", "sha256", "sha384", "sha512"]
Encoding = Literal["base64", "hex"]


class Refusal(StrEnum):
    """Why a request does not pass."""

    MISSING = "signature_missing"
    WRONG = "signature_wrong"
    STALE = "timestamp_stale"
    BROWSER = "from_a_browser"
    # Nothing is refused: a vendor tries the address with a message that says nothing.
    PROBE = "test_message"


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """A request as a rule sees it.

    Attributes:
        headers: Values by lower-case name; a repeated header's are joined with a comma.
        query: The query string as it came.
        body: The body's bytes.
        now_s: The present instant, seconds since the epoch.
    """

    headers: Mapping[str, str]
    query: str
    body: bytes
    now_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Signed:
    """An HMAC in a header.

    Attributes:
        secrets: Any of them may have signed.
        header: Its lower-case name.
        encoding: How the signature is written; None where vendors do either: hex is longer.
        prefix: What stands in front of the signature, such as `sha256=`.
        has_parameters: The header is `signature=…,algorithm=HMAC-SHA256`.
        before: What is signed in front of the body: Square signs its URL there.
        signed: What is signed, with `{timestamp}` and `{body}` in their places.
        timestamp_header: Where the signed instant is, when the vendor sends one.
        tolerance_s: How far it may be from the present.
    """

    secrets: tuple[bytes, ...]
    header: str
    algorithm: Algorithm = "sha256"
    encoding: Encoding | None = "base64"
    prefix: str = ""
    has_parameters: bool = False
    signed: str = "{body}"
    timestamp_header: str | None = None
    tolerance_s: int = 300
    needs_body: bool = True

    def refusal(self, asked: Asked) -> Refusal | None:
        """Returns why a request does not pass, or None."""
        told = asked.headers.get(self.header)
        stamp = "" if self.timestamp_header is None else asked.headers.get(self.timestamp_header)
        if not told or stamp is None:
            return Refusal.MISSING
        if not self.fits(told, asked.body, stamp):
            return Refusal.WRONG
        if self.timestamp_header is not None and self._is_stale(stamp, asked.now_s):
            return Refusal.STALE
        return None

    def fits(self, told: str, body: bytes, stamp: str = "") -> bool:
        """Returns whether what a header tells is the signature of a body."""
        received = self._received(told)
        return received is not None and self._is_signed(body, stamp, received)

    def signature(self, secret: bytes, body: bytes, timestamp: str = "") -> bytes:
        """Returns the signature's bytes that a body must have."""
        digest = hmac.new(secret, digestmod=self.algorithm)
        before, _, after = self.signed.partition("{body}")
        digest.update(before.replace("{timestamp}", timestamp).encode())
        digest.update(body)
        digest.update(after.replace("{timestamp}", timestamp).encode())
        return digest.digest()

    def _is_signed(self, body: bytes, stamp: str, received: bytes) -> bool:
        fits = [
            hmac.compare_digest(self.signature(secret, body, stamp), received)
            for secret in self.secrets
        ]
        return any(fits)

    def _received(self, told: str) -> bytes | None:
        text = _parameter(told) if self.has_parameters else told.strip()
        if text is None or not text.startswith(self.prefix):
            return None
        text = text.removeprefix(self.prefix)
        is_hex = self.encoding == "hex" or (self.encoding is None and self._is_hex(text))
        try:
            return bytes.fromhex(text) if is_hex else base64.b64decode(text, validate=True)
        except (binascii.Error, ValueError):
            return None

    def _is_hex(self, text: str) -> bool:
        return len(text) == 2 * hashlib.new(self.algorithm).digest_size

    def _is_stale(self, stamp: str, now_s: float) -> bool:
        told_s = instant_s(stamp)
        return told_s is None or abs(now_s - told_s) > self.tolerance_s


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """A secret told as it is: in `Authorization`, or in a parameter of the URL."""

    secrets: tuple[bytes, ...]
    scheme: Literal["bearer", "basic", "url_token"]
    user: str = ""
    parameter: str = "token"
    needs_body: bool = False

    def refusal(self, asked: Asked) -> Refusal | None:
        """Returns why a request does not pass, or None."""
        told = self._told(asked)
        if told is None:
            return Refusal.MISSING
        # Digests, so that not even the length of the right one can be measured.
        digest = hashlib.sha256(told).digest()
        fits = [
            hmac.compare_digest(hashlib.sha256(self._expected(secret)).digest(), digest)
            for secret in self.secrets
        ]
        return None if any(fits) else Refusal.WRONG

    def _expected(self, secret: bytes) -> bytes:
        return self.user.encode() + b":" + secret if self.scheme == "basic" else secret

    def _told(self, asked: Asked) -> bytes | None:
        if self.scheme == "url_token":
            try:
                fields = parse_qs(asked.query, max_num_fields=QUERY_FIELDS_MAX)
            except ValueError:
                return None
            values = fields.get(self.parameter, [])
            return values[0].encode(errors="replace") if len(values) == 1 else None
        scheme, _, value = asked.headers.get("authorization", "").partition(" ")
        if scheme.lower() != self.scheme or not value.strip():
            return None
        if self.scheme == "bearer":
            return value.strip().encode(errors="replace")
        try:
            return base64.b64decode(value.strip(), validate=True)
        except (binascii.Error, ValueError):
            return b""


@dataclass(frozen=True, slots=True, kw_only=True)
class Unguarded:
    """No secret: programs of this machine alone (the configuration sees to it), no web pages."""

    needs_body: bool = False

    def refusal(self, asked: Asked) -> Refusal | None:
        """Returns why a request does not pass, or None."""
        from_page = "origin" in asked.headers or "sec-fetch-site" in asked.headers
        return Refusal.BROWSER if from_page else None


def _parameter(told: str) -> str | None:
    """The `signature` of `signature=…,algorithm=HMAC-SHA256`; None under another algorithm."""
    pairs = dict(part.strip().partition("=")[::2] for part in told.split(","))
    if pairs.get("algorithm", "HMAC-SHA256").upper() != "HMAC-SHA256":
        return None
    return pairs.get("signature")


def instant_s(stamp: str) -> float | None:
    """Returns a told instant, seconds since the epoch: a number, or ISO 8601 with a zone."""
    text = stamp.strip()
    if text.isascii() and text.isdecimal():
        number = int(text[:20])
        return number / MS_PER_S if number > SECONDS_MAX else float(number)
    try:
        at = datetime.fromisoformat(text)
    except ValueError:
        return None
    return None if at.tzinfo is None else at.timestamp()
