"""Weight and price barcodes of the shop's own, read by the rules that the store names."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from edge_agent.cli.map import load_mapping
from edge_agent.ingest import identifiers
from edge_agent.ingest.gs1_codes import REGIONS
from edge_agent.ingest.mapping import CompiledMapping, Lookups, Mapped, interpret, read_mapping

ROOT = Path(__file__).resolve().parents[2]
NOW = 1_772_445_600_000
# 4.35 and 1.2 kg of one item, Finland.
CODES = ("2300130643503", "2300130612004")
PRODUCT = "2300130600001"
LAYOUTS = "21 = PPPPPPVVVV price 2; 23 = PPPPPPVVVV weight 3"
RECEIPT = """<POSLog><Transaction><BusinessUnit><UnitID>1</UnitID></BusinessUnit>
<WorkstationID>4</WorkstationID><SequenceNumber>{number}</SequenceNumber>
<BusinessDayDate>2026-03-02</BusinessDayDate><EndDateTime>2026-03-02T09:00:00Z</EndDateTime>
<CurrencyCode>EUR</CurrencyCode><RetailTransaction><LineItem><Sale><ItemID>{code}</ItemID>
<Quantity{units}>{quantity}</Quantity><ExtendedAmount>8.66</ExtendedAmount></Sale></LineItem>
</RetailTransaction></Transaction></POSLog>"""
SCANNED = """schema_version = 1
vendor = "acme"
device = "ACME"
tier = "listed"
documentation = "https://example.com"
topics = ["a"]
[settings]
in_store_codes = "{rules}"
[[rules]]
name = "scanned"
event = "item.scanned"
[rules.data.product]
path = "code"
decode = "in_store_code"
options = {{ {options} }}
select = "code"
"""
BY_SETTING = 'region = "$settings.in_store_codes"'


def mapped(device: str, topic: str, payload: str, rules: Any = None) -> Mapped:
    """What a shipped mapping makes of a message, in a store with these rules or none."""
    settings = {} if rules is None else {"in_store_codes": rules}
    mapping = load_mapping(ROOT / "hardware" / device / "mapping.toml")
    return interpret(
        mapping, topic, payload.encode(), received_at_ms=NOW, lookups=Lookups(settings=settings)
    )


def lines(rules: str | None, code: str, quantity: str = "1", units: str = "") -> list[Any]:
    """Product and quantity of each line of a POSLog receipt."""
    text = RECEIPT.format(number=1, code=code, quantity=quantity, units=units)
    found = mapped("arts-poslog", "pos/4/poslog", text, rules)
    assert not found.refusals
    told = [json.loads(each.model_dump_json())["data"]["lines"] for each in found.events]
    return [(each["product"], each["quantity"]) for line in told for each in line]


def problems(rules: str, options: str) -> str:
    """What the check says of a file with this setting and these options."""
    made = read_mapping(SCANNED.format(rules=rules, options=options))
    return "" if isinstance(made, CompiledMapping) else "; ".join(made)


@pytest.mark.parametrize("rules", ["fi", "FI", LAYOUTS])
def test_weighings_of_a_receipt_are_one_product(rules: str) -> None:
    """Whatever a piece weighs, its product is the same."""
    assert [lines(rules, code)[0][0] for code in CODES] == [PRODUCT, PRODUCT]


def test_receipt_without_rules_keeps_its_codes() -> None:
    """A store that says nothing has what it had."""
    assert [lines(None, code)[0][0] for code in CODES] == list(CODES)
    # Nor does a rule touch what is no weight or price.
    assert lines("fi", "4711")[0][0] == "4711"
    assert lines("fi", "2000000000015")[0][0] == "2000000000015"


@pytest.mark.parametrize(
    ("quantity", "units", "expected"),
    [
        ("1", "4.35", "4.35"),
        ("2", "0.5", "1"),
        ("3", "1", "3"),
        ("4.35", "4.350", "4.35"),
        ("2", "", "2"),
        ("2", "KGM", "2"),
        ("2", "0", "2"),
    ],
)
def test_units_of_a_quantity_are_counted(quantity: str, units: str, expected: str) -> None:
    """One piece of 4.35 units is 4.35; a number said twice counts once, and no number is none."""
    assert lines(None, "4711", quantity, f' Units="{units}"') == [("4711", expected)]


@pytest.mark.parametrize(
    ("device", "topic", "payload"),
    [
        ("gs1-digital-link", "scanner/1/code", '{"code": "%s"}'),
        ("gs1-digital-link", "scanner/1/code", "]E0%s"),
        (
            "zebra",
            "zebra/1/data",
            '{"data": {"barcodeData": [{"decodedBarcode": "%s"}]}}',
        ),
    ],
)
def test_scanned_weight_code_needs_the_stores_rules(device: str, topic: str, payload: str) -> None:
    """Without them the refusal names the setting, with them the product is told."""
    refused = mapped(device, topic, payload % CODES[0])
    assert refused.events == ()
    assert "in_store_codes" in refused.refusals[0].detail
    # A prefix for which the country has no rule.
    refused = mapped(device, topic, payload % "2900130643505", "fi")
    assert "in_store_codes" in refused.refusals[0].detail
    (event,) = mapped(device, topic, payload % CODES[0], "fi").events
    assert json.loads(event.model_dump_json())["data"]["product"] == PRODUCT


@pytest.mark.parametrize("rules", ["xx", "23 = PPPP weight 3", "23 PPPPPPVVVV", 5, True])
def test_wrong_rules_are_told(rules: Any) -> None:
    """A slip in the setting refuses what it is about, with what may stand there."""
    (refusal,) = mapped("gs1-digital-link", "scanner/1/code", CODES[0], rules).refusals
    assert "in_store_codes: one of de, dk" in refusal.detail


def test_check_knows_the_rules_of_a_file() -> None:
    """A file's own setting and options are checked before a code comes."""
    assert problems("fi", BY_SETTING) == ""
    assert "must be one of de, dk" in problems("finland", BY_SETTING)
    assert "unknown" in problems("fi", f"{BY_SETTING}, unknown = 'keep'")


def test_regions_are_those_of_the_library() -> None:
    """The names that are checked without it are its own."""
    assert identifiers.IN_STORE_REGIONS == REGIONS


@pytest.mark.parametrize("code", ["2300130643503", "2112345601992", "2399999900001", "23"])
def test_layouts_and_region_agree(code: str) -> None:
    """Finland's rules, written out, read as the library does."""
    text = "23 = PPPPPPVVVV weight 3; 24 = PPPPPPVVVV weight 2; 25 = PPPPPPVVVV weight 1"
    found = [
        [
            each.model_dump_json()
            for each in mapped("gs1-digital-link", "scanner/1/code", code, rules).events
        ]
        for rules in ("fi", text)
    ]
    assert found[0] == found[1]
