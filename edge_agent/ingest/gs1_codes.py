"""What a scanned GS1 code says, read by the `biip` library: the one module that imports it.

`biip` 5.2.0 (October 2026) is kept, typed, and knows every application identifier with its length
and form, which our own table did not. It costs 16 MiB and 75 ms beside the mapping language, most
of it the list of company prefixes, and 40 to 75 µs a code: so it is imported when a mapping that
uses it is compiled, and by nobody else. A Digital Link is taken apart here and its parts are read
by `biip`: its own reader refuses the whole link for one qualifier out of its place or one bad
attribute, and the product is lost. Compressed links are not read: `biip` does not, and
`gs1-compression` had its last release in August 2021.

Source: GS1 General Specifications 24 (application identifiers 3), GS1 Digital Link URI 1.2 (4, 5).
"""

from __future__ import annotations

import re
from base64 import urlsafe_b64decode
from typing import Final

from biip import ParseConfig, ParseError
from biip.gs1_element_strings import GS1ElementString
from biip.gs1_messages import GS1Message
from biip.gtin import Gtin
from biip.rcn import Rcn, RcnRegion

from edge_agent.ingest.epcs import unescaped
from edge_agent.ingest.identifiers import gtin, is_checked, pointed

Parts = dict[str, str | None]

REGIONS: Final = tuple(sorted(each.value for each in RcnRegion))

_TEXT_MAX: Final = 512
_DIGITS: Final = re.compile(r"[0-9]+")
_ATTRIBUTES_MAX: Final = 32
_GTIN_DIGITS: Final = 14
_GTIN_LENGTHS: Final = frozenset({8, 12, 13, 14})
_LINK: Final = re.compile(r"https?://[^/\s?#]+(/[^\s?#]*)(?:\?([^\s#]*))?(?:#\S*)?", re.IGNORECASE)
_SYMBOLOGY: Final = re.compile(r"^\][A-Za-z][0-9A-Za-z]")
# All-zero dates are printed; a wrong date is no reason not to know the product.
_CONFIG: Final = ParseConfig(gs1_element_strings_verify_date=False)

# Names of the application identifiers that matter in a shop.
_NAMES: Final = {
    "00": "sscc", "01": "gtin", "02": "content_gtin", "10": "lot", "11": "produced",
    "13": "packed", "15": "best_before", "17": "expiry", "21": "serial", "22": "variant",
    "30": "count", "37": "count", "235": "third_party_serial", "253": "gdti", "254": "extension",
    "255": "gcn", "414": "location", "417": "party", "7003": "expiry_time", "8003": "grai",
    "8004": "giai", "8006": "part_gtin", "8017": "gsrnp", "8018": "gsrn",
}  # fmt: skip
# The words of older links, in the digits of today's.
_WORDS: Final = {
    "gtin": "01", "lot": "10", "ser": "21", "cpv": "22", "sscc": "00", "gln": "414",
    "glnx": "254", "grai": "8003", "giai": "8004", "gdti": "253", "gcn": "255", "exp": "17",
    "itip": "8006", "gsrn": "8018", "gsrnp": "8017",
}  # fmt: skip
_KEYS: Final = frozenset({
    "00", "01", "253", "255", "401", "402", "414", "415", "417", "8003", "8004", "8006", "8010",
    "8013", "8017", "8018",
})  # fmt: skip
# A compressed link's last part: four bits a digit, of an identifier or a code of several.
_PACKED: Final = re.compile(r"[A-Za-z0-9_-]{12,}")
_PACKED_STARTS: Final = re.compile(r"0[012]|2[15]|4[01]|80|0[A-F]|[A-F][0-9A-F]")


def gs1(text: str) -> Parts | None:
    """Returns the parts of a scanned code: Digital Link, element string or bare GTIN.

    Keys are `gtin`, `lot`, `serial`, `expiry`, `best_before`, `count`, `sscc`, `weight_kg`,
    `price` and others by their names, or `ai_…`, and `element_string` where there is a serial
    number. Of a link's query only attributes count, such as an expiry; what else stands there
    is no identifier.

    Example:
        >>> gs1("https://id.example.org/01/00860080001300/10/12345/21/43786?x=1")["lot"]
        '12345'
        >>> gs1("(01)00860080001300(3103)001250")["weight_kg"]
        '1.250'
    """
    code = _SYMBOLOGY.sub("", text.strip())
    if not code or len(code) > _TEXT_MAX:
        return None
    link = _LINK.fullmatch(code)
    if link is not None:
        return _named(_elements_of_link(link[1], link[2] or ""))
    if _DIGITS.fullmatch(code) and len(code) in _GTIN_LENGTHS:
        found = gtin(code)
        return None if found is None else {"gtin": found}
    try:
        is_readable = code.startswith("(")
        message = (
            GS1Message.parse_hri(code, config=_CONFIG)
            if is_readable
            else GS1Message.parse(code, config=_CONFIG)
        )
    except (ParseError, ValueError):
        return None
    return _named(list(message.element_strings))


def is_compressed(text: str) -> bool:
    """Whether a text is a Digital Link whose key is packed into its last part.

    Example:
        >>> is_compressed("https://id.gs1.org/AQnYUc1gmiERBhQ0ytiyZuAuWzA")
        True
        >>> is_compressed("https://example.com/some-page-of-a-shop")
        False
    """
    link = _LINK.fullmatch(text.strip())
    parts = [part for part in link[1].split("/") if part] if link else []
    if not parts or _KEYS.intersection(parts) or not _PACKED.fullmatch(parts[-1]):
        return False
    name = parts[-1]
    is_mixed = any(each.isdigit() for each in name) and any(each.isupper() for each in name)
    first = urlsafe_b64decode(name[:4]).hex().upper()
    return is_mixed and _PACKED_STARTS.match(first) is not None


def in_store_by_region(text: str, region: str) -> Parts | None:
    """Returns item and measure of a shop's own barcode, by the rules of a country's GS1.

    Returns:
        As `identifiers.in_store`; None where the country has no rule for the prefix, or a check
        digit is wrong.

    Example:
        >>> in_store_by_region("2300130643503", "fi")
        {'item': '001306', 'code': '2300130600001', 'weight': '4.350'}
    """
    config = ParseConfig(rcn_region=RcnRegion(region))
    try:
        found = Gtin.parse(text.strip(), config=config)
    except (ParseError, ValueError):
        return None
    if not isinstance(found, Rcn):
        return None
    measures = {"weight": found.weight, "price": found.price, "count": found.count}
    name, value = next(
        ((name, value) for name, value in measures.items() if value is not None), ("", None)
    )
    if value is None:
        return None
    # As many decimals as the measure has: grams of a weight, cents of a price.
    measure = {"weight": f"{value:.3f}", "price": f"{value:.2f}", "count": f"{value}"}[name]
    code = found.without_variable_measure().as_gtin_13()
    return {"item": found.item_reference, "code": code, name: measure}


def _elements_of_link(path: str, query: str) -> list[GS1ElementString]:
    parts = [_WORDS.get(part, unescaped(part)) for part in path.split("/") if part]
    start = next((at for at, part in enumerate(parts) if part in _KEYS), len(parts))
    pairs = list(zip(parts[start::2], parts[start + 1 :: 2], strict=False))
    if not pairs:
        return []
    key, number = pairs[0]
    pairs[0] = (key, number.zfill(_GTIN_DIGITS) if key == "01" else number)
    # What the query says is an attribute, if anything: no second key.
    said = [pair.partition("=") for pair in query.split("&")[:_ATTRIBUTES_MAX]]
    pairs += [(ai, unescaped(value)) for ai, _, value in said if ai not in _KEYS]
    found = [_element_of(ai, value) for ai, value in pairs]
    # One that is wrong is left out; without the key there is nothing.
    return [] if found[0] is None else [each for each in found if each is not None]


def _element_of(ai: str, value: str) -> GS1ElementString | None:
    try:
        element = GS1ElementString.parse(f"{ai}{value}", config=_CONFIG)
    except (ParseError, ValueError):
        return None
    # A word of the query may begin like an identifier.
    return element if element.ai.ai == ai and element.value == value else None


def _named(elements: list[GS1ElementString]) -> Parts | None:
    found: Parts = {}
    for element in elements:
        name, value = _part(element.ai.ai, element.value)
        # The path of a link goes before its query.
        found.setdefault(name, value)
    gtin_14, serial = (found.get("gtin") or "").zfill(_GTIN_DIGITS), found.get("serial")
    if serial and found.get("gtin"):
        # As an EPC's: one item is one text, however it was read.
        found["element_string"] = f"(01){gtin_14}(21){serial}"
    return found or None


def _part(ai: str, value: str) -> tuple[str, str | None]:
    if ai in {"01", "02"}:
        return _NAMES[ai], gtin(value) or _company_gtin(value)
    if ai == "8006":
        return _NAMES[ai], gtin(value[:14]) or _company_gtin(value[:14])
    if len(ai) == 4 and ai[:3] == "310":  # noqa: PLR2004 - 310n
        return "weight_kg", pointed(value, int(ai[3]))
    if len(ai) == 4 and ai[:3] in {"392", "393"}:  # noqa: PLR2004 - 392n, 393n
        return "price", pointed(value[3:] if ai[:3] == "393" else value, int(ai[3]))
    return _NAMES.get(ai, f"ai_{ai}"), value


def _company_gtin(value: str) -> str | None:
    # Within a link or element string a number of prefix 2 is still the item's own key.
    return value if is_checked(value) else None
