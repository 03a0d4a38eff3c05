"""Reading what is held of one person: whose rows, and how times and goods are told."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from edge_agent.domain.ids import ProductId
from edge_agent.domain.time import rfc3339_from_ms

if TYPE_CHECKING:
    from collections.abc import Callable

    from edge_agent.shell.derived import Shop
    from edge_agent.shell.person import Person
    from edge_agent.shell.rows import Row

    Query = Callable[[str, Row], list[Row]]
    Titles = Callable[[ProductId], str | None]

Table = list[dict[str, Any]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """Whose rows are read, and with what.

    Attributes:
        person: All that he is known as, with the ids of what is his.
        query: Reads rows.
        title_of: What a product is called, if that is known.
        shop: What else it takes to say something of him.
        now_ms: The present.
    """

    person: Person
    query: Query
    title_of: Titles
    shop: Shop
    now_ms: int

    @property
    def visitors(self) -> str:
        """His visitor ids as a JSON array."""
        return json.dumps(self.person.visitors)

    def of_visitors(self, sql: str) -> list[Row]:
        """Returns the rows of a question whose only parameter is his visitor ids."""
        return self.query(sql, (self.visitors,))

    def named(self, product: str | None) -> str | None:
        """Returns a product by its title and id, as far as it has them."""
        if not product:
            return None
        title = self.title_of(ProductId(product))
        return product if title is None or title == product else f"{title} ({product})"


def when(instant_ms: Any) -> str | None:
    """Returns an instant of the database as it is told; None for none."""
    return None if instant_ms is None else rfc3339_from_ms(int(instant_ms))
