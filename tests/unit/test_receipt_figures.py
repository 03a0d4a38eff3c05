"""Figures beside a receipt's total: told where a till says them, never at the cost of a sale."""

from __future__ import annotations

import json
from typing import Any, Final

import pytest

from edge_agent.cli.map import line_of
from edge_agent.ingest.mapping import CompiledMapping, Mapped, interpret, read_mapping

NOW: Final = 1_772_445_600_000
SALE: Final = """schema_version = 1
vendor = "acme"
device = "ACME till"
tier = "listed"
documentation = "https://example.com"
topics = ["till/#"]

[[rules]]
name = "sale"
when = "lines"
event = "sale.completed"
id = ["no"]
[rules.let]
lines.rows.path = "lines"
lines.rows.fields = { product = "sku", quantity = "n", amount = "paid", tax = "tax" }
short = { sum = ["$lines[].amount"], minus = "total" }
[rules.data]
basket = "no"
register = "till"
currency = { const = "EUR" }
lines = "$lines"
total = "total"
tax = "tax"
tax_included = { first = [{ const = true, when = "$short == `0`" }, { const = false, when = "$short < `0`" }] }
tip = { path = "tip", scale = 1 }
taxes.when = "taxes"
taxes.rows.path = "taxes"
taxes.rows.fields = { rate = { path = "percent", scale = 0.01 }, tax = "tax" }
tenders.when = "paid"
tenders.rows.path = "paid"
tenders.rows.fields = { kind = "by", amount = "amount" }
"""  # noqa: E501 - a file as somebody writes it
LINE: Final = {"sku": "a", "n": 1, "paid": "5.00"}
RECEIPT: Final[dict[str, Any]] = {
    "no": "77",
    "lines": [LINE, {"sku": "b", "n": 2, "paid": "2.00"}],
    "total": "7.00",
}


def mapped(**more: Any) -> Mapped:
    """What comes of the receipt, with more said on it."""
    made = read_mapping(SALE)
    assert isinstance(made, CompiledMapping), made
    return interpret(made, "till/1", json.dumps({**RECEIPT, **more}).encode(), received_at_ms=NOW)


def data_of(found: Mapped) -> dict[str, Any]:
    """The one event's data."""
    (event,) = found.events
    data: dict[str, Any] = json.loads(line_of(event))["data"]
    return data


def test_receipt_without_figures_says_none() -> None:
    """What a till does not tell is absent, not zero."""
    told = data_of(mapped())
    assert set(told) == {"basket", "currency", "lines", "total", "tax_included"}
    assert set(told["lines"][0]) == {"product", "quantity", "amount", "discount"}


def test_figures_are_told_as_money() -> None:
    """Tax and its groups, and how it was paid, beside the total."""
    told = data_of(
        mapped(
            tax=0.7,
            tip="1",
            taxes=[{"percent": "14", "tax": "0.50"}, {"percent": 24, "tax": 0.2}],
            paid=[{"by": "cash", "amount": "10"}, {"by": "card", "amount": 2}],
        )
    )
    assert (told["tax"], told["tip"], told["total"]) == ("0.70", "1.00", "7.00")
    assert told["taxes"] == [{"rate": 0.14, "tax": "0.50"}, {"rate": 0.24, "tax": "0.20"}]
    assert told["tenders"] == [
        {"kind": "cash", "amount": "10.00"},
        {"kind": "card", "amount": "2.00"},
    ]


@pytest.mark.parametrize(("total", "is_included"), [("7.00", True), ("7.70", False), ("6", None)])
def test_condition_compares_what_was_reckoned(total: str, *, is_included: bool | None) -> None:
    """A sum is a number in a condition as one of the message is."""
    assert data_of(mapped(total=total)).get("tax_included") is is_included


@pytest.mark.parametrize(
    ("bad", "place"),
    [
        ({"tax": "n/a"}, "data.tax"),
        ({"tax": "-0.70"}, "data.tax"),
        ({"tax": {"amount": 1}}, "data.tax"),
        ({"tax": "123456789012345.00"}, "data.tax"),
        ({"tip": "some"}, "data.tip"),
        ({"tip": -1}, "data.tip"),
        ({"lines": [{**LINE, "tax": "-1"}, RECEIPT["lines"][1]]}, "data.lines.tax"),
        ({"lines": [{**LINE, "tax": "some"}, RECEIPT["lines"][1]]}, "data.lines.tax"),
        ({"taxes": "14 %"}, "data.taxes"),
        ({"paid": [{"by": "shells", "amount": "7.00"}]}, "data.tenders 1"),
        ({"paid": [{"by": "cash", "amount": "much"}]}, "data.tenders 1"),
    ],
)
def test_bad_figure_is_refused_alone(bad: dict[str, Any], place: str) -> None:
    """The sale is told without it, and what was wrong with which is said."""
    good = {"tax": "0.70", "tip": "0.10"}
    found = mapped(**{**good, **bad})
    told = data_of(found)
    assert [line["amount"] for line in told["lines"]] == ["5.00", "2.00"]
    assert {key: told.get(key) for key in good if key not in bad} == {
        key: value for key, value in good.items() if key not in bad
    }
    assert not {"tax", "tip", "taxes", "tenders"} & set(bad) & set(told)
    assert place in [each.place for each in found.refusals]
    assert {each.reason for each in found.refusals} == {"invalid"}


@pytest.mark.parametrize(
    "bad", [{"total": "n/a"}, {"total": "-7.00"}, {"no": "x" * 200}, {"till": "a/b"}]
)
def test_what_a_sale_cannot_be_without_still_stops_it(bad: dict[str, Any]) -> None:
    """Only figures may be left out: no total, basket or till, though a figure is bad as well."""
    found = mapped(**bad, tax="-1")
    assert found.events == ()
    assert "invalid" in [each.reason for each in found.refusals]


def test_good_tender_beside_a_bad_one_is_told() -> None:
    """Ways of paying are refused one by one, as lines are."""
    paid = [{"by": "cash", "amount": "5.00"}, {"by": "card", "amount": None}]
    found = mapped(paid=paid)
    assert data_of(found)["tenders"] == [{"kind": "cash", "amount": "5.00"}]
    assert [each.place for each in found.refusals] == ["data.tenders 2"]
