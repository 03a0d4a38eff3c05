"""Which piece of a product it is: read from a tag, and nowhere on the disk."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Final

from tests.factories import T0
from tests.integration.driven_agent import driven_agent, told

TAGS: Final = ("3074257BF7194E4000001A85", "E20000000000000000004711")
PIECE: Final = "piece-0815-4711"


def test_no_serial_number_reaches_the_disk(tmp_path: Path) -> None:
    """A lifted piece and two tags before an antenna are taken; their numbers are in no file."""
    with driven_agent(tmp_path, extra="[mappings.impinj]\n") as agent:
        visitor = {"kind": "track", "value": "t1"}
        lifted = {"product": "1029743", "instance": PIECE, "visitor": visitor, "zone": "dairy"}
        agent.take(told("shelf-9", "item.lifted", T0, "lift-1", **lifted))
        for tag in TAGS:
            read = {"epcHex": tag, "antennaPort": 1, "peakRssiCdbm": -5000}
            body = {"hostname": "gate", "eventType": "tagInventory", "tagInventoryEvent": read}
            agent.raw("impinj/events", json.dumps(body).encode())
            agent.turn()
        assert agent.rows("SELECT count(*) FROM mapping_state") == [(len(TAGS),)]
        assert agent.rows("SELECT count(*) FROM visit") == [(1,)]
        kept = b"".join(path.read_bytes() for path in tmp_path.rglob("*") if path.is_file())
    assert b"1029743" in kept
    assert not [each for each in (*TAGS, PIECE) if each.encode() in kept]
