"""Values, times and identifiers as devices write them."""

from __future__ import annotations

import doctest
from decimal import Decimal

import pytest

from edge_agent.ingest import conversions, epcs, gs1_codes, identifiers, instants
from edge_agent.ingest.conversions import NotConvertible, integer_of, number_of, seconds_of
from edge_agent.ingest.decoders import ble_advertisement, ibeacon
from edge_agent.ingest.instants import moment_of, seconds_since_1970
from edge_agent.ingest.payloads import Unreadable, document_of

NOW = 1_772_445_600_000


@pytest.mark.parametrize("module", [conversions, epcs, gs1_codes, identifiers, instants])
def test_examples_in_the_documentation_hold(module: object) -> None:
    """The doctests of the modules."""
    assert doctest.testmod(module).failed == 0  # type: ignore[arg-type] # modules, all of them


@pytest.mark.parametrize(
    ("text", "decimal", "number"),
    [
        ("20960", ".", 20960),
        (" -1.50 ", ".", Decimal("-1.50")),
        ("1,234.50", ".", Decimal("1234.50")),
        ("34,90", ",", Decimal("34.90")),
        ("1.234.567,5", ",", Decimal("1234567.5")),
        ("1 204", ",", 1204),
        ("1,000", "either", Decimal("1.000")),
        ("4.35", "either", Decimal("4.35")),
        ("€ 12.00", ".", Decimal("12.00")),
        ("2e3", ".", Decimal("2e3")),
    ],
)
def test_number_is_read_from_text(text: str, decimal: str, number: object) -> None:
    """Thousands, decimal marks and currency signs in the vendor's manner."""
    assert number_of(text, decimal=decimal) == number


@pytest.mark.parametrize("text", ["1,000", "", "-", "NaN", "1_0", "٣", "0x10", "9" * 50, True])
def test_what_is_no_plain_number_is_refused(text: object) -> None:
    """A thousand and a one with three decimals look alike: the file has to say which."""
    with pytest.raises(NotConvertible):
        number_of(text)


def test_half_a_person_is_no_count() -> None:
    """Whole numbers may have a point, not a fraction."""
    assert integer_of("2.0") == 2
    with pytest.raises(NotConvertible):
        integer_of("2.5")


def test_durations_are_seconds() -> None:
    """Clock and ISO 8601 forms."""
    assert [seconds_of(each) for each in ("1:30", "0:01:30.5", "PT1M30S", "90", 90)] == [
        90,
        Decimal("90.5"),
        90,
        90,
        90,
    ]


@pytest.mark.parametrize(
    ("value", "options", "at_ms"),
    [
        (1_670_518_346_712, {"unit": "ms"}, 1_670_518_346_712),
        ("1653668027", {"unit": "s"}, 1_653_668_027_000),
        (1_607_123_962.082975, {"unit": "s"}, 1_607_123_962_082),
        (1_653_668_027_000_000, {"unit": "us"}, 1_653_668_027_000),
        ("2024-07-18T08:00:00.000+0000", {}, 1_721_289_600_000),
        ("2024-07-18T08:00:00.000+0000", {"unit": "s"}, 1_721_289_600_000),
        ("2005-04-03T20:33:31.116000-06:00", {}, 1_112_582_011_116),
        ("2024-09-26T17:06:56.741", {"zone": "Europe/Berlin"}, 1_727_363_216_741),
        (
            "26.09.2024 17:06",
            {"form": "%d.%m.%Y %H:%M", "zone": "Europe/Berlin"},
            1_727_363_160_000,
        ),
    ],
)
def test_time_is_read(value: object, options: dict[str, str], at_ms: int) -> None:
    """Numbers with a unit, ISO texts, local texts with a zone."""
    found = moment_of(value, received_at_ms=NOW, **options)  # type: ignore[arg-type] # only texts
    assert (found.at_ms, found.replaced) == (at_ms, None)


@pytest.mark.parametrize(
    ("text", "plain"),
    [
        ("2026-03-02t10:00:00z", "2026-03-02T10:00:00Z"),
        ("2026-03-02 10:00:00 UTC", "2026-03-02T10:00:00Z"),
        ("2026-03-02T10:00:00\u221202:00", "2026-03-02T12:00:00Z"),
        ("2026-03-02T09:59:60.500Z", "2026-03-02T09:59:59.500Z"),
        ("2026-03-01T24:00:00.0Z", "2026-03-02T00:00:00Z"),
    ],
)
def test_time_is_read_as_the_standards_allow_it(text: str, plain: str) -> None:
    """RFC 3339 has small letters and leap seconds, ISO 8601 the day's end as 24:00."""
    found, meant = (moment_of(each, received_at_ms=NOW) for each in (text, plain))
    assert (found.at_ms, found.replaced) == (meant.at_ms, None)
    assert seconds_since_1970(text) == seconds_since_1970(plain)


@pytest.mark.parametrize(
    ("value", "options", "why"),
    [
        (None, {}, "absent"),
        ("2026-03-01T24:30:00Z", {}, "unreadable"),
        ("soon", {}, "unreadable"),
        (1_670_518_346, {}, "unreadable"),
        ("2024-09-26T17:06:56", {}, "unreadable"),
        (12, {"unit": "s"}, "impossible"),
        ("2099-01-01T00:00:00Z", {}, "impossible"),
        (10**400, {"unit": "s"}, "impossible"),
        ("2020-01-01T00:00:00Z", {"max_age_days": 30.0}, "impossible"),
    ],
)
def test_bad_time_becomes_the_arrival(value: object, options: dict[str, object], why: str) -> None:
    """A number without a unit is not guessed, and years ahead are not believed."""
    found = moment_of(value, received_at_ms=NOW, **options)  # type: ignore[arg-type] # as the file gives
    assert (found.at_ms, found.replaced) == (NOW, why)


def test_hour_that_comes_twice_is_the_one_near_the_arrival() -> None:
    """On the night the clocks go back, the arrival tells which half past two is meant."""
    text, first = "2024-10-27T02:30:00", 1_729_989_000_000
    second = first + 3_600_000
    for arrival, meant in ((first + 60_000, first), (second + 60_000, second)):
        assert moment_of(text, received_at_ms=arrival, zone="Europe/Berlin").at_ms == meant
    later = moment_of(text, received_at_ms=first, zone="Europe/Berlin", fold="later")
    assert later.at_ms == second


@pytest.mark.parametrize(
    ("text", "gtin"),
    [
        ("00860080001300", "0860080001300"),
        ("860080001300", "0860080001300"),
        ("8718824914497", "8718824914497"),
        ("10614141073464", "10614141073464"),
        ("96385074", "96385074"),
        ("8718824914498", None),
        ("2300130643503", None),
        ("A718824914497", None),
    ],
)
def test_gtin_has_one_form(text: str, gtin: str | None) -> None:
    """The same product is the same text; the shop's own and wrong numbers are no GTINs."""
    assert identifiers.gtin(text) == gtin


def test_epc_that_is_no_gs1_number_stays_as_it_is() -> None:
    """A tag need not hold a GTIN."""
    found = epcs.epc("7EDA9038051002710002C0AE")
    assert found == {
        "scheme": None,
        "id": "7EDA9038051002710002C0AE",
        "gtin": None,
        "serial": None,
    }


def test_epc_forms_of_one_item_agree() -> None:
    """Tag memory, URN and link name the same GTIN and serial."""
    forms = (
        "3074257BF7194E4000001A85",
        "urn:epc:id:sgtin:0614141.812345.6789",
        "urn:epc:tag:sgtin-96:3.0614141.812345.6789",
        "https://id.gs1.org/01/80614141123458/21/6789",
    )
    found = [epcs.epc(form) for form in forms]
    assert {(each["gtin"], each["serial"]) for each in found if each} == {
        ("80614141123458", "6789")
    }
    assert None not in found


def test_element_string_is_taken_apart() -> None:
    """Fixed and variable lengths, with and without brackets, as scanners send them."""
    plain = gs1_codes.gs1("]d2010950600013435210ABC\x1d17270101")
    assert plain == gs1_codes.gs1("(01)09506000134352(10)ABC(17)270101")
    assert plain == {"gtin": "9506000134352", "lot": "ABC", "expiry": "270101"}


def test_price_inside_a_barcode_is_read_by_the_shops_layout() -> None:
    """Longer prefixes go first; other layouts do not apply."""
    digits = "21123450" + "0399"
    code = f"{digits}{identifiers.check_digit(digits)}"
    found = identifiers.in_store(code, {"2": "XXXXXXXXXXX price 0", "21": "PPPPPPVVVV price 2"})
    assert found is not None
    assert (found["item"], found["price"]) == ("123450", "3.99")
    assert identifiers.in_store(code, {"23": "PPPPPPVVVV weight 3"}) is None


def test_addresses_that_rotate_are_told_apart() -> None:
    """The top two bits of a random address."""
    kinds = [identifiers.mac_kind(f"{top}0000000001") for top in ("05", "45", "85", "C5")]
    assert kinds == ["non_resolvable", "resolvable", "public", "static"]


def test_beacon_ids_of_all_senders_agree() -> None:
    """Text, object and advertising data give one id."""
    uuid = "01234567-89ab-cdef-0123-456789abcdef"
    data = f"0201061aff4c000215{uuid.replace('-', '')}00070009c5"
    assert (
        ibeacon(f"iBeacon:{uuid}-7-9", {})
        == ibeacon({"uuid": uuid.upper(), "major": "7", "minor": 9}, {})
        == ble_advertisement(data, {})["ibeacon"]
        == f"ibeacon:{uuid}:7:9"
    )


def test_eddystone_is_read() -> None:
    """Namespace and instance of a UID frame."""
    data = "0303aafe1516aafe00e7" + "0102030405060708090a" + "0b0c0d0e0f10"
    assert (
        ble_advertisement(data, {})["eddystone"] == "eddystone:0102030405060708090a:0b0c0d0e0f10"
    )


def test_form_is_decoded() -> None:
    """Percent signs, plus signs and UTF-8."""
    assert document_of(b"a=1+2&b=%C3%A4&a=9", "form") == {"a": "1 2", "b": "ä"}


def test_table_with_a_header_is_decoded() -> None:
    """Every line becomes an object."""
    assert document_of(b"\xef\xbb\xbfid;n\r\n1;2\r\n", "csv", delimiter=";") == [
        {"id": "1", "n": "2"}
    ]


@pytest.mark.parametrize(
    ("payload", "packing", "reason"),
    [
        (b"{", "json", "not_json"),
        (b"\xff", "json", "not_utf8"),
        (b"NaN", "json", "not_json"),
        (b"[" * 5_000, "json", "too_deep"),
        (b"<a>", "xml", "not_xml"),
        (b"<!DOCTYPE a><a/>", "xml", "not_xml"),
        (b"a b", "form", "not_form"),
        (b"!", "base64", "not_base64"),
        (b"xyz", "hex", "not_hex"),
    ],
)
def test_unreadable_payload_has_its_reason(payload: bytes, packing: str, reason: str) -> None:
    """The word that becomes the dead letter's reason."""
    with pytest.raises(Unreadable) as caught:
        document_of(payload, packing)  # type: ignore[arg-type] # the words of the file
    assert caught.value.reason == reason
