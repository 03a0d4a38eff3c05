"""What the store sells: HQ's feed over the bundle's catalogue, and which zone sells it."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterable, Iterator, Mapping
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Final

from typing_extensions import override

from edge_agent.domain.store import Product

if TYPE_CHECKING:
    from edge_agent.domain.ids import ProductId, ZoneId
    from edge_agent.domain.store import Layout
    from edge_agent.shell.bundles import Catalogue as BundleCatalogue


# Products that are shown again and again, ready to be shown.
KNOWN_PRODUCTS: Final = 2_000
# Departments of products that are bought again and again, ready to be read.
KNOWN_DEPARTMENTS: Final = 10_000
# Among fewer prices of a kind none is low or high.
PRICES_MIN: Final = 5


class BundleDepartments(Mapping["ProductId", str]):
    """Product to department, read from the bundle's arrays: few are copied."""

    def __init__(self, catalogue: BundleCatalogue | None) -> None:
        self._catalogue = catalogue
        self._known: dict[ProductId, str] = {}

    def use(self, catalogue: BundleCatalogue | None) -> None:
        """Reads another bundle's catalogue from now on."""
        self._catalogue = catalogue
        # Not cleared: a shadow's thread that reads the earlier bundle writes into the earlier one.
        self._known = {}

    @override
    def __getitem__(self, product: ProductId) -> str:
        ready = self._known
        known = ready.get(product)
        if known is not None:
            return known
        if self._catalogue is None:
            raise KeyError(product)
        department = self._catalogue[product].department
        if len(ready) >= KNOWN_DEPARTMENTS:
            ready.clear()
        ready[product] = department
        return department

    @override
    def get(self, product: ProductId, default: Any = None) -> Any:
        known = self._known.get(product)
        if known is not None:
            return known
        try:
            return self[product]
        except KeyError:
            return default

    @override
    def __iter__(self) -> Iterator[ProductId]:
        return iter(self._catalogue or ())

    @override
    def __len__(self) -> int:
        return 0 if self._catalogue is None else len(self._catalogue)


class Feed(dict["ProductId", "Product"]):
    """What HQ's feed says of products, changed in place; `version` rises with every change."""

    version = 0

    def put(self, products: Iterable[Product]) -> None:
        """Adds or changes products."""
        self.update((each.id, each) for each in products)
        self.version += 1

    def read_again(self, products: Iterable[Product]) -> None:
        """Forgets all that it said and says this instead."""
        self.clear()
        self.put(products)


class StoreDepartments(Mapping["ProductId", str]):
    """Product to department: HQ's feed over the bundle's catalogue, quick to look up.

    A decision looks up hundreds. `ChainMap` takes five times as long for one.
    """

    def __init__(self, fed: dict[ProductId, str], bundle: Mapping[ProductId, str]) -> None:
        self.fed = fed
        self._bundle = bundle

    @override
    def __getitem__(self, product: ProductId) -> str:
        known = self.fed.get(product)
        return self._bundle[product] if known is None else known

    @override
    def get(self, product: ProductId, default: Any = None) -> Any:
        known = self.fed.get(product)
        return self._bundle.get(product, default) if known is None else known

    @override
    def __iter__(self) -> Iterator[ProductId]:
        yield from self.fed
        yield from (each for each in self._bundle if each not in self.fed)

    @override
    def __len__(self) -> int:
        return len(set(self.fed).union(self._bundle))


class StoreCatalogue:
    """Products by id and by zone."""

    def __init__(
        self,
        bundle: BundleCatalogue | None,
        *,
        fed: Feed,
        may_rank: Callable[[ProductId], bool],
        layout: Layout,
        currency: str,
    ) -> None:
        self._bundle = bundle
        self._may_rank = may_rank
        self._fed = fed
        self._layout = layout
        self._currency = currency
        self._known: dict[ProductId, Product] = {}
        self._zones: dict[ZoneId, frozenset[ProductId] | None] = {}
        self._fed_version = fed.version

    def use(
        self, bundle: BundleCatalogue | None, *, may_rank: Callable[[ProductId], bool]
    ) -> None:
        """Sells what another bundle's catalogue has from now on."""
        self._bundle = bundle
        self._may_rank = may_rank
        self._known.clear()
        self._zones.clear()

    def product(self, product: ProductId) -> Product | None:
        """Returns a product, or None when it is not known."""
        fed = self._fed.get(product)
        if fed is not None or self._bundle is None:
            return fed
        known = self._known.get(product)
        if known is None and product in self._bundle:
            entry = self._bundle[product]
            known = Product(
                id=product,
                title=entry.title,
                price=entry.price,
                currency=self._currency,
                department=entry.department,
                brand=entry.brand,
            )
            if len(self._known) >= KNOWN_PRODUCTS:
                self._known.clear()
            self._known[product] = known
        return known

    def products_in(self, zone: ZoneId) -> frozenset[ProductId] | None:
        """Returns the products that a zone sells; None when its departments are not known."""
        if self._fed_version != self._fed.version:
            self._fed_version = self._fed.version
            self._zones.clear()
        if zone not in self._zones:
            self._zones[zone] = self._find(zone)
        return self._zones[zone]

    def department(self, product: ProductId) -> str | None:
        """Returns a product's department."""
        found = self.product(product)
        return None if found is None else found.department

    def brands(self, products: Iterable[ProductId]) -> dict[ProductId, str]:
        """Returns the brands of products that have one."""
        known = ((product, self.product(product)) for product in products)
        return {
            product: found.brand
            for product, found in known
            if found is not None and found.brand is not None
        }

    def price_levels(self, products: Iterable[ProductId]) -> dict[ProductId, float]:
        """Returns where products stand among the prices of their kind, 0 to 1.

        Their kind is the bundle's category; of a product that only HQ's feed has, its department
        in that feed. The level is the share of the kind that is cheaper, those of the same price
        counting half. One without a price, or of a kind with hardly any prices, has none.
        """
        kinds: dict[tuple[str, str], list[int]] = {}
        levels = {}
        for product in products:
            known = self.product(product)
            if known is None or known.price is None or known.department is None:
                continue
            category = self._category_of(product)
            kind = ("department", known.department) if category is None else ("category", category)
            if kind not in kinds:
                kinds[kind] = self._cents_of(*kind)
            level = _level_among(kinds[kind], _cents(known.price))
            if level is not None:
                levels[product] = level
        return levels

    def _category_of(self, product: ProductId) -> str | None:
        if self._bundle is None or product not in self._bundle:
            return None
        return self._bundle[product].category

    def _cents_of(self, kind: str, name: str) -> list[int]:
        if kind == "category":
            return [] if self._bundle is None else self._bundle.cents_in(name)
        fed = (each.price for each in self._fed.values() if each.department == name)
        return sorted(_cents(price) for price in fed if price is not None)

    def _find(self, zone: ZoneId) -> frozenset[ProductId] | None:
        known = self._layout.zones.get(zone)
        if known is None or not known.departments:
            return None
        departments = frozenset(known.departments)
        fed = {p for p, each in self._fed.items() if each.department in departments}
        if self._bundle is None:
            return frozenset(fed) or None
        # What the scorer cannot rank need not be held in memory for every zone.
        sold = (p for p in self._bundle.in_departments(departments) if self._may_rank(p))
        return frozenset(fed.union(sold))


def _cents(price: str) -> int:
    return round(Decimal(price) * 100)


def _level_among(prices: list[int], price: int) -> float | None:
    """Returns where a price stands among sorted ones, or None where there are too few."""
    if len(prices) < PRICES_MIN:
        return None
    return (bisect_left(prices, price) + bisect_right(prices, price)) / (2 * len(prices))
