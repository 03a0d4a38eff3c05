"""GS1 keys as tags, scanners and documents write them."""

from __future__ import annotations

import subprocess
import sys

import pytest

from edge_agent.ingest import identifiers
from edge_agent.ingest.conversions import NotConvertible
from edge_agent.ingest.decoders import decoder_of
from edge_agent.ingest.epcs import epc
from edge_agent.ingest.gs1_codes import gs1, in_store_by_region
from edge_agent.ingest.mapping import CompiledMapping, Lookups, interpret, read_mapping

FILE = """schema_version = 1
vendor = "reader"
device = "a reader"
tier = "listed"
documentation = "https://example.com"
topics = ["reader/#"]
[[rules]]
name = "tag"
event = "item.scanned"
[rules.data]
product = {{ path = "code", decode = "{decode}", {options}select = "{select}", required = true }}
instance = {{ path = "code", as = "opaque" }}
"""


def compiled(decode: str, select: str = "gtin", options: str = "") -> CompiledMapping:
    """A mapping of one rule with a decoder."""
    made = read_mapping(FILE.format(decode=decode, select=select, options=options))
    assert isinstance(made, CompiledMapping), made
    return made


@pytest.mark.parametrize(
    ("text", "key", "value", "serial"),
    [
        ("urn:epc:id:sgtin:0614141.107346.2017", "gtin", "10614141073464", "2017"),
        ("urn:epc:id:sgtin:0614141.107346.32a%2Fb", "gtin", "10614141073464", "32a/b"),
        ("urn:epc:idpat:sgtin:0614141.107346.*", "gtin", "10614141073464", None),
        ("urn:epc:tag:sgtin-96:3.0614141.812345.6789", "gtin", "80614141123458", "6789"),
        ("urn:epc:raw:96.x3074257BF7194E4000001A85", "gtin", "80614141123458", "6789"),
        ("urn:epc:id:itip:4012345.012345.01.02.987", "gtin", "4012345123456", "987"),
        ("urn:epc:id:sscc:0614141.1234567890", "sscc", "106141412345678908", None),
        ("urn:epc:id:sgln:0614141.07346.1234", "gln", "0614141073467", "1234"),
        ("urn:epc:id:grai:0614141.12345.400", "grai", "0614141123452", "400"),
        ("urn:epc:id:giai:0614141.12345400", "giai", "061414112345400", None),
        ("https://id.gs1.org/00/106141412345678908", "sscc", "106141412345678908", None),
        ("https://id.gs1.org/8003/00614141123452400", "grai", "0614141123452", "400"),
        ("https://example.com/a/gtin/614141123452/21/x%2Fy", "gtin", "0614141123452", "x/y"),
    ],
)
def test_key_comes_out_of_every_spelling(
    text: str, key: str, value: str, serial: str | None
) -> None:
    """URNs of items, classes, tags and raw memory, and links, give their key and serial."""
    found = epc(text)
    assert found is not None
    assert (found[key], found["serial"]) == (value, serial)


def test_one_item_is_one_element_string() -> None:
    """Tag, URN and link of one piece cannot be told apart by their spelling."""
    forms = (
        "3074257BF7194E4000001A85",
        "urn:epc:id:sgtin:0614141.812345.6789",
        "https://id.gs1.org/01/80614141123458/21/6789",
    )
    texts = {found["element_string"] for form in forms if (found := epc(form))}
    scanned = gs1("]d2018061414112345821" + "6789")
    assert scanned is not None
    assert texts == {"(01)80614141123458(21)6789", scanned["element_string"]}


def test_new_tags_tell_their_product() -> None:
    """An SGTIN+ holds its GTIN in plain digits; a wrong check digit is no GTIN."""
    good, bad = (epc(f"F70{gtin}0A40000000000") for gtin in ("09506000134352", "09506000134353"))
    assert good is not None
    assert bad is not None
    assert (good["gtin"], bad["gtin"]) == ("9506000134352", None)


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        (
            "https://example.com/01/9506000134352/21/7/10/A%2F1",
            {"gtin": "9506000134352", "serial": "7", "lot": "A/1"},
        ),
        (
            "https://example.com/x/gtin/09506000134352/lot/ABC?17=270101&01=1&3103=000195",
            {"gtin": "9506000134352", "lot": "ABC", "expiry": "270101", "weight_kg": "0.195"},
        ),
        ("https://example.com/414/9506000134352/254/a", {"location": "9506000134352"}),
        ("(01)09506000134352(17)000000", {"gtin": "9506000134352", "expiry": "000000"}),
        ("0109506000134352235TP\x1d98x", {"third_party_serial": "TP", "ai_98": "x"}),
        ("(00)106141412345678908(37)12", {"sscc": "106141412345678908", "count": "12"}),
    ],
)
def test_code_is_taken_apart(text: str, parts: dict[str, str]) -> None:
    """Qualifiers in any order, words of older links, attributes in the query, rare identifiers."""
    found = gs1(text)
    assert found is not None
    assert {name: found[name] for name in parts} == parts


def test_compressed_link_is_refused_with_its_reason() -> None:
    """The reason says that it is compressed; any other link has no value."""
    link = b'{"code": "https://id.gs1.org/AQnYUc1gmiERBhQ0ytiyZuAuWzA"}'
    mapped = interpret(compiled("gs1"), "reader/1", link, received_at_ms=0)
    (refusal,) = mapped.refusals
    assert refusal.detail == "data.product: a compressed Digital Link is not read"
    decode = decoder_of("gs1", {})
    assert decode("https://example.com/some-page-of-a-shop", {}) is None
    with pytest.raises(NotConvertible, match="compressed"):
        decode("https://id.gs1.org/AQnYUc1gmiERBhQ0ytiyZuAuWzA", {})


@pytest.mark.parametrize(
    ("text", "region", "measure"),
    [
        ("2300130643503", "fi", ("weight", "4.350")),
        ("2088060112343", "se", ("price", "12.34")),
        ("2088060112343", "fi", None),
        ("2088060112344", "se", None),
        ("5099556020858", "fi", None),
    ],
)
def test_countries_rules_measure_a_barcode(
    text: str, region: str, measure: tuple[str, str] | None
) -> None:
    """Price or weight as the country says; no rule, no check digit or no such code is None."""
    found = in_store_by_region(text, region)
    assert (None if found is None else (measure or ("", ""))[0] in found) is (
        None if measure is None else True
    )
    assert found is None or measure is None or found[measure[0]] == measure[1]


def test_own_layout_and_countrys_rule_agree() -> None:
    """The layout that the page gives for Finland is the country's."""
    layouts = {"23": "PPPPPPVVVV weight 3"}
    assert identifiers.in_store("2300130643503", layouts) == in_store_by_region(
        "2300130643503", "fi"
    )


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ('options = { region = "xx" }, ', "there are de, dk, ee, fi, gb, lt, lv, no, se"),
        ('options = { region = "fi", 23 = "PPPPPPVVVV weight 3" }, ', "layouts of your own"),
    ],
)
def test_check_tells_a_wrong_region(options: str, words: str) -> None:
    """A region that nobody knows, or one beside own layouts, is told with its line."""
    text = FILE.format(decode="in_store_code", select="item", options=options)
    (problem,) = (each for each in read_mapping(text) if words in each)  # type: ignore[union-attr] # a refused file
    assert problem.startswith("line 11:")


def test_piece_is_told_apart_and_not_told() -> None:
    """The same tag is the same piece, under another key another; its number is nowhere."""
    payload = b'{"code": "urn:epc:id:sgtin:0614141.107346.2017"}'
    told = []
    for secret in (b"one", b"one", b"two"):
        lookups = Lookups(secret=secret)
        mapped = interpret(compiled("epc"), "reader/1", payload, received_at_ms=0, lookups=lookups)
        told.append(mapped.events[0].model_dump_json())
    assert told[0] == told[1] != told[2]
    assert not [each for each in told if "2017" in each]


def test_agent_without_scanned_codes_spares_the_library() -> None:
    """Mappings of readers and receipts do not load it; a mapping of scanners does."""
    code = (
        "import sys; from edge_agent.cli.map import load_mapping; from pathlib import Path;"
        "load_mapping(Path('hardware') / sys.argv[1] / 'mapping.toml');"
        "print('biip' in sys.modules)"
    )
    found = {
        name: subprocess.run(
            [sys.executable, "-c", code, name], capture_output=True, text=True, check=True
        ).stdout.strip()
        for name in ("impinj", "gs1-epcis", "fi-ekuitti", "gs1-digital-link")
    }
    assert found == {
        "impinj": "False",
        "gs1-epcis": "False",
        "fi-ekuitti": "False",
        "gs1-digital-link": "True",
    }
