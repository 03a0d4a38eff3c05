"""What a mapping joins: an amount of the whole to its lines, lines to a header, topic to topic."""

from __future__ import annotations

import json
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from edge_agent.domain.time import DAY_MS
from edge_agent.ingest.mapping import (
    CompiledMapping,
    Entry,
    Lookups,
    Mapped,
    applied,
    interpret,
    read_mapping,
)

HEAD = """schema_version = 1
vendor = "acme"
device = "ACME"
tier = "listed"
documentation = "https://example.com"
topics = ["a/#"]
"""
NOW = 1_772_445_600_000


def compiled(text: str) -> CompiledMapping:
    """A mapping of these rules."""
    made = read_mapping(HEAD + text)
    assert isinstance(made, CompiledMapping), made
    return made


def mapped(
    mapping: CompiledMapping,
    payload: Any,
    *,
    topic: str = "a/b",
    state: dict[str, Entry] | None = None,
    at_ms: int = NOW,
) -> Mapped:
    """Maps one message."""
    body = payload if isinstance(payload, bytes) else json.dumps(payload).encode()
    return interpret(
        mapping,
        topic,
        body,
        state=state or {},
        received_at_ms=at_ms,
        lookups=Lookups(secret=b"test"),
    )


def data(result: Mapped) -> list[dict[str, Any]]:
    """The events' data, as JSON."""
    return [
        json.loads(event.model_dump_json(exclude_none=True))["data"] for event in result.events
    ]


# --- an amount shared out -------------------------------------------------------------------

TILL = """
[[rules]]
name = "sale"
event = "sale.completed"
[rules.data]
basket = "id"
currency = { const = "EUR" }
total = "total"
[rules.data.lines.rows]
path = "items"
share = SHARE
[rules.data.lines.rows.fields]
product = "sku"
quantity = "n"
amount = "price"
discount = { const = 0 }
"""


def lines(share: str, prices: list[Any], **fields: Any) -> list[tuple[str, str]]:
    """Amount and discount of the lines of a receipt."""
    items = [{"sku": str(at), "n": 1, "price": each} for at, each in enumerate(prices)]
    result = mapped(
        compiled(TILL.replace("SHARE", share)),
        {"id": "7", "total": "1.00", "items": items, **fields},
    )
    assert not result.refusals, result.refusals
    return [(line["amount"], line["discount"]) for line in data(result)[0]["lines"]]


def test_basket_discount_is_taken_off_the_lines_to_the_cent() -> None:
    """The cents that do not divide go to the largest remainders, so that nothing is lost."""
    share = '{ amount = "$message.off", from = "amount", to = "discount" }'
    found = lines(share, ["10.00", "5.00", "5.00"], off="1.00")
    assert found == [("9.50", "0.50"), ("4.75", "0.25"), ("4.75", "0.25")]
    thirds = lines(share, ["1.00", "1.00", "1.00"], off="1.00")
    assert thirds == [("0.66", "0.34"), ("0.67", "0.33"), ("0.67", "0.33")]


def test_tax_is_added_where_prices_are_without() -> None:
    """What goes to a field alone is added to it."""
    share = '{ amount = "$message.tax", to = "amount" }'
    assert lines(share, ["1.00", "3.00"], tax=0.1) == [("1.03", "0.00"), ("3.07", "0.00")]


def test_lines_are_brought_to_the_total() -> None:
    """Whatever the till left out of its lines, they add up to what was paid."""
    share = '{ total = "$message.total", from = "amount", to = "discount" }'
    assert lines(share, ["0.335", "0.705"], total="0.99") == [("0.32", "0.02"), ("0.67", "0.04")]


def test_share_is_by_a_weight_and_among_some_rows_where_the_file_says_so() -> None:
    """A deposit is for bottles, by their number, and not for what costs most."""
    share = '{ amount = "$message.deposit", to = "amount", by = "n", where = "price < `2`" }'
    assert lines(share, [1, 9, 1], deposit="0.30") == [
        ("1.15", "0.00"),
        ("9.00", "0.00"),
        ("1.15", "0.00"),
    ]


def test_several_shares_are_taken_one_after_the_other() -> None:
    """First the discount, then the tax on what is left."""
    share = (
        '[{ amount = "$message.off", from = "amount", to = "discount" }, '
        '{ amount = "$message.tax", to = "amount" }]'
    )
    assert lines(share, [6, 6], off=6, tax=3) == [("4.50", "3.00"), ("4.50", "3.00")]


def test_share_is_in_the_currencys_own_units() -> None:
    """Yen have no cents."""
    share = '{ amount = "$message.off", from = "amount", minor_units = "$message.cur" }'
    assert lines(share, [100, 100], off=5, cur="JPY") == [("97.00", "0.00"), ("98.00", "0.00")]


def test_absent_amount_shares_nothing() -> None:
    """A receipt without a discount stays as it is."""
    share = '{ amount = "$message.off", from = "amount" }'
    assert lines(share, ["1.005"]) == [("1.0050", "0.00")]


def test_bad_line_does_not_put_its_share_on_its_neighbours() -> None:
    """Where a line cannot be read nothing is shared out: the others say what the till said."""
    share = '{ total = "$message.total", to = "amount" }'
    body = {"id": "7", "total": 9, "items": [{"sku": "a", "n": 1, "price": "2"}, 7]}
    text = TILL.replace("SHARE", share).replace(
        'amount = "price"', 'amount = { path = "price", required = true }'
    )
    result = mapped(compiled(text), body)
    assert [line["amount"] for line in data(result)[0]["lines"]] == ["2.00"]
    assert [each.place for each in result.refusals] == ["line 2"]


def test_bad_line_of_rows_that_others_are_made_of_shares_nothing_either() -> None:
    """Lines may be made in two steps; a line that was lost in the first is not forgotten."""
    share = '{ total = "$message.total", to = "amount" }'
    body = {"id": "7", "total": 9, "items": [{"sku": "a", "n": 1, "price": "2"}, 7]}
    text = TILL.replace("SHARE", share).replace('path = "items"', 'path = "$plain"')
    text += """
[rules.let.plain.rows]
path = "items"
fields = { sku = "sku", n = "n", price = { path = "price", required = true } }
"""
    assert [line["amount"] for line in data(mapped(compiled(text), body))[0]["lines"]] == ["2.00"]


# --- lines of text --------------------------------------------------------------------------

LEVELS = """
[[rules]]
name = "levels"
each = EACH
event = "zone.occupancy"
[rules.data]
zone = "ZONE"
count = "COUNT"
"""


def levels(csv: str, payload: str, *, each: str = '"@"', zone: str, count: str) -> list[Any]:
    """Zone and count of each row."""
    rules = LEVELS.replace("EACH", each).replace("ZONE", zone).replace("COUNT", count)
    text = f'format = "csv"\n[csv]\n{csv}\n{rules}'
    result = mapped(compiled(text), payload.encode())
    assert not result.refusals, result.refusals
    return [(row["zone"], row["count"]) for row in data(result)]


def test_two_header_lines_make_one_name_each() -> None:
    """A heading over several columns is part of the name of each."""
    found = levels(
        'header = 2\ndelimiter = ";"',
        ";Door 1;;Door 2;\nTime;In;Out;In;Out\n10:00;3;1;5;2\n",
        each='[{ path = "@", as = "hour" }, { path = "@", fields = "Door {door} {field}" }]',
        zone="door",
        count="Out",
    )
    assert found == [("1", 1), ("2", 2)]


def test_second_column_of_a_name_is_numbered() -> None:
    """Two columns called alike are both there."""
    assert levels("", "z,n,n,n\na,1,2,3\n", zone="z", count='\\"n 3\\"') == [("a", 3)]


def test_head_of_a_text_is_joined_to_its_rows() -> None:
    """What stands above the table is about all of its rows."""
    body = "Report\nStore,north\nDate,2026-03-02\n\nDoor,Inside\nA,4\nB,5\n"
    found = levels(
        'skip = 1\nhead = 2\nhead_form = "pairs"',
        body,
        each='"rows"',
        zone="$message.head.Store",
        count="Inside",
    )
    assert found == [("north", 4), ("north", 5)]
    table = levels(
        "head = 2", "store,n\nsouth,2\ndoor\nA\n", each='"rows"', zone="$message.head[0].store",
        count="$message.head[0].n",
    )  # fmt: skip
    assert table == [("south", 2)]


def test_text_without_a_header_line_is_named_by_the_file() -> None:
    """Names, or names and widths."""
    assert levels('columns = ["z", "n"]', "a,1\n", zone="z", count="n") == [("a", 1)]
    fixed = levels(
        'columns = ["z", "n"]\nwidths = [3, 4]', "a    12\nbbb0003", zone="z", count="n"
    )
    assert fixed == [("a", 12), ("bbb", 3)]


def test_text_may_be_in_an_old_encoding() -> None:
    """A till of the last century writes its own letters."""
    text = compiled(
        'format = "csv"\ncsv.encoding = "cp850"\n'
        + LEVELS.replace("EACH", '"@"').replace("ZONE", "z").replace("COUNT", "n")
    )
    assert data(mapped(text, "z,n\nKäse,1\n".encode("cp850")))[0]["zone"] == "Käse"


RECORDS = """
format = "csv"
[csv]
delimiter = "|"
[csv.records.H]
columns = ["receipt", "till", "time"]
[csv.records.D]
under = "H"
columns = ["sku", "n", "amount"]
[csv.records.M]
under = "D"
columns = ["text"]
[csv.records.T]
under = "H"
columns = ["total"]
[csv.records.Z]

[[rules]]
name = "sale"
each = "@"
where = "record == 'H'"
device = "{till}"
event = "sale.completed"
[rules.data]
basket = "receipt"
currency = { const = "EUR" }
total = "T[0].total"
[rules.data.lines.rows]
path = "D"
[rules.data.lines.rows.fields]
product = { first = ["M[0].text", "sku"] }
quantity = "n"
amount = "amount"
"""
EXPORT = """H|1001|3|2026-03-02T10:00:00Z
D|4006381333931|2|5.98
M|no onions
D|bread|1|2.50
T|8.48
H|1002|3|2026-03-02T10:05:00Z
D|milk|1|1.00
T|1.00
Z|2
"""


def receipts(result: Mapped) -> list[tuple[Any, ...]]:
    """Basket, total and products of each sale."""
    return [
        (row["basket"], row["total"], [line["product"] for line in row["lines"]])
        for row in data(result)
    ]


def test_detail_records_belong_to_the_header_before_them() -> None:
    """A till's export is receipts with lines, whatever kinds of line it has."""
    result = mapped(compiled(RECORDS), EXPORT.encode())
    assert receipts(result) == [
        ("1001", "8.48", ["no onions", "bread"]),
        ("1002", "1.00", ["milk"]),
    ]
    assert not result.refusals


def test_bad_record_is_told_with_its_line_and_never_joined_to_another() -> None:
    """What follows a line of an unknown kind is nobody's, and the next receipt is whole."""
    broken = EXPORT.replace("T|8.48\n", "T|8.48\nX|1001b|3\nD|wine|1|9.00\n")
    result = mapped(compiled(RECORDS), broken.encode())
    assert receipts(result)[0] == ("1001", "8.48", ["no onions", "bread"])
    assert receipts(result)[1] == ("1002", "1.00", ["milk"])
    assert [(each.place, each.detail) for each in result.refusals] == [
        ("line 6", "a record of a kind that has no columns"),
        ("line 7", "there is no H before it"),
    ]


def test_modifier_of_a_bad_line_goes_to_no_earlier_one() -> None:
    """A record two levels down belongs to the line before it, or to none."""
    result = mapped(compiled(RECORDS), EXPORT.replace("D|4006381333931|2|5.98\n", "").encode())
    assert [each.place for each in result.refusals] == ["line 2"]
    assert receipts(result)[0][2] == ["bread"]


def test_records_of_fixed_width_are_cut_by_their_kind() -> None:
    """An export without delimiters is read the same way."""
    text = RECORDS.replace('delimiter = "|"\n', "")
    for old, new in (
        ('"till", "time"]', '"till", "time"]\nwidths = [2, 4, 1, 20]'),
        ('"n", "amount"]', '"n", "amount"]\nwidths = [2, 13, 3, 6]'),
        ('["text"]', '["text"]\nwidths = [2, 20]'),
        ('["total"]', '["total"]\nwidths = [2, 6]'),
        ("[csv.records.Z]\n", "[csv.records.Z]\nwidths = [2]\n"),
    ):
        text = text.replace(old, new)
    body = "H 100132026-03-02T10:00:00Z\nD 4006381333931  2  5.98\nT   5.98\nZ 1\n"
    result = mapped(compiled(text), body.encode())
    assert receipts(result) == [("1001", "5.98", ["4006381333931"])]


# --- what another topic told ----------------------------------------------------------------

JOINED = """
[[rules]]
name = "what it is"
topic = "a/{id}/config"
format = ["json", "text"]
remember = { as = "sensors", key = "{$topic.id}", value = { zone = "room", n = "n" }, for_s = FOR }

[[rules]]
name = "reading"
topic = "a/{id}/level"
event = "zone.occupancy"
[rules.let]
sensor = { text = "{$topic.id}", recall = "sensors", UNKNOWN }
[rules.data]
zone = "$sensor.zone"
count = { sum = ["level", "$sensor.n"] }
""".replace("FOR", str(400 * 86_400))


def joined(unknown: str = 'unknown = "refuse"') -> CompiledMapping:
    """A mapping of two topics."""
    return compiled(JOINED.replace("UNKNOWN", unknown))


def test_reading_is_joined_to_what_another_topic_told() -> None:
    """A sensor's zone is told once, its level many times."""
    mapping = joined()
    told = mapped(mapping, {"room": "bakery", "n": 1}, topic="a/7/config")
    assert not told.events
    assert told.counts == {"remembered": 1}
    state = applied({}, told)
    for level in (3, 4):
        result = mapped(mapping, {"level": level}, topic="a/7/level", state=state, at_ms=NOW + 1)
        assert data(result) == [{"zone": "bakery", "count": level + 1}]


def test_reading_before_it_was_told_is_refused_where_the_file_says_so() -> None:
    """Another sensor's zone is not taken for it; as a dead letter it can be tried again."""
    mapping = joined()
    state = applied({}, mapped(mapping, {"room": "bakery", "n": 1}, topic="a/7/config"))
    result = mapped(mapping, {"level": 3}, topic="a/8/level", state=state)
    assert [each.detail for each in result.refusals] == ["data.zone: nothing was told of it yet"]


def test_what_was_told_is_over_after_its_time() -> None:
    """A sensor that is gone for a year is unknown again."""
    mapping = joined()
    state = applied({}, mapped(mapping, {"room": "bakery", "n": 1}, topic="a/7/config"))
    late = NOW + 401 * DAY_MS
    assert mapped(mapping, {"level": 3}, topic="a/7/level", state=state, at_ms=late).refusals


def test_older_message_does_not_undo_a_newer_one() -> None:
    """Told twice in the wrong order, the newer one holds."""
    mapping = joined()
    state = applied({}, mapped(mapping, {"room": "bakery", "n": 1}, topic="a/7/config"))
    old = mapped(mapping, {"room": "wine", "n": 1}, topic="a/7/config", state=state, at_ms=NOW - 1)
    assert old.changes == {}
    assert old.counts == {"late": 1}


def test_what_is_cleared_is_forgotten() -> None:
    """An empty retained message takes back what was told."""
    rules = JOINED.replace('{ zone = "room", n = "n" }', '"room"').replace(
        '"$sensor.zone"', '"$s"'
    )
    mapping = compiled(
        rules.replace('sensor = { text = "{$topic.id}", recall = "sensors", UNKNOWN }',
                      's = { text = "{$topic.id}", recall = "sensors", default = "?" }')
        .replace(', "$sensor.n"', "")
    )  # fmt: skip
    state = applied({}, mapped(mapping, {"room": "bakery"}, topic="a/7/config"))
    cleared = applied(state, mapped(mapping, b"", topic="a/7/config", state=state, at_ms=NOW + 1))
    zones = [
        data(mapped(mapping, {"level": 1}, topic="a/7/level", state=each, at_ms=NOW + 2))[0][
            "zone"
        ]
        for each in (state, cleared)
    ]
    assert zones == ["bakery", "?"]


LISTED = """
mode = "all"
[[rules]]
name = "who is there"
each = { path = "devices", as = "one" }
remember = { as = "names", key = "{id}", value = "zone" }
[[rules]]
name = "levels"
each = { path = "levels", keys = true, as = "level" }
event = "zone.occupancy"
data.zone = { path = "$key", recall = "names", unknown = "keep" }
data.count = "@"
"""


def test_one_message_may_tell_about_many_devices_and_read_them() -> None:
    """A gateway's list of devices is remembered row by row, at once for the rules after it."""
    devices = [{"id": 1, "zone": "bakery"}, {"zone": "lost"}, {"id": "2", "zone": "wine"}]
    result = mapped(compiled(LISTED), {"devices": devices, "levels": {"1": 4, "2": 5, "3": 6}})
    assert [(each["zone"], each["count"]) for each in data(result)] == [
        ("bakery", 4),
        ("wine", 5),
        ("3", 6),
    ]
    assert [(each.place, each.detail) for each in result.refusals] == [
        ("one 2", "remember: the key has no value")
    ]


def test_what_is_recalled_neither_makes_nor_hides_news() -> None:
    """A level that stays the same is silent though its zone was told anew."""
    rules = LISTED.replace('data.count = "@"', 'data.count = { path = "@", change = {} }')
    mapping = compiled(rules.replace('"levels"\neach', '"levels"\ndevice = "{$key}"\neach'))
    state: dict[str, Entry] = {}
    told = []
    for zone in ("bakery", "wine"):
        body = {"devices": [{"id": "1", "zone": zone}], "levels": {"1": 4}}
        result = mapped(mapping, body, state=state)
        state = applied(state, result)
        told.append(len(result.events))
    assert told == [1, 0]


def test_what_is_remembered_is_short_and_impersonal() -> None:
    """No document is kept between messages, and no e-mail address."""
    mapping = joined()
    long = mapped(mapping, {"room": "x" * 2_000, "n": 1}, topic="a/7/config")
    assert [each.reason for each in long.refusals] == ["invalid"]
    named = mapped(mapping, {"room": "jane@example.com", "n": 1}, topic="a/7/config")
    assert [each.reason for each in named.refusals] == ["personal"]
    assert not long.changes
    assert not named.changes


def test_numbers_are_remembered_exactly() -> None:
    """A calculated value comes back as the number that it was."""
    mapping = compiled(
        JOINED.replace("UNKNOWN", 'unknown = "null"').replace(
            'n = "n"', 'n = { sum = ["n", "n"] }'
        )
    )
    state = applied({}, mapped(mapping, {"room": "r", "n": "2.5"}, topic="a/7/config"))
    (found,) = data(mapped(mapping, {"level": 1}, topic="a/7/level", state=state))
    assert Decimal(found["count"]) == 6


@pytest.mark.parametrize(
    ("old", "new", "line", "words"),
    [
        ('recall = "sensors"', 'recall = "sensor"', 19, "no rule remembers sensor; did you mean"),
        ('as = "sensors", ', "", 12, "as: is missing"),
        ('as = "sensors"', 'name = "x", as = "sensors"', 12, "name"),
        ('key = "{$topic.id}"', 'key = "{$topic.di}"', 12, "no capture {di}"),
        ('format = ["json", "text"]', 'event = "zone.occupancy"', 8, "exactly one of event"),
    ],
)
def test_mistake_of_remembering_has_its_line(old: str, new: str, line: int, words: str) -> None:
    """What is looked up under a name that nothing is filed under is found by the check."""
    made = read_mapping(HEAD + JOINED.replace(", UNKNOWN", "").replace(old, new))
    assert not isinstance(made, CompiledMapping)
    assert any(each.startswith(f"line {line}: ") and words in each for each in made), made


@pytest.mark.parametrize(
    ("share", "words"),
    [
        ('{ amount = "x" }', "say from which field it is taken"),
        ('{ from = "amount" }', "give exactly one of amount, total"),
        ('{ amount = "$message.x", from = "amonut" }', "no such field; did you mean amount?"),
        ('{ amount = "$message.x", to = "amount", weight = "n" }', "unknown word"),
        ('{ amount = "$total", to = "amount" }', "$total is not known here"),
    ],
)
def test_mistake_of_sharing_has_its_line(share: str, words: str) -> None:
    """A share that leads nowhere is found by the check."""
    made = read_mapping(HEAD + TILL.replace("SHARE", share))
    assert not isinstance(made, CompiledMapping)
    assert any(each.startswith("line 17: ") and words in each for each in made), made


@pytest.mark.parametrize(
    ("old", "new", "line", "words"),
    [
        ('under = "H"\ncolumns = ["sku"', 'under = "K"\ncolumns = ["sku"', 9, "is no record"),
        ('columns = ["receipt"', 'under = "D"\ncolumns = ["receipt"', 9, "is under itself"),
        ('["total"]', '["total"]\nwidths = [1]', 19, "a number for the kind and one for each"),
        ('["total"]', '["total"]\nwidths = [1, 6]', 9, "all records have widths"),
        ('["receipt"', '["D"', 9, "called like a record under it"),
        ('"|"\n', '"|"\nheader = 2\n', 9, "no header lines"),
        ('"|"\n', '"|"\ncolumn = ["a"]\n', 11, "did you mean columns?"),
        ('["total"]', '["total"]\nwidth = [1, 6]', 22, "did you mean widths?"),
        ('format = "csv"', 'format = "json"', 9, "no rule reads csv"),
    ],
)  # fmt: skip
def test_mistake_of_lines_has_its_line(old: str, new: str, line: int, words: str) -> None:
    """A layout that no text can have is found by the check."""
    made = read_mapping(HEAD + RECORDS.replace(old, new, 1))
    assert not isinstance(made, CompiledMapping)
    assert any(each.startswith(f"line {line}: ") and words in each for each in made), made


# --- the page -------------------------------------------------------------------------------

PAGE = (Path(__file__).resolve().parents[2] / "hardware" / "README.md").read_text(encoding="utf-8")


def on_the_page(word: str) -> str:
    """The example of the page that holds a word."""
    blocks = [block.split("```")[0] for block in PAGE.split("```toml\n")[1:]]
    (found,) = [block for block in blocks if word in block]
    return found


def test_example_of_another_message_does_what_the_page_says() -> None:
    """What a technician copies joins two topics."""
    text = on_the_page("remember =").replace("[[rules]]", "[tables.zones]\n[[rules]]", 1)
    mapping = read_mapping(HEAD.replace('topics = ["a/#"]\n', "") + text)
    assert isinstance(mapping, CompiledMapping), mapping
    state = applied({}, mapped(mapping, {"room": "bakery", "sn": "S1"}, topic="gw/7/config"))
    first = mapped(mapping, {"in": 10, "out": 0}, topic="gw/7/count", state=state)
    state = applied(state, first)
    result = mapped(mapping, {"in": 12, "out": 0}, topic="gw/7/count", state=state)
    assert data(result) == [{"zone": "bakery", "entries": 2, "exits": 0}]
    assert [event.source for event in result.events] == ["acme-S1"]


def test_example_of_a_share_does_what_the_page_says() -> None:
    """The lines come to what was paid."""
    rules = (
        '[[rules]]\nname = "sale"\nevent = "sale.completed"\n[rules.data]\nbasket = "id"\n'
        'currency = { const = "EUR" }\ntotal = "paid"\n'
    )
    items = [{"sku": "a", "qty": 1, "price": each} for each in ("10.00", "5.00", "5.00")]
    body = {"id": "1", "paid": "19.00", "items": items}
    (sale,) = data(mapped(compiled(rules + on_the_page("share =")), body))
    assert [line["amount"] for line in sale["lines"]] == ["9.50", "4.75", "4.75"]
    assert [line["discount"] for line in sale["lines"]] == ["0.50", "0.25", "0.25"]


def test_example_of_records_does_what_the_page_says() -> None:
    """A till's export becomes receipts."""
    mapping = compiled(on_the_page("[csv.records.H]"))
    body = b"H|1001|3\nD|milk|2|1.98\nM|organic\nT|1.98\n"
    result = interpret(
        mapping, "a/b", body, received_at_ms=NOW, lookups=Lookups(settings={"currency": "EUR"})
    )
    assert receipts(result) == [("1001", "1.98", ["milk"])]


@pytest.mark.parametrize(
    ("cell", "head", "payload", "count"),
    [
        ("a position", "", {"x": 3, "y": 4}, None),
        ("bytes as they are", "count = {}", b"\x02\x06\x00\x07", 7),
        ("an amount in per cent", "count = {}", {"amount": 50, "percent": 8}, 4),
        ("`IN=3;OUT=5`", 'count = "$it.IN"', b"IN=3;OUT=5", 3),
    ],
)
def test_what_is_often_asked_for_is_said_as_the_page_says(
    cell: str, head: str, payload: Any, count: int | None
) -> None:
    """Each line of the table is TOML that does what it promises."""
    (line,) = [each for each in PAGE.splitlines() if each.startswith(f"| {cell}")]
    said = line.split(" | ", 1)[1].rstrip(" |").strip("`")
    rules = '[[rules]]\nname = "n"\nevent = "zone.occupancy"\n'
    if count is None:
        rules += f'data.zone = {{ {said} }}\ndata.count = "x"\n'
        assert data(mapped(compiled(rules), payload))[0]["zone"] == "dairy"
        return
    form = ""
    if cell.startswith("`IN"):
        form = 'format = "text"\n'
        rules += said.split("rule `")[1].split("`, then")[0] + "\n"
    elif cell.startswith("bytes"):
        form, said = 'format = "bytes"\n', said.split("then `")[1]
    rules += 'data.zone = { const = "z" }\n' + "data." + head.format(said) + "\n"
    assert data(mapped(compiled(form + rules), payload))[0]["count"] == count


@pytest.mark.parametrize(
    ("cell", "payload"),
    [
        ("days since 1900", {"day": 46_083.5, "n": 1}),
        ("date and time", {"date": 20_260_302, "time": "120000", "n": 1}),
    ],
)
def test_times_are_said_as_the_page_says(cell: str, payload: Any) -> None:
    """Noon of 2 March 2026 in other manners."""
    (line,) = [each for each in PAGE.splitlines() if each.startswith(f"| {cell}")]
    said = line.split(" | ", 1)[1].rstrip(" |").strip("`")
    rules = (
        f'[settings]\ntimezone = "UTC"\n[[rules]]\nname = "n"\nevent = "zone.occupancy"\n{said}\n'
    )
    rules += 'data = { zone = { const = "z" }, count = "n" }\n'
    late = mapped(compiled(rules), payload, at_ms=NOW + DAY_MS)
    told = [json.loads(event.model_dump_json())["time"] for event in late.events]
    assert told == ["2026-03-02T12:00:00Z"]


def test_level_that_is_no_single_value_is_refused() -> None:
    """An object would be kept as it is, with what is in it."""
    rules = """
[[rules]]
name = "level"
event = "zone.occupancy"
data.zone = "zone"
data.count = { path = "all", change = {} }
"""
    result = mapped(compiled(rules), {"zone": "a", "all": {"name": "Jane"}})
    assert [each.reason for each in result.refusals] == ["invalid"]
    assert not result.changes
