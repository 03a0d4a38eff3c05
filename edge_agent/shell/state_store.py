"""The state in SQLite, with what is in use held in memory: the engine's `State`.

One process and one writer own the database, so what is cached here is never stale. Changes of a
batch are laid over the cache first and written by the unit of work; if that fails, the cache is
forgotten and read again. Reading is all that happens here.

Each part of the state has a book of its own, which reads its tables and knows what the open batch
changed of them. What concerns several of them at once stands here.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from edge_agent.domain.basket import Basket
from edge_agent.domain.calls import Call
from edge_agent.domain.effects import VisitsChanged
from edge_agent.domain.visitor import Visitor
from edge_agent.errors import StoreCorrupt
from edge_agent.shell import visitor_book
from edge_agent.shell.basket_book import BasketBook
from edge_agent.shell.call_book import CallBook
from edge_agent.shell.campaign_book import CampaignBook
from edge_agent.shell.contact_book import ContactBook
from edge_agent.shell.decision_book import DecisionBook
from edge_agent.shell.goods_on_sale import GoodsOnSale
from edge_agent.shell.register_stays import RegisterStays
from edge_agent.shell.surroundings import Surroundings
from edge_agent.shell.visit_book import VisitBook
from edge_agent.shell.visitor_book import VisitorBook

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Mapping

    from edge_agent.domain.decisions import Decision
    from edge_agent.domain.effects import Change
    from edge_agent.domain.ids import ProductId
    from edge_agent.domain.store import Layout


class StateStore:
    """What is known, as the engine reads it.

    Attributes:
        goods: What HQ's feeds say of the goods; the same one for good, as the catalogue looks
            into it. All other books are new ones after `reload`.
        visitors: Who is known.
        visits: Who is and was in the store.
        baskets: What is bought.
        calls: Whom staff were called to.
        decisions: What was decided for whom.
        contacts: What was said to whom.
        campaigns: What HQ's campaigns say and promised.
        surroundings: What holds in the store at this moment.
        terms: Under which number the terms that decisions are taken on are kept (`shell.terms`);
            None where they are not.
    """

    def __init__(
        self,
        connection: sqlite3.Connection,
        *,
        layout: Layout,
        departments: Mapping[ProductId, str],
        terms: int | None = None,
    ) -> None:
        self._db = connection
        self._layout = layout
        self.terms = terms
        self.goods = GoodsOnSale(connection, departments=departments)
        self.reload()

    def reload(self) -> None:
        """Forgets all that is cached and reads again what must be in memory.

        Raises:
            StoreCorrupt: A row holds what the agent never wrote there.
        """
        try:
            self._reload()
        except (ValueError, LookupError, TypeError, ArithmeticError) as error:
            raise StoreCorrupt(
                f"the database holds a row that cannot be read ({type(error).__name__})",
                hint="it is set aside at the next start, and a new one begun",
            ) from error

    def _reload(self) -> None:
        self.visitors = VisitorBook(self._db)
        self._registers = RegisterStays(self._layout)
        self.calls = CallBook(self._db)
        self.decisions = DecisionBook(self._db)
        self.contacts = ContactBook(self._db)
        self.surroundings = Surroundings(self._db)
        self.campaigns = CampaignBook(self._db)
        self.goods.read_again()
        self.visits = VisitBook(self._db, self._layout, self._registers)
        self._registers.read(self._db)
        self.baskets = BasketBook(self._db, self._registers)
        self._answer_of_people()
        self._answer_of_the_store()

    # --- State, as the engine reads it --------------------------------------------------------
    # Each question of the engine's port goes straight to the book that answers it: an event asks
    # dozens.

    def _answer_of_people(self) -> None:
        self.visitor_of = self.visitors.visitor_of
        self.visitor = self.visitors.visitor
        self.links_to = self.visitors.links_to
        self.complainers = self.visitors.complainers
        self.visit_of = self.visits.visit_of
        self.visits_between = self.visits.visits_between
        self.present_in = self.visits.present_in
        self.at_register = self.visits.at_register
        self.basket = self.baskets.basket
        self.baskets_of = self.baskets.baskets_of
        self.baskets_near = self.baskets.baskets_near
        self.n_decisions = self.decisions.n_decisions
        self.unit_of = self.decisions.unit_of
        self.contacts_of = self.contacts.of
        self.told_by = self.contacts.told_by
        self.offered = self.campaigns.offered
        self.offers_of = self.campaigns.offers_of

    def _answer_of_the_store(self) -> None:
        self.showing = self.surroundings.showing
        self.facts = self.surroundings.facts
        self.level = self.surroundings.level
        self.has_alerted = self.calls.has_alerted
        self.last_alert_ms = self.calls.last_alert_ms
        self.live_calls = self.calls.live_calls
        self.call = self.calls.call
        self.out_of_stock = self.goods.out_of_stock
        self.departments = self.goods.departments
        self.minimum_ages = self.goods.minimum_ages
        self.hq_campaigns = self.campaigns.hq_campaigns
        self.plans = self.campaigns.plans
        self.offer = self.campaigns.offer
        self.campaign_uses = self.campaigns.campaign_uses
        self.tried = self.decisions.tried

    # --- what a batch changes -----------------------------------------------------------------

    def put(self, change: Change) -> None:
        """Lays a change over the cache; it is on the disk once the batch is committed."""
        if isinstance(change, Visitor):
            self.visitors.put(change)
        elif isinstance(change, VisitsChanged):
            self.visits.put(change)
        elif isinstance(change, Basket):
            self.baskets.put(change)
        elif isinstance(change, Call):
            self.calls.put(change)
        else:
            self.surroundings.put_showing(change)

    def note_decision(self, decision: Decision) -> None:
        """Counts a decision against its visit's cap, and among what was said to its visitor."""
        moment = decision.moment
        if decision.campaigns:
            self.campaigns.note_decision(decision)
        if moment.visitor is not None:
            at_ms = decision.decided_at_ms
            self.decisions.note(moment.visitor, moment.visit, at_ms=at_ms)
            self.contacts.note_decision(decision)

    def forget_unsaved(self) -> None:
        """Lets go of what is on the disk by now, and of what is beyond the cache's bounds."""
        for visitor in self.visits.forget_unsaved():
            self.decisions.forget(visitor)
        self.campaigns.forget_unsaved()
        self.contacts.forget_unsaved()
        self.calls.forget_unsaved()
        self._registers.prune()
        self.decisions.keep_bounds()
        self.visitors.keep_bounds()
        self.baskets.keep_bounds()
        # Who is in the store stays, and that may be more people than are held otherwise.
        n_held = max(visitor_book.CACHED_VISITORS, len(self.visits.journal))
        while len(self.visitors) > n_held:
            self._evict_oldest()

    def _evict_oldest(self) -> None:
        visitor = self.visitors.pop_oldest()
        if self.visits.is_in_store(visitor.id):
            self.visitors.hold(visitor)
            return
        self.visitors.forget_identifier(visitor)
        self.baskets.forget_carrier(visitor.id)
        self.visits.forget(visitor.id)
        self.decisions.forget(visitor.id)
