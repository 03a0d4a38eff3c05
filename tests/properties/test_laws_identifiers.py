"""GS1 identifiers: ours are what the libraries read, and any text is a value or a refusal."""

from __future__ import annotations

import contextlib
from typing import Final

from biip import ParseConfig, ParseError
from biip.gtin import Gtin
from biip.rcn import Rcn, RcnRegion
from epcpy.epc_schemes.base_scheme import GS1Element
from epcpy.utils.common import ConvertException
from epcpy.utils.parsers import hex_to_tag_encodable
from hypothesis import given
from hypothesis import strategies as st

from edge_agent.ingest import identifiers
from edge_agent.ingest.decoders import decoder_of
from edge_agent.ingest.epcs import epc
from edge_agent.ingest.gs1_codes import gs1, in_store_by_region, is_compressed

DIGITS: Final = "0123456789"
# Headers of tags and the lengths of their memory, padded to whole words; ITIP apart, which the
# library decodes without its key.
MEMORIES: Final = {
    0x2C: 96, 0x2D: 96, 0x2E: 96, 0x30: 96, 0x31: 96, 0x32: 96, 0x33: 96, 0x34: 96, 0x36: 208,
    0x37: 176, 0x38: 208, 0x39: 208, 0x3E: 176, 0x3F: 96,
}  # fmt: skip
TEXT_AFTER: Final = {0x36: 58, 0x37: 58, 0x39: 55, 0x3E: 55}
COMPANY_BITS: Final = (40, 37, 34, 30, 27, 24, 20)
# Layouts of the page for technicians, each with its country.
LAYOUTS: Final = {
    "fi": {"23": "PPPPPPVVVV weight 3", "24": "PPPPPPVVVV weight 2", "25": "PPPPPPVVVV weight 1"},
    "de": {"28": "PPPPCVVVVV weight 3", "22": "PPPPCVVVVV price 2"},
    "se": {"20": "PPPPPPVVVV price 2", "23": "PPPPPPVVVV weight 3"},
}
SCRAPS: Final = st.sampled_from(
    ["https://", "http://x.org", "/01/", "/gtin/", "/21/", "?17=", "(01)", "(", ")", "]d2", "\x1d",
     "01", "21", "3103", "8006", "09506000134352", "urn:epc:", "urn:epc:id:sgtin:", "urn:epc:raw:",
     "96.x", "tag:", "giai:", "itip:", ".", "*", "%2F", "%", "30", "F70", "3074257BF7194E40",
     "é", "0", "\uff19", "id:sscc:0614141.", "class:lgtin:"]
)  # fmt: skip
TEXTS: Final = st.one_of(st.text(max_size=600), st.lists(SCRAPS, max_size=14).map("".join))


@st.composite
def tags(draw: st.DrawFn) -> str:
    """Tag memory of a scheme of GS1; serial numbers of letters are letters that may be there."""
    header = draw(st.sampled_from(sorted(MEMORIES)))
    size = MEMORIES[header]
    partition = draw(st.integers(0, 7))
    bits = f"{header:08b}{draw(st.integers(0, 7)):03b}{partition:03b}"
    start = size
    if header == 0x38:  # GIAI-202: text from where the company prefix ends
        start = 14 + COMPANY_BITS[min(partition, 6)]
    start = TEXT_AFTER.get(header, start)
    bits += "".join(
        draw(st.lists(st.sampled_from("01"), min_size=start - 14, max_size=start - 14))
    )
    if start < size:
        text = draw(st.text("ABCxyz019-_.", min_size=1, max_size=9))
        bits += "".join(f"{ord(letter):07b}" for letter in text)
    if header in {0x2D, 0x2E, 0x31}:
        bits = bits[:72]
    return f"{int(bits.ljust(size, '0'), 2):0{size // 4}X}"


@st.composite
def checked(draw: st.DrawFn, prefixes: tuple[str, ...] = ("",), size: int = 13) -> str:
    """Digits with their check digit."""
    prefix = draw(st.sampled_from(prefixes))
    rest = size - 1 - len(prefix)
    payload = prefix + draw(st.text(DIGITS, min_size=rest, max_size=rest))
    return f"{payload}{identifiers.check_digit(payload)}"


@given(tag=tags())
def test_tag_is_what_the_library_reads(tag: str) -> None:
    """Key, serial number and refusal of every scheme and partition agree with epcpy."""
    expected = None
    with contextlib.suppress(ConvertException, ValueError, IndexError):
        scheme = hex_to_tag_encodable(tag)
        assert isinstance(scheme, GS1Element)
        expected = scheme.gs1_element_string()
    found = epc(tag)
    assert found is not None
    # The library refuses a coupon whose serial number lost its leading one; we keep its number.
    if expected is not None or not tag.startswith("3F"):
        assert found.get("element_string") == expected


@given(
    digits=st.one_of(checked(size=14), checked(), checked(size=8), st.text(DIGITS, max_size=15))
)
def test_gtin_is_what_the_library_reads(digits: str) -> None:
    """What we call a GTIN is one, and the same; what the library refuses we refuse."""
    try:
        expected = Gtin.parse(digits)
    except ParseError:
        assert identifiers.gtin(digits) is None
        return
    found = identifiers.gtin(digits)
    assert found is None or Gtin.parse(found).as_gtin_14() == expected.as_gtin_14()
    # What the shop gave out itself is no GTIN, and little else is refused.
    assert found is not None or isinstance(expected, Rcn) or digits.startswith("000000")


@given(data=st.data(), region=st.sampled_from(sorted(LAYOUTS)))
def test_layout_is_what_the_countrys_rule_reads(data: st.DataObject, region: str) -> None:
    """Item, code without its value, and measure agree wherever the rule takes the barcode."""
    layouts = LAYOUTS[region]
    code = data.draw(checked(tuple(layouts)))
    expected = in_store_by_region(code, region)
    found = identifiers.in_store(code, layouts)
    assert found is not None
    # The rule checks an inner check digit too, which a layout leaves alone.
    assert expected is None or found == expected or _as_number(found) == _as_number(expected)


def test_countries_are_those_of_the_library() -> None:
    """A country with rules is known by its two letters."""
    assert {each.value for each in RcnRegion} >= set(LAYOUTS)
    assert isinstance(
        Gtin.parse("2300130643503", config=ParseConfig(rcn_region=RcnRegion.FINLAND)), Rcn
    )


@given(text=TEXTS)
def test_any_text_is_a_value_or_none(text: str) -> None:
    """Nothing that a stranger's reader sends makes an identifier raise."""
    for read in (epc, gs1, identifiers.gtin, identifiers.mac, identifiers.uuid):
        found = read(text)
        assert found is None or isinstance(found, (str, dict))
    assert is_compressed(text) in {True, False}
    assert identifiers.in_store(text, {"2": "XXXXXXXXXXX price 0"}) is None or text.strip()
    for region in LAYOUTS:
        found = decoder_of("in_store_code", {"region": region})(text, {})
        assert found is None or set(found) >= {"item", "code"}


def _as_number(parts: dict[str, str | None]) -> dict[str, str]:
    return {
        name: f"{float(value or 0):.3f}" if name in {"weight", "price", "count"} else str(value)
        for name, value in parts.items()
    }
