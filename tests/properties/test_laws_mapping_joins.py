"""Laws of what a mapping joins: shares add up, and any text is rows or is refused."""

from __future__ import annotations

import json
import time
from decimal import Decimal
from typing import Any, Final

from hypothesis import given
from hypothesis import strategies as st

from edge_agent.ingest.csv_tables import LINES_MAX
from edge_agent.ingest.mapping import CompiledMapping, Lookups, Mapped, interpret, read_mapping
from edge_agent.ingest.payloads import Unreadable, document_of
from edge_agent.ingest.sharing import shares_of
from edge_agent.wire.mapping_csv import Csv, Record
from tests.properties.test_mapping_total import NOW_MS, SOON_S, assert_sound, documents

HEAD: Final = """schema_version = 1
vendor = "acme"
device = "ACME"
tier = "listed"
documentation = "https://example.com"
topics = ["#"]
"""
TILL: Final = """
[[rules]]
name = "sale"
event = "sale.completed"
[rules.data]
basket = { const = "7" }
currency = { const = "EUR" }
total = "total"
[rules.data.lines.rows]
path = "items"
share = { total = "$message.total", from = "amount", to = "discount", by = "w", where = "take" }
[rules.data.lines.rows.fields]
product = { const = "p" }
quantity = { const = 1 }
amount = "price"
discount = { const = 0 }
"""
EXPORT: Final = """
format = "csv"
[csv.records.H]
columns = ["receipt"]
[csv.records.D]
under = "H"
columns = ["sku", "amount"]
[csv.records.M]
under = "D"
columns = ["text"]
[[rules]]
name = "sale"
each = { path = "@" }
event = "sale.completed"
[rules.data]
basket = "receipt"
currency = { const = "EUR" }
total = { sum = ["D[].amount"] }
[rules.data.lines.rows]
path = "D"
fields = { product = "sku", quantity = { const = 1 }, amount = "amount" }
"""
KNOWING: Final = """
mode = "all"
[[rules]]
name = "told"
remember = { as = "it", key = "{id}", value = "value" }
[[rules]]
name = "read"
event = "zone.occupancy"
data.zone = { path = "id", recall = "it", as = "text" }
data.count = "n"
"""


def compiled(text: str) -> CompiledMapping:
    """A mapping of these rules."""
    made = read_mapping(HEAD + text)
    assert isinstance(made, CompiledMapping), made
    return made


MAPPINGS: Final = {
    "till": compiled(TILL),
    "export": compiled(EXPORT),
    "knowing": compiled(KNOWING),
}

cents = st.integers(0, 10_000_000).map(lambda each: Decimal(each) / 100)
weights = st.lists(
    st.one_of(cents, st.decimals(0, 10**6, places=6), st.just(Decimal(0))), min_size=1, max_size=40
)


def mapped(name: str, payload: bytes) -> Mapped:
    """Maps one message."""
    return interpret(
        MAPPINGS[name], "a", payload, received_at_ms=NOW_MS, lookups=Lookups(secret=b"test")
    )


@given(st.integers(-(10**9), 10**9), weights)
def test_shares_add_up_and_none_is_off_by_a_unit(units: int, given_weights: list[Decimal]) -> None:
    """Not a cent is lost or made, and nobody gets more than its part rounded up."""
    found = shares_of(units, given_weights)
    assert sum(found) == units
    whole = sum(given_weights)
    for share, weight in zip(found, given_weights, strict=True):
        part = Decimal(units) / len(found) if not whole else Decimal(units) * weight / whole
        assert abs(Decimal(share) - part) < 1


@given(st.lists(cents.filter(bool), min_size=1, max_size=40), st.data())
def test_a_discount_takes_no_line_below_zero(amounts: list[Decimal], data: st.DataObject) -> None:
    """By their own amounts, lines bear at most what they are."""
    units = data.draw(st.integers(0, int(sum(amounts) * 100)))
    for share, amount in zip(shares_of(units, amounts), amounts, strict=True):
        assert 0 <= share <= amount * 100


@given(
    st.lists(st.tuples(cents, st.integers(0, 5), st.booleans()), min_size=1, max_size=20), cents
)
def test_lines_of_a_receipt_add_up_to_its_total(
    items: list[tuple[Decimal, int, bool]], total: Decimal
) -> None:
    """What is paid for the lines is what was paid, as long as one line takes a share."""
    rows = [{"price": str(price), "w": w, "take": take} for price, w, take in items]
    result = mapped("till", json.dumps({"total": str(total), "items": rows}).encode())
    if not any(take for _, _, take in items):
        return
    amounts = [_line(each)["amount"] for each in _lines(result)]
    if len(amounts) == len(items):
        assert sum(map(Decimal, amounts)) == total


def _lines(result: Mapped) -> list[Any]:
    return [line for event in result.events for line in event.model_dump()["data"]["lines"]]


def _line(each: Any) -> dict[str, Any]:
    return dict(each)


record_text = st.lists(
    st.tuples(st.sampled_from(["H", "D", "M", "X", ""]), st.text("ab1 ", max_size=8)).map(
        ",".join
    ),
    max_size=20,
).map("\n".join)


@given(st.sampled_from(sorted(MAPPINGS)), st.binary(max_size=200))
def test_any_bytes_are_joined_or_refused(name: str, payload: bytes) -> None:
    """No payload makes a join raise."""
    assert_sound(mapped(name, payload))


names = st.sampled_from(["items", "total", "id", "value", "n", "price", "w", "take"])


@given(st.sampled_from(["till", "knowing"]), st.dictionaries(names, documents))
def test_any_document_is_joined_or_refused(name: str, document: Any) -> None:
    """Nor does any document of the right names."""
    assert_sound(mapped(name, json.dumps(document).encode("utf-8", "surrogatepass")))


@given(record_text)
def test_every_record_is_in_a_receipt_or_told_as_bad(text: str) -> None:
    """No line of an export vanishes."""
    form = Csv(
        records={
            "H": Record(columns=("receipt",)),
            "D": Record(columns=("sku",), under="H"),
            "M": Record(columns=("text",), under="D"),
        }
    )
    bad: list[int] = []
    found = document_of(
        text.encode(), "csv", lines=form, bad_line=lambda number, _detail: bad.append(number)
    )
    n_joined = sum(1 + len(each["D"]) + sum(len(d["M"]) for d in each["D"]) for each in found)
    assert n_joined + len(bad) == len(text.splitlines())


@given(st.text(max_size=200), st.integers(0, 3), st.integers(0, 3), st.integers(1, 3))
def test_any_text_is_rows_or_is_refused(text: str, skip: int, head: int, header: int) -> None:
    """No layout of lines raises anything but its own refusal."""
    form = Csv(skip=skip, head=head, header=header)
    try:
        found = document_of(text.encode("utf-8", "surrogatepass"), "csv", lines=form)
    except Unreadable:
        return
    assert isinstance(found, dict if head else list)


def test_a_long_export_or_receipt_ends_soon() -> None:
    """As many lines as are taken, and as many shares, within a bounded time."""
    export = b"H,1\n" + b"D,a,1.00\n" * (LINES_MAX - 1)
    orphans = b"D,a,1.00\n" * LINES_MAX
    items = [{"price": "1.01", "w": at, "take": True} for at in range(5_000)]
    receipt = json.dumps({"total": "17.03", "items": items}).encode()
    for name, payload in (("export", export), ("export", orphans), ("till", receipt)):
        started = time.perf_counter()
        assert_sound(mapped(name, payload))
        assert time.perf_counter() - started < SOON_S
