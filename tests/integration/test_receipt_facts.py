"""What receipts, items and sightings say beside the bare event stays in memory.

Lots, places of observation, taxes, tenders and printed numbers are told on by a mapping and read
by the wire; the road has no use for them, no table has a place for them, and HQ never sees them.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Final

from edge_agent.domain.time import HOUR_MS, MINUTE_MS
from tests.factories import T0
from tests.integration.driven_agent import DrivenAgent, crowd, driven_agent, told

N_SHOPPERS: Final = 14
# Numbers and names that nothing else of the day has.
LINE_FACTS: Final = {
    "unit": "stone-71",
    "unit_price": "7101.01",
    "tax": "7102.02",
    "lot": "LOT7103",
}
SALE_FACTS: Final[dict[str, Any]] = {
    "tax": "7111.11",
    "tax_included": True,
    "taxes": [{"rate": 0.7112, "tax": "7113.13", "amount": "7114.14"}],
    "discount": "7115.15",
    "charges": "7116.16",
    "tip": "7117.17",
    "tenders": [{"kind": "cash", "amount": "7118.18"}, {"kind": "voucher", "amount": "7119.19"}],
    "change": "7120.20",
    "receipt": "printed-7121",
    "terminal": "terminal-7122",
}
ITEM_FACTS: Final = {
    "lot": "LOT7131",
    "business_step": "step-7132",
    "disposition": "state-7133",
    "read_point": "urn:epc:id:sgln:0614141.07134.0",
    "business_location": "urn:epc:id:sgln:0614141.07135.0",
    "rssi_dbm": -71.36,
}


def texts_of(value: Any) -> set[str]:
    """Returns the texts and numbers in some facts, but for the words that any till may say."""
    if isinstance(value, dict):
        return set().union(*(texts_of(each) for each in value.values()))
    if isinstance(value, list):
        return set().union(*(texts_of(each) for each in value))
    return {str(value)} - {"cash", "voucher", "True"}


def shop(agent: DrivenAgent, *, with_facts: bool) -> None:
    """Lets a crowd come in, scan something each and pay, and one of them bring it back."""
    sale = SALE_FACTS if with_facts else {}
    line = {"product": "p1", "quantity": 1, "amount": "3.00", **(LINE_FACTS if with_facts else {})}
    item = ITEM_FACTS if with_facts else {}
    heard = {"rssi_dbm": -71.41, "distance_m": 7142.42} if with_facts else {}
    agent.take(*crowd(T0, range(N_SHOPPERS)))
    for number in range(N_SHOPPERS):
        at_ms = T0 + (number + 1) * MINUTE_MS
        visitor = {"kind": "track", "value": f"t{number}"}
        paid = {"currency": "USD", "lines": [line], "total": "3.00"}
        agent.take(
            told("ble-1", "visitor.detected", at_ms, f"d{number}", visitor=visitor, **heard),
            told(
                "scanner-1", "item.scanned", at_ms, f"i{number}",
                product="p1", visitor=visitor, zone="dairy", **item,
            ),
        )  # fmt: skip
        agent.take(
            told(
                "pos-2", "sale.completed", at_ms, f"s{number}",
                basket=f"b{number}", visitor=visitor, **paid, **sale,
            )
        )  # fmt: skip
    back = {"currency": "USD", "lines": [line], "total": "3.00"}
    agent.take(told("pos-2", "sale.returned", T0 + HOUR_MS, "r1", basket="b1", **back, **sale))
    agent.tick(T0 + 3 * HOUR_MS)
    agent.tick(T0 + 16 * HOUR_MS)
    agent.turn()


def rows_of(agent: DrivenAgent) -> dict[str, int]:
    """Returns how many rows each table has."""
    names = [name for (name,) in agent.rows("SELECT name FROM sqlite_master WHERE type = 'table'")]
    # Names of tables come from the database itself.
    return {name: agent.rows(f'SELECT count(*) FROM "{name}"')[0][0] for name in names}  # noqa: S608


def day(folder: Path, *, with_facts: bool) -> tuple[dict[str, int], list[Any], bytes]:
    """Returns what a day left: rows in each table, what HQ gets, and every byte of it all."""
    with driven_agent(folder) as agent:
        shop(agent, with_facts=with_facts)
        hq: Any = agent.agent._hq_link
        for_hq = agent.for_hq()
        rows = rows_of(agent)
        assert agent.rows("SELECT count(*) FROM sale") == [(N_SHOPPERS,)]
        assert agent.rows("SELECT count(*) FROM dead_letter") == [(0,)]
        said = [
            b" ".join((where.encode(), body)) for where, body, _ in [*agent.sent, *hq.published]
        ]
        said.append(json.dumps(for_hq).encode())
        files = [path.read_bytes() for path in folder.rglob("*") if path.is_file()]
    files += [path.read_bytes() for path in folder.rglob("*") if path.is_file()]
    return rows, for_hq, b"\n".join([*said, *files])


def test_no_fact_of_a_receipt_is_kept_or_leaves(tmp_path: Path) -> None:
    """None is in a file, a topic of the store or a message for HQ; the sales themselves are."""
    rows, for_hq, left = day(tmp_path / "with", with_facts=True)
    facts = texts_of([LINE_FACTS, SALE_FACTS, ITEM_FACTS, -71.41, 7142.42])
    assert len(facts) == 24
    assert [each for each in sorted(facts) if each.encode() in left] == []
    assert any(each.get("kind") == "sales" for each in for_hq), {
        each.get("kind") for each in for_hq
    }
    assert rows["sale_line"] == N_SHOPPERS


def test_facts_change_nothing_of_a_day(tmp_path: Path) -> None:
    """With them and without them the tables hold as much, and HQ is told the same figures."""
    with_rows, with_hq, _ = day(tmp_path / "with", with_facts=True)
    bare_rows, bare_hq, _ = day(tmp_path / "bare", with_facts=False)
    assert with_rows == bare_rows
    cells = [[each.get("kind"), each.get("cells")] for each in with_hq if "cells" in each]
    assert cells == [[each.get("kind"), each.get("cells")] for each in bare_hq if "cells" in each]
    assert cells
