"""The simulated store sells every department of the data, and its file says so."""

from __future__ import annotations

import tomllib

from pyarrow import parquet

from edge_agent.config import parse
from edge_agent.replay.dataset import data_folder
from edge_agent.replay.layout import (
    OUTSIDE_DEPARTMENTS,
    SERVICE_DESK,
    layout_toml,
    store_layout,
)

LAYOUT = store_layout()


def test_every_department_of_the_data_is_sold_in_one_zone_or_outside() -> None:
    """No department is forgotten, and none is in two zones."""
    table = parquet.read_table(data_folder() / "products.parquet", columns=["department"])
    named = [department for zone in LAYOUT.zones for department in zone.departments]
    assert len(named) == len(set(named))
    in_data = {each for each in table["department"].to_pylist() if each}
    assert in_data == {*named, *OUTSIDE_DEPARTMENTS}


def test_department_leads_to_its_zone() -> None:
    """Fuel is sold outside; what nobody names, at the service desk."""
    assert LAYOUT.zone_of("PASTRY") == "bakery"
    assert LAYOUT.zone_of("FUEL") is None
    assert LAYOUT.zone_of("") == SERVICE_DESK


def test_each_sales_zone_has_one_public_screen() -> None:
    """Named after its zone."""
    assert [(s.id, s.zone, s.audience) for s in LAYOUT.screens] == [
        (f"{zone.id}-1", zone.id, "public") for zone in LAYOUT.sales_zones
    ]


def test_each_register_has_a_checkout_zone_of_its_own() -> None:
    """So whoever stands there is the till's customer."""
    zones = {zone.id for zone in LAYOUT.zones}
    theirs = [register.zone for register in store_layout(n_registers=3).registers]
    assert theirs == ["checkout-1", "checkout-2", "checkout-3"]
    assert {register.zone for register in LAYOUT.registers} <= zones


def test_agent_takes_the_layout_as_configuration() -> None:
    """Its zones, screens and registers are what the agent then goes by."""
    settings = f'store = "s42"\ntimezone = "America/New_York"\n{layout_toml(LAYOUT)}'
    config = parse(settings, name="demo.toml")
    assert set(config.zones) == {zone.id for zone in LAYOUT.zones}
    assert set(config.screens) == {screen.id for screen in LAYOUT.screens}
    assert set(config.registers) == {register.id for register in LAYOUT.registers}


def test_toml_says_what_the_layout_is() -> None:
    """Read back, it holds the zones, screens and registers with their fields."""
    read = tomllib.loads(layout_toml(LAYOUT))
    assert set(read) == {"zones", "screens", "registers"}
    assert set(read["zones"]) == {zone.id for zone in LAYOUT.zones}
    assert read["zones"]["entrance"] == {"name": "Entrance", "entrance": True, "exit": True}
    assert read["zones"]["bakery"] == {
        "name": "Bakery",
        "departments": ["PASTRY"],
        "long_dwell_s": 240,
        "team": "floor",
    }
    assert read["zones"]["checkout-2"] == {"name": "Checkout 2"}
    assert read["screens"]["deli-1"] == {"zone": "deli", "audience": "public"}
    assert read["registers"]["pos-2"] == {"zone": "checkout-2"}
