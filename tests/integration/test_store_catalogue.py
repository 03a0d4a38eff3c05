"""What a zone sells follows HQ's feed at once; a batch that was rolled back leaves no trace."""

from __future__ import annotations

from pathlib import Path
from types import MappingProxyType

from edge_agent.domain.ids import ProductId, ZoneId
from edge_agent.domain.store import Layout, Product, Zone
from edge_agent.shell.catalogue import Feed, StoreCatalogue
from tests.integration.driven_agent import driven_agent

DAIRY = ZoneId("dairy")


def milk(product: str, department: str = "DAIRY") -> Product:
    """Returns a product of the feed."""
    return Product(id=ProductId(product), title="Milk", department=department)


def test_a_product_that_hq_adds_is_sold_in_its_zone_at_once() -> None:
    """Asked before and after: the zone has it, and no longer when it moves elsewhere."""
    zone = Zone(id=DAIRY, name="Dairy", departments=("DAIRY",))
    feed = Feed()
    feed.put([milk("1")])
    catalogue = StoreCatalogue(
        None,
        fed=feed,
        may_rank=lambda _: True,
        layout=Layout(zones=MappingProxyType({DAIRY: zone})),
        currency="EUR",
    )
    assert catalogue.products_in(DAIRY) == frozenset({ProductId("1")})
    feed.put([milk("2")])
    assert catalogue.products_in(DAIRY) == frozenset({ProductId("1"), ProductId("2")})
    feed.put([milk("1", "BAKERY")])
    assert catalogue.products_in(DAIRY) == frozenset({ProductId("2")})
    feed.read_again([])
    assert catalogue.products_in(DAIRY) is None


def test_the_catalogue_sees_the_feed_after_a_batch_was_rolled_back(tmp_path: Path) -> None:
    """What the batch added is gone, and what the next one adds is there."""
    with driven_agent(tmp_path) as driven:
        agent = driven.agent
        agent._state.goods.put_products((milk("1"),))
        assert agent._catalogue.product(ProductId("1")) is not None
        agent._unit.roll_back()
        assert agent._catalogue.product(ProductId("1")) is None
        agent._state.goods.put_products((milk("2"),))
        assert agent._catalogue.product(ProductId("2")) is not None
