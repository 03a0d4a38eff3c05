"""Raw identifiers that look like real ones, none of which belongs to anybody.

The data set knows households by a number from 1 to 2,500. A household's loyalty card and its
handle at HQ follow from that number alone, so that they are the same on every day and with every
seed. Beacon addresses and track ids are new for every visit, as a phone's random address is.
"""

from __future__ import annotations

from dataclasses import dataclass
from hashlib import blake2b
from typing import Final

from edge_agent.replay.chance import Chance
from edge_agent.wire.base import VisitorKind

# GS1 prefixes 20-29 are for numbers within a company, so no product and no other chain has them.
# Source: GS1 General Specifications, section 1.4.1 (restricted circulation numbers).
_CARD_PREFIX: Final = "29"
_CARD_DIGITS: Final = 12
_HANDLE_BYTES: Final = 10
_MAC_OCTETS: Final = 6
_TRACK_BYTES: Final = 5
_LOCAL_BIT: Final = 0x02
_GROUP_BIT: Final = 0x01


@dataclass(frozen=True, slots=True, order=True)
class RawIdentifier:
    """An identifier as a device or till reads it; must be found in no file of the agent."""

    kind: VisitorKind
    value: str


def loyalty_number(household: str) -> str:
    """Returns a household's 13-digit card number, check digit included.

    Example:
        >>> loyalty_number("900")
        '2911977690997'
    """
    digest = blake2b(f"loyalty {household}".encode(), digest_size=8).digest()
    n_free = _CARD_DIGITS - len(_CARD_PREFIX)
    body = f"{_CARD_PREFIX}{int.from_bytes(digest, 'big') % 10**n_free:0{n_free}d}"
    return f"{body}{ean_check_digit(body)}"


def ean_check_digit(digits: str) -> int:
    """Returns the check digit of an EAN-13 without it.

    Source: GS1 General Specifications, section 7.9 (weights 3 and 1 from the right).

    Example:
        >>> ean_check_digit("640000000900")
        5
    """
    weighted = sum(
        int(digit) * (3 if i % 2 == 0 else 1) for i, digit in enumerate(reversed(digits))
    )
    return -weighted % 10


def customer_handle(household: str) -> str:
    """Returns the opaque name under which HQ knows the household."""
    digest = blake2b(f"handle {household}".encode(), digest_size=_HANDLE_BYTES)
    return f"crm-{digest.hexdigest()}"


def card_digest(card: str) -> str:
    """Returns what stands for a card number where only equality matters."""
    return blake2b(f"card {card}".encode(), digest_size=_HANDLE_BYTES).hexdigest()


def beacon_address(chance: Chance, visit: str) -> str:
    """Returns a locally administered, individual MAC address for one visit.

    Source: IEEE 802-2014, section 8.2.2 (the two low bits of the first octet).
    """
    octets = bytearray(chance.octets("ble", visit, n_bytes=_MAC_OCTETS))
    octets[0] = (octets[0] & ~_GROUP_BIT) | _LOCAL_BIT
    return octets.hex(":").upper()


def track_id(chance: Chance, visit: str) -> str:
    """Returns the id under which the cameras follow one visit."""
    return f"trk-{chance.token('track', visit, n_bytes=_TRACK_BYTES)}"
