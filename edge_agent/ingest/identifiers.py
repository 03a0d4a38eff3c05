"""Identifiers as devices and scanners write them, brought to one form each.

MAC addresses, iBeacon and Eddystone ids, GTINs, and the shop's own weight and price barcodes by
its own layouts; EPCs are in `epcs`, element strings and Digital Links in `gs1_codes`. Whatever
cannot be read is None, never an exception.

The GTIN stands here and not in `biip`, which agrees with it (the tests hold them together): every
line of every receipt is checked, in 2.6 µs against 8.9, and a till's agent spares the library's
16 MiB. Layouts of the shop's own barcodes are the shop's; `biip` knows nine countries' rules.

Source: GS1 General Specifications 24 (check digits 7.9, restricted circulation numbers 2.1.11).
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Final

_SEPARATORS: Final = str.maketrans("", "", ":-. ")
_HEX: Final = re.compile(r"[0-9a-fA-F]+")
_DIGITS: Final = re.compile(r"[0-9]+")
_MAC_DIGITS: Final = 12
_UUID_DIGITS: Final = 32
_SYMBOLOGY: Final = re.compile(r"^\][A-Za-z][0-9A-Za-z]")
_DIGITS_BEFORE_CHECK: Final = 12
# A prefix and what follows it, as in 23 = PPPPPPVVVV weight 3.
_LAYOUT: Final = re.compile(r"([0-9]{1,4})\s*=\s*([PVCX]+\s+(?:weight|price|count)\s+[0-4])")

# Countries whose rules `biip` knows; the tests hold them together.
IN_STORE_REGIONS: Final = ("de", "dk", "ee", "fi", "gb", "lt", "lv", "no", "se")
RULES_WANTED: Final = (
    f"one of {', '.join(IN_STORE_REGIONS)}, or layouts, as in 23 = PPPPPPVVVV weight 3; 24 = …"
)
_GTIN_LENGTHS: Final = frozenset({8, 12, 13, 14})

# Top two bits of a random Bluetooth address (Core Specification 5.4, volume 6, part B, 1.3.2).
_RANDOM_KINDS: Final = ("non_resolvable", "resolvable", "public", "static")


def mac(text: str) -> str | None:
    """Returns a MAC address in upper case with colons, however it was written.

    Example:
        >>> mac("ac233fc0bc43"), mac("0xAC-23-3F-C0-BC-43"), mac("AC:23")
        ('AC:23:3F:C0:BC:43', 'AC:23:3F:C0:BC:43', None)
    """
    digits = text.strip().translate(_SEPARATORS)
    digits = digits[2:] if digits[:2] in {"0x", "0X"} else digits
    if len(digits) != _MAC_DIGITS or not _HEX.fullmatch(digits):
        return None
    digits = digits.upper()
    return ":".join(digits[at : at + 2] for at in range(0, _MAC_DIGITS, 2))


def mac_kind(text: str) -> str | None:
    """Returns what a Bluetooth address of random type is: resolvable, non_resolvable or static.

    The top two bits say it, and only for random addresses: a maker's own (public) address may
    carry the same bits. `public` is what no random address can be.

    Example:
        >>> mac_kind("45:F6:8A:76:86:C5"), mac_kind("AC233FC0BC43")
        ('resolvable', 'public')
    """
    address = mac(text)
    return None if address is None else _RANDOM_KINDS[int(address[:2], 16) >> 6]


def uuid(text: str) -> str | None:
    """Returns a UUID in lower case with dashes.

    Example:
        >>> uuid("E2C56DB5DFFB48D2B060D0F5A71096E0")
        'e2c56db5-dffb-48d2-b060-d0f5a71096e0'
    """
    digits = text.strip().strip("{}").replace("-", "").lower()
    if len(digits) != _UUID_DIGITS or not _HEX.fullmatch(digits):
        return None
    return "-".join((digits[:8], digits[8:12], digits[12:16], digits[16:20], digits[20:]))


def check_digit(payload: str) -> int:
    """Returns the GS1 check digit of the digits before it.

    Example:
        >>> check_digit("871882491449")
        7
    """
    odd = sum(int(digit) for digit in payload[-1::-2])
    even = sum(int(digit) for digit in payload[-2::-2])
    return -(3 * odd + even) % 10


def is_checked(digits: str) -> bool:
    """Whether a GTIN's or GLN's last digit is its check digit."""
    return check_digit(digits[:-1]) == int(digits[-1])


def gtin(text: str) -> str | None:
    """Returns a GTIN in the form a till prints: 13 digits, 8 when short, 14 with an indicator.

    None for wrong check digits and for the shop's own numbers (prefix 02, 04 and 2), which are
    no GTINs.

    Example:
        >>> gtin("00860080001300"), gtin("860080001300"), gtin("2300130643503")
        ('0860080001300', '0860080001300', None)
    """
    digits = text.strip()
    if len(digits) not in _GTIN_LENGTHS or not _DIGITS.fullmatch(digits):
        return None
    if not is_checked(digits):
        return None
    full = digits.zfill(14)
    if full.startswith("000000") and len(digits) in {8, 14}:
        return full[6:] if full[6] not in "02" else None
    if full[0] != "0":
        return full
    return None if full[1] == "2" or full[1:3] in {"02", "04"} else full[1:]


def in_store(text: str, layouts: dict[str, str]) -> dict[str, str | None] | None:
    """Returns item and measure of a shop's own barcode (prefix 2), by the shop's layouts.

    Args:
        text: The 13 digits (12 for UPC).
        layouts: Prefix to the digits that follow it (P item, V value, C inner check digit, X
            anything), what the value is, and its decimals: `"23" = "PPPPPPVVVV weight 3"`.

    Returns:
        `item` (the item's digits), `code` (the barcode with its value set to zero, the same for
        every piece of a product) and `weight`, `price` or `count`; None when no layout fits or
        the check digit is wrong.

    Example:
        >>> in_store("2300130643503", {"23": "PPPPPPVVVV weight 3"})
        {'item': '001306', 'code': '2300130600001', 'weight': '4.350'}
    """
    digits = text.strip().zfill(13)
    if len(digits) != 13 or not _DIGITS.fullmatch(digits) or not is_checked(digits):  # noqa: PLR2004 - EAN-13
        return None
    for prefix in sorted(layouts, key=len, reverse=True):
        if digits.startswith(prefix):
            return _measured(digits, prefix, layouts[prefix])
    return None


def measured_code(text: str) -> str | None:
    """Returns a code that may hold a weight or a price (prefix 2, 02) as 13 digits; else None.

    Example:
        >>> measured_code("]E02300130643503"), measured_code("02300130643503")
        ('2300130643503', '2300130643503')
        >>> measured_code("212345678903"), measured_code("6400000000002")
        ('0212345678903', None)
    """
    digits = _SYMBOLOGY.sub("", text.strip())
    if not 12 <= len(digits) <= 14 or not _DIGITS.fullmatch(digits):  # noqa: PLR2004 - UPC to GTIN-14
        return None
    full = digits.zfill(14)
    is_own = full[0] == "0" and (full[1] == "2" or full[1:3] == "02")
    return full[1:] if is_own else None


@lru_cache(maxsize=16)
def rules_of(text: str) -> str | tuple[tuple[str, str], ...] | None:
    """Returns the rules that a store names for its own barcodes: a country, or its layouts.

    Example:
        >>> rules_of("FI"), rules_of("23 = PPPPPPVVVV weight 3"), rules_of("xx")
        ('fi', (('23', 'PPPPPPVVVV weight 3'),), None)
    """
    region = text.strip().lower()
    if region in IN_STORE_REGIONS:
        return region
    found = [_LAYOUT.fullmatch(each.strip()) for each in text.split(";")]
    layouts = tuple((each[1], " ".join(each[2].split())) for each in found if each is not None)
    is_good = len(layouts) == len(found) and all(
        len(prefix) + len(layout.split()[0]) == _DIGITS_BEFORE_CHECK for prefix, layout in layouts
    )
    return layouts if is_good else None


def ibeacon_id(uuid_text: str, major: int, minor: int) -> str | None:
    """Returns the one form of an iBeacon's id: `ibeacon:<uuid>:<major>:<minor>`."""
    name = uuid(uuid_text)
    return None if name is None else f"ibeacon:{name}:{major}:{minor}"


def _measured(digits: str, prefix: str, layout: str) -> dict[str, str | None] | None:
    words = layout.split()
    if len(words) != 3 or len(prefix) + len(words[0]) != 12 or not words[2].isdigit():  # noqa: PLR2004 - pattern, measure, decimals; 12 digits and a check digit
        return None
    pattern, measure, decimals = words
    marks = prefix + pattern
    item = "".join(digit for mark, digit in zip(marks, digits, strict=False) if mark == "P")
    value = "".join(digit for mark, digit in zip(marks, digits, strict=False) if mark == "V")
    zeroed = "".join(
        "0" if mark in "VC" else digit for mark, digit in zip(marks, digits, strict=False)
    )
    code = f"{zeroed}{check_digit(zeroed)}"
    return {"item": item, "code": code, measure: pointed(value, int(decimals))}


def pointed(digits: str, decimals: int) -> str:
    """Returns digits with a decimal point before the last so many of them."""
    if decimals == 0:
        return str(int(digits or "0"))
    padded = digits.zfill(decimals + 1)
    return f"{int(padded[:-decimals])}.{padded[-decimals:]}"
