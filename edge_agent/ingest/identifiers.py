"""Identifiers as devices and scanners write them, brought to one form each.

MAC addresses, iBeacon and Eddystone ids, EPCs, GTINs, GS1 Digital Links and element strings, and
the shop's own weight and price barcodes. Whatever cannot be read is None, never an exception:
an EPC that is no SGTIN simply has no GTIN.

Source: GS1 General Specifications 24 (check digits 7.9, application identifiers 3), GS1 EPC Tag
Data Standard 2.1 (SGTIN-96 14.6.1, SGTIN-198 14.6.1.2), GS1 Digital Link URI 1.2 (4.2).
"""

from __future__ import annotations

import re
from typing import Final

_SEPARATORS: Final = str.maketrans("", "", ":-. ")
_HEX: Final = re.compile(r"[0-9a-fA-F]+")
_DIGITS: Final = re.compile(r"[0-9]+")
_MAC_DIGITS: Final = 12
_UUID_DIGITS: Final = 32
_GTIN_LENGTHS: Final = frozenset({8, 12, 13, 14})

# Top two bits of a random Bluetooth address (Core Specification 5.4, volume 6, part B, 1.3.2).
_RANDOM_KINDS: Final = ("non_resolvable", "resolvable", "public", "static")

# Partition value to (bits, digits) of the company prefix and (bits, digits) of the item reference.
_SGTIN_PARTITIONS: Final = (
    (40, 12, 4, 1),
    (37, 11, 7, 2),
    (34, 10, 10, 3),
    (30, 9, 14, 4),
    (27, 8, 17, 5),
    (24, 7, 20, 6),
    (20, 6, 24, 7),
)
_SGTIN_96: Final = 0x30
_SGTIN_198: Final = 0x36
_SERIAL_BITS_96: Final = 38
_SERIAL_CHARACTERS_198: Final = 20

# Names of the application identifiers that matter in a shop, and the fixed lengths of values.
_NAMES: Final = {
    "01": "gtin", "02": "content_gtin", "10": "lot", "21": "serial", "22": "variant",
    "15": "best_before", "17": "expiry", "30": "count", "37": "count", "00": "sscc",
    "414": "location", "8006": "part_gtin",
}  # fmt: skip
_FIXED: Final = {
    "00": 18, "01": 14, "02": 14, "03": 14, "11": 6, "12": 6, "13": 6, "15": 6, "16": 6, "17": 6,
    "20": 2, "31": 6, "32": 6, "33": 6, "34": 6, "35": 6, "36": 6, "41": 13,
}  # fmt: skip
_LINK: Final = re.compile(r"https?://[^/\s?#]+(/[^\s?#]*)", re.IGNORECASE)
_BRACKETS: Final = re.compile(r"\(([0-9]{2,4})\)([^()]*)")
_SYMBOLOGY: Final = re.compile(r"^\][A-Za-z][0-9]")
_SEPARATOR: Final = "\x1d"
_TEXT_MAX: Final = 512
_AI_SHORT: Final = frozenset(_FIXED) | {"10", "21", "22", "30", "37", "90", "91", "92"}


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


def epc(text: str) -> dict[str, str | None] | None:
    """Returns what an EPC says: `id` as sent, and `gtin` and `serial` when it is an SGTIN.

    Takes hexadecimal (as readers send it), URNs (`urn:epc:id:sgtin:…`, `urn:epc:tag:…`) and
    Digital Links.

    Example:
        >>> epc("urn:epc:id:sgtin:0614141.107346.2017")["gtin"]
        '10614141073464'
        >>> epc("3074257BF7194E4000001A85")["gtin"]
        '80614141123458'
    """
    name = text.strip()
    if not name or len(name) > _TEXT_MAX:
        return None
    if name[:8].lower() == "urn:epc:":
        return _epc_from_urn(name)
    if "://" in name:
        found = gs1(name)
        if found is None or found.get("gtin") is None:
            return None
        return {
            "scheme": "sgtin",
            "id": name,
            "gtin": found["gtin"],
            "serial": found.get("serial"),
        }
    digits = name.upper()
    return _epc_from_hex(digits) if _HEX.fullmatch(digits) and len(digits) % 2 == 0 else None


def gs1(text: str) -> dict[str, str | None] | None:
    """Returns the parts of a scanned code: Digital Link, element string or bare GTIN.

    Keys are `gtin`, `lot`, `serial`, `expiry`, `best_before`, `count`, `sscc`, `weight_kg`,
    `price` and `ai_…` for others; what a link's query says is no identifier.

    Example:
        >>> gs1("https://id.example.org/01/00860080001300/10/12345/21/43786?x=1")["lot"]
        '12345'
        >>> gs1("(01)00860080001300(3103)001250")["weight_kg"]
        '1.250'
    """
    code = _SYMBOLOGY.sub("", text.strip())
    if not code or len(code) > _TEXT_MAX:
        return None
    link = _LINK.fullmatch(code.split("?")[0].split("#")[0])
    if link is not None:
        return _named(_pairs_of_link(link[1]))
    if code.startswith("("):
        return _named([(ai, value) for ai, value in _BRACKETS.findall(code)])
    if _DIGITS.fullmatch(code) and len(code) in _GTIN_LENGTHS:
        return {"gtin": gtin(code)} if gtin(code) is not None else None
    return _named(_pairs_of_elements(code))


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


def ibeacon_id(uuid_text: str, major: int, minor: int) -> str | None:
    """Returns the one form of an iBeacon's id: `ibeacon:<uuid>:<major>:<minor>`."""
    name = uuid(uuid_text)
    return None if name is None else f"ibeacon:{name}:{major}:{minor}"


def _epc_from_urn(name: str) -> dict[str, str | None] | None:
    parts = name.split(":")
    scheme, body = parts[3] if len(parts) > 4 else "", ":".join(parts[4:])  # noqa: PLR2004 - urn:epc:id:scheme:body
    fields = body.split(".")
    if scheme.startswith("sgtin-"):
        scheme, fields = "sgtin", fields[1:]
    unknown = {"scheme": scheme or None, "id": name, "gtin": None, "serial": None}
    if scheme not in {"sgtin", "idpat"} or len(fields) < 2:  # noqa: PLR2004 - company and item
        return unknown
    company, item = fields[0], fields[1]
    whole = company + item
    if len(whole) != 13 or not _DIGITS.fullmatch(whole) or not item:  # noqa: PLR2004 - GTIN-14 less check digit
        return unknown
    serial = ".".join(fields[2:]) or None
    return {"scheme": "sgtin", "id": name, "gtin": _gtin_of(company, item), "serial": serial}


def _gtin_of(company: str, item: str) -> str:
    # The indicator digit stands first in the item reference and moves to the front.
    payload = item[0] + company + item[1:]
    full = f"{payload}{check_digit(payload)}"
    return full[1:] if full[0] == "0" else full


def _epc_from_hex(digits: str) -> dict[str, str | None]:
    unknown: dict[str, str | None] = {"scheme": None, "id": digits, "gtin": None, "serial": None}
    header = int(digits[:2], 16)
    bits = len(digits) * 4
    if header == _SGTIN_96 and bits == 96:  # noqa: PLR2004 - its own length
        serial_bits = _SERIAL_BITS_96
    elif header == _SGTIN_198 and bits >= 198:  # noqa: PLR2004 - its own length
        serial_bits = _SERIAL_CHARACTERS_198 * 7
    else:
        return unknown
    number = int(digits, 16) >> (bits - 8 - 3 - 3 - 44 - serial_bits)
    serial_number, number = number & ((1 << serial_bits) - 1), number >> serial_bits
    partition = (number >> 44) & 0b111
    if partition >= len(_SGTIN_PARTITIONS):
        return unknown
    _, company_digits, item_bits, item_digits = _SGTIN_PARTITIONS[partition]
    body = number & ((1 << 44) - 1)
    company = str(body >> item_bits).zfill(company_digits)
    item = str(body & ((1 << item_bits) - 1)).zfill(item_digits)
    if len(company) > company_digits or len(item) > item_digits:
        return unknown
    serial = str(serial_number) if header == _SGTIN_96 else _ascii_7(serial_number)
    return {"scheme": "sgtin", "id": digits, "gtin": _gtin_of(company, item), "serial": serial}


def _ascii_7(number: int) -> str:
    codes = [(number >> (7 * place)) & 0x7F for place in range(_SERIAL_CHARACTERS_198)]
    return "".join(chr(code) for code in reversed(codes) if code)


def _pairs_of_link(path: str) -> list[tuple[str, str]]:
    parts = [part for part in path.split("/") if part]
    starts = [at for at, part in enumerate(parts) if part in {"01", "gtin", "8006", "00", "414"}]
    if not starts:
        return []
    tail = parts[starts[0] :]
    pairs = list(zip(tail[::2], tail[1::2], strict=False))
    return [("01" if key == "gtin" else key, value) for key, value in pairs]


def _pairs_of_elements(code: str) -> list[tuple[str, str]]:
    pairs: list[tuple[str, str]] = []
    at = 0
    while at < len(code):
        if code[at] == _SEPARATOR:
            at += 1
            continue
        two = code[at : at + 2]
        if not _DIGITS.fullmatch(two):
            return []
        size = (
            2 if two in _AI_SHORT and two not in {"31", "32", "33", "34", "35", "36", "41"} else 4
        )
        size = 3 if two in {"24", "25", "40", "41", "42"} else size
        ai, at = code[at : at + size], at + size
        end = at + _FIXED[two] if two in _FIXED else len(code.split(_SEPARATOR, 1)[0])
        if two not in _FIXED:
            found = code.find(_SEPARATOR, at)
            end = len(code) if found < 0 else found
        pairs.append((ai, code[at:end]))
        at = end
    return pairs


def _named(pairs: list[tuple[str, str]]) -> dict[str, str | None] | None:
    found: dict[str, str | None] = {}
    for ai, value in pairs:
        if ai in {"01", "02", "8006"}:
            found[_NAMES[ai]] = gtin(value.zfill(14)) or _company_gtin(value)
        elif len(ai) == 4 and ai[:3] == "310" and _DIGITS.fullmatch(value):  # noqa: PLR2004 - 310n
            found["weight_kg"] = _pointed(value, int(ai[3]))
        elif len(ai) == 4 and ai[:3] in {"392", "393"} and _DIGITS.fullmatch(value):  # noqa: PLR2004 - 392n, 393n
            found["price"] = _pointed(value[3:] if ai[:3] == "393" else value, int(ai[3]))
        elif value:
            found[_NAMES.get(ai, f"ai_{ai}")] = value
    return found or None


def _company_gtin(value: str) -> str | None:
    # Within a link or element string a number of prefix 2 is still the item's own key.
    digits = value.zfill(14)
    is_good = len(digits) == 14 and _DIGITS.fullmatch(digits) and is_checked(digits)  # noqa: PLR2004 - GTIN-14
    return digits if is_good else None


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
    return {"item": item, "code": code, measure: _pointed(value, int(decimals))}


def _pointed(digits: str, decimals: int) -> str:
    if decimals == 0:
        return str(int(digits or "0"))
    padded = digits.zfill(decimals + 1)
    return f"{int(padded[:-decimals])}.{padded[-decimals:]}"
