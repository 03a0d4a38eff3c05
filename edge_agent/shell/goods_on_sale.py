"""What HQ's feeds say of the goods: products, their departments, minimum ages and stock."""

from __future__ import annotations

from typing import TYPE_CHECKING

from edge_agent.domain.ids import ProductId
from edge_agent.domain.store import Product
from edge_agent.shell.catalogue import Feed, StoreDepartments

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Iterator, Mapping


class GoodsOnSale:
    """The goods as HQ last told of them.

    Args:
        connection: The writer's.
        departments: Of the bundle's products; HQ's feed comes before it.

    Attributes:
        number: How often HQ changed what decisions rest on: a product's department, brand or
            least age. Each decision's row has the number that held when it was taken.
    """

    def __init__(
        self, connection: sqlite3.Connection, *, departments: Mapping[ProductId, str]
    ) -> None:
        self._db = connection
        self._bundle_departments = departments
        # The same one for good: the catalogue looks into it.
        self.products = Feed()
        self._departments = StoreDepartments({}, departments)
        self._minimum_ages: dict[ProductId, int] = {}
        self._out_of_stock: frozenset[ProductId] = frozenset()
        self.number = 0

    def read_again(self) -> None:
        """Forgets what is held and reads it from the disk."""
        self._out_of_stock = frozenset(
            ProductId(product)
            for (product,) in self._db.execute("SELECT product FROM stock WHERE quantity <= 0")
        )
        self.products.read_again(_products(self._db))
        named = ((key, each.department) for key, each in self.products.items())
        fed = {key: department for key, department in named if department is not None}
        self._departments = StoreDepartments(fed, self._bundle_departments)
        ages = ((key, each.minimum_age) for key, each in self.products.items())
        self._minimum_ages = {product: age for product, age in ages if age > 0}
        newest = self._db.execute("SELECT coalesce(max(since), 0) FROM catalogue").fetchone()
        self.number = int(newest[0])

    def out_of_stock(self) -> frozenset[ProductId]:
        """Returns the products that the store has none of."""
        return self._out_of_stock

    def departments(self) -> Mapping[ProductId, str]:
        """Returns the department of each product of the catalogue."""
        return self._departments

    def minimum_ages(self) -> Mapping[ProductId, int]:
        """Returns the years from which somebody may be sold them, of products that have any."""
        return self._minimum_ages

    # --- what a batch changes -----------------------------------------------------------------

    def put_stock(self, levels: tuple[tuple[ProductId, float], ...]) -> None:
        """Sets stock levels."""
        changed = dict(levels)
        kept = {product for product in self._out_of_stock if product not in changed}
        self._out_of_stock = frozenset(kept | {p for p, n in changed.items() if n <= 0})

    def put_products(self, products: tuple[Product, ...]) -> None:
        """Adds or changes products."""
        if any(_is_other(self.products.get(product.id), product) for product in products):
            self.number += 1
        self.products.put(products)
        for product in products:
            self._minimum_ages.pop(product.id, None)
            if product.minimum_age > 0:
                self._minimum_ages[product.id] = product.minimum_age
            # Without one it has the bundle's again, as after a restart.
            self._departments.fed.pop(product.id, None)
            if product.department is not None:
                self._departments.fed[product.id] = product.department


def _products(connection: sqlite3.Connection) -> Iterator[Product]:
    for (
        product,
        title,
        price,
        currency,
        department,
        image,
        brand,
        minimum_age,
    ) in connection.execute(
        "SELECT product, title, price, currency, department, image, brand, minimum_age"
        " FROM catalogue"
    ):
        yield Product(
            id=ProductId(product),
            title=title,
            price=price,
            currency=currency,
            department=department,
            image=image,
            brand=brand,
            minimum_age=minimum_age,
        )


def _is_other(known: Product | None, product: Product) -> bool:
    """Returns whether a product is another to decisions than the one that was known."""
    return known is None or _matters(known) != _matters(product)


def _matters(product: Product) -> tuple[str | None, str | None, int]:
    return product.department, product.brand, product.minimum_age
