"""Values that a batch changed, each written once with what they came to in the end."""

from __future__ import annotations

from typing import TYPE_CHECKING

from edge_agent.domain.basket import Basket
from edge_agent.domain.calls import Call
from edge_agent.domain.effects import VisitsChanged
from edge_agent.domain.visitor import Visitor
from edge_agent.shell import rows
from edge_agent.shell.call_rows import call_row
from edge_agent.shell.visit_rows import VisitRows
from edge_agent.shell.visitor_rows import VisitorRows

if TYPE_CHECKING:
    from edge_agent.domain.effects import Change
    from edge_agent.domain.ids import BasketId, ScreenId
    from edge_agent.domain.store import Showing
    from edge_agent.shell.pending_rows import PendingRows
    from edge_agent.shell.state_store import StateStore


class ChangedValues:
    """Visitors, visits, baskets, showings and calls of the batch that is open.

    Args:
        pending: Where their rows go.
        state: What is known without the change that is being taken in.
    """

    def __init__(self, pending: PendingRows, state: StateStore) -> None:
        self._pending = pending
        self._state = state
        self._visitors = VisitorRows(pending)
        self._visits = VisitRows(pending, state)
        self._baskets: dict[BasketId, Basket] = {}
        self._showings: dict[ScreenId, Showing] = {}

    def put(self, change: Change) -> None:
        """Takes in one changed value."""
        if isinstance(change, Visitor):
            before = self._visitors.get(change.id) or self._state.visitor(change.id)
            self._visitors.put(before, change)
        elif isinstance(change, VisitsChanged):
            self._visits.put(change)
        elif isinstance(change, Basket):
            self._baskets[change.id] = change
        elif isinstance(change, Call):
            self._pending.add("help_call", call_row(change))
        else:
            self._showings[change.screen] = change

    @property
    def is_empty(self) -> bool:
        """Whether nothing waits to be queued."""
        return (
            self._visitors.is_empty
            and self._visits.is_empty
            and not self._baskets
            and not self._showings
        )

    def queue(self) -> None:
        """Queues the rows of all that changed."""
        self._visitors.queue()
        self._visits.queue()
        for basket in self._baskets.values():
            self._queue_basket(basket)
        for showing in self._showings.values():
            row = (showing.screen, showing.decision, showing.visitor, showing.valid_until_ms)
            self._pending.add("showing", (*row, showing.audience, int(showing.is_shared)))

    def _queue_basket(self, basket: Basket) -> None:
        self._pending.add("basket", rows.basket_row(basket))
        for change in basket.changes:
            row = (basket.id, change.at_ms, change.tie, change.product, str(change.quantity))
            self._pending.add("basket_line", row)
        if basket.sale is not None:
            head, lines = rows.sale_rows(basket.id, basket.sale)
            self._pending.add("sale", head)
            self._pending.add("sale_line_delete", (basket.id,))
            self._pending.extend("sale_line", lines)
