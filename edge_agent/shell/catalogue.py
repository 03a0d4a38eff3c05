"""What the store sells: HQ's feed over the bundle's catalogue, and which zone sells it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Final

from typing_extensions import override

from edge_agent.domain.store import Product

if TYPE_CHECKING:
    from edge_agent.domain.ids import ProductId, ZoneId
    from edge_agent.domain.store import Layout
    from edge_agent.shell.bundles import Catalogue as BundleCatalogue


# Products that are shown again and again, ready to be shown.
KNOWN_PRODUCTS: Final = 2_000


class BundleDepartments(Mapping["ProductId", str]):
    """Product to department, read from the bundle's arrays: nothing is copied."""

    def __init__(self, catalogue: BundleCatalogue | None) -> None:
        self._catalogue = catalogue

    def use(self, catalogue: BundleCatalogue | None) -> None:
        """Reads another bundle's catalogue from now on."""
        self._catalogue = catalogue

    @override
    def __getitem__(self, product: ProductId) -> str:
        if self._catalogue is None:
            raise KeyError(product)
        return self._catalogue[product].department

    @override
    def __iter__(self) -> Iterator[ProductId]:
        return iter(self._catalogue or ())

    @override
    def __len__(self) -> int:
        return 0 if self._catalogue is None else len(self._catalogue)


class StoreCatalogue:
    """Products by id and by zone."""

    def __init__(
        self,
        bundle: BundleCatalogue | None,
        *,
        fed: Mapping[ProductId, Product],
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
            )
            if len(self._known) >= KNOWN_PRODUCTS:
                self._known.clear()
            self._known[product] = known
        return known

    def products_in(self, zone: ZoneId) -> frozenset[ProductId] | None:
        """Returns the products that a zone sells; None when its departments are not known."""
        if zone not in self._zones:
            self._zones[zone] = self._find(zone)
        return self._zones[zone]

    def department(self, product: ProductId) -> str | None:
        """Returns a product's department."""
        found = self.product(product)
        return None if found is None else found.department

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
