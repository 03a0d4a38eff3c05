"""Visitors that a batch changed, and the rows that it leads to."""

from __future__ import annotations

from typing import TYPE_CHECKING

from edge_agent.shell import rows

if TYPE_CHECKING:
    from edge_agent.domain.ids import VisitorId
    from edge_agent.domain.visitor import Link, Visitor
    from edge_agent.shell.pending_rows import PendingRows


class VisitorRows:
    """Changed visitors, each written once however often he changed."""

    def __init__(self, pending: PendingRows) -> None:
        self._pending = pending
        self._visitors: dict[VisitorId, Visitor] = {}
        self._links_before: dict[VisitorId, tuple[Link, ...]] = {}

    def get(self, visitor: VisitorId) -> Visitor | None:
        """Returns a visitor as the batch left him; None if it did not change him."""
        return self._visitors.get(visitor)

    def put(self, known: Visitor | None, visitor: Visitor) -> None:
        """Takes in a visitor, and as what he was known before."""
        if not _is_kept(visitor):
            return
        before = known if known is not None and _is_kept(known) else None
        self._visitors[visitor.id] = visitor
        if before is None:
            self._pending.add("link", rows.own_link_row(visitor))
        links_before = () if before is None else before.links
        if visitor.links != links_before:
            self._links_before.setdefault(visitor.id, links_before)
        if visitor.consents != (() if before is None else before.consents):
            for statement in visitor.consents:
                self._pending.add("consent", rows.consent_row(visitor.id, statement))
        if visitor.complaints != (() if before is None else before.complaints):
            for each in visitor.complaints:
                row = (visitor.id, each.case, each.opened_at_ms, each.closed_at_ms)
                self._pending.add("complaint", row)

    @property
    def is_empty(self) -> bool:
        """Whether nobody changed."""
        return not self._visitors

    def queue(self) -> None:
        """Queues what becomes of the visitors."""
        for visitor in self._visitors.values():
            self._pending.add("visitor", rows.visitor_row(visitor))
        for visitor_id, links in self._links_before.items():
            self._queue_links(links, self._visitors[visitor_id].links)

    def _queue_links(self, before: tuple[Link, ...], links: tuple[Link, ...]) -> None:
        kept = {(link.visitor, link.since_ms, link.basis) for link in links}
        for link in before:
            if (link.visitor, link.since_ms, link.basis) not in kept:
                moved = (link.of, link.visitor, link.since_ms, link.basis)
                self._pending.add("link_moved", moved)
        for link in links:
            if link not in before:
                self._pending.add("link", rows.link_row(link))


def _is_kept(visitor: Visitor) -> bool:
    # Whom no sensor noticed is known by his basket alone: only what he forbade is worth a row.
    forbids = visitor.complaints or any(not each.granted for each in visitor.consents)
    return visitor.kind != "basket" or bool(forbids)
