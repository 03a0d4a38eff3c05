"""What the core asks of the world, as protocols; `shell` has the real ones, tests have fakes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from collections.abc import Set as AbstractSet

    from edge_agent.domain.basket import Basket
    from edge_agent.domain.calls import Call
    from edge_agent.domain.contacts import CampaignUses, Contact
    from edge_agent.domain.decisions import Decision
    from edge_agent.domain.effects import Change, Effect, JoinPurchases
    from edge_agent.domain.ids import (
        BasketId,
        CampaignId,
        DecisionId,
        ProductId,
        ScreenId,
        UnitId,
        VisitId,
        VisitorId,
        ZoneId,
    )
    from edge_agent.domain.offers import Offer
    from edge_agent.domain.rules import FactValue, Rules
    from edge_agent.domain.scoring import PromotionPlan, ScoredProduct, ScoringRequest
    from edge_agent.domain.store import AtRegister, Level, Product, Showing
    from edge_agent.domain.visitor import Link as VisitorLink
    from edge_agent.domain.visitor import Subject, Visit, Visitor
    from edge_agent.wire.downlink import CampaignBody


class Permutation(Protocol):
    """A keyed permutation of 16 bytes."""

    def forth(self, block: bytes) -> bytes:
        """Returns the image of a block."""
        ...

    def back(self, block: bytes) -> bytes:
        """Returns the block of an image."""
        ...


class Clock(Protocol):
    """Wall time for records, monotonic time for waiting."""

    def now_ms(self) -> int:
        """Returns the present instant; never earlier than one it returned before."""
        ...

    def monotonic_s(self) -> float:
        """Returns seconds that only ever grow."""
        ...


class Stopwatch(Protocol):
    """Measures how long something took; nothing that is decided rests on it."""

    def __call__(self) -> int:
        """Returns nanoseconds that only ever grow; only their differences say something."""
        ...


class Scorer(Protocol):
    """Ranks products; the same request always gets the same answer."""

    @property
    def version(self) -> str:
        """Name of the model, as it stands in every decision."""
        ...

    @property
    def level(self) -> str:
        """How it ranks: `model` or `popularity`."""
        ...

    def rank(self, request: ScoringRequest) -> tuple[ScoredProduct, ...]:
        """Returns the best products, best first."""
        ...

    def reasons(
        self, request: ScoringRequest, products: tuple[ProductId, ...]
    ) -> dict[ProductId, str]:
        """Returns why it ranks products as it does, those of its answer to the same request."""
        ...

    def popular(self, request: ScoringRequest) -> tuple[ScoredProduct, ...]:
        """Returns the most popular products of this store and hour, best first."""
        ...


class Catalogue(Protocol):
    """What the store sells."""

    def product(self, product: ProductId) -> Product | None:
        """Returns a product, or None when it is not known."""
        ...

    def products_in(self, zone: ZoneId) -> frozenset[ProductId] | None:
        """Returns the products that a zone sells; None when its departments are not known."""
        ...

    def department(self, product: ProductId) -> str | None:
        """Returns a product's department."""
        ...


class State(Protocol):
    """The state as the engine reads it: a snapshot that a step never changes."""

    def visitor_of(self, subject: Subject) -> Visitor | None:
        """Returns the visitor that an identifier leads to."""
        ...

    def visitor(self, visitor: VisitorId) -> Visitor | None:
        """Returns a visitor by his id."""
        ...

    def links_to(self, person: VisitorId) -> tuple[VisitorLink, ...]:
        """Returns the links that lead to a person, ended ones too."""
        ...

    def complainers(self) -> AbstractSet[VisitorId]:
        """Returns everybody who ever complained."""
        ...

    def visit_of(self, visitor: VisitorId) -> Visit | None:
        """Returns a visitor's newest visit."""
        ...

    def visits_between(self, visitor: VisitorId, *, from_ms: int, to_ms: int) -> tuple[Visit, ...]:
        """Returns a visitor's visits that lie in an interval at least in part."""
        ...

    def present_in(self, zone: ZoneId) -> tuple[Visit, ...]:
        """Returns the open visits of whoever is in a zone now, those first who came first."""
        ...

    def basket(self, basket: BasketId) -> Basket | None:
        """Returns a basket."""
        ...

    def baskets_of(self, visitor: VisitorId) -> tuple[Basket, ...]:
        """Returns the baskets that a visitor carries."""
        ...

    def baskets_near(self, zone: ZoneId, *, from_ms: int, to_ms: int) -> tuple[Basket, ...]:
        """Returns baskets opened in an interval at the registers of a zone."""
        ...

    def at_register(self, zone: ZoneId, *, from_ms: int, to_ms: int) -> tuple[AtRegister, ...]:
        """Returns who stood in a register's zone at some time of an interval."""
        ...

    def showing(self, screen: ScreenId) -> Showing | None:
        """Returns what a screen shows."""
        ...

    def n_decisions(self, visit: VisitId, visitor: VisitorId, *, since_ms: int) -> int:
        """Returns how many decisions a visitor's visit has had over all channels.

        A late event may give a visit another id. What was decided under the one before counts.

        Args:
            visit: The visit.
            visitor: Whose it is.
            since_ms: When it began: what was decided for him from then on counts.
        """
        ...

    def unit_of(self, visitor: VisitorId) -> UnitId | None:
        """Returns the unit that a visitor's arms are drawn for; None before the first was."""
        ...

    def last_alert_ms(self, zone: ZoneId) -> int | None:
        """Returns when staff were last alerted to a zone."""
        ...

    def has_alerted(self, cause: str) -> bool:
        """Returns whether staff were alerted for this cause already."""
        ...

    def live_calls(self) -> tuple[Call, ...]:
        """Returns the calls for help that are open, or whose matter goes on, oldest first."""
        ...

    def call(self, decision: DecisionId) -> Call | None:
        """Returns the call that a decision made, a closed one too."""
        ...

    def out_of_stock(self) -> frozenset[ProductId]:
        """Returns the products that the store has none of."""
        ...

    def departments(self) -> Mapping[ProductId, str]:
        """Returns the department of each product of the catalogue."""
        ...

    def minimum_ages(self) -> Mapping[ProductId, int]:
        """Returns the years from which somebody may be sold them, of products that have any."""
        ...

    def facts(self, now_ms: int) -> Mapping[str, FactValue]:
        """Returns what HQ says of the day and is still true at an instant."""
        ...

    def level(self, kind: str, zone: ZoneId) -> Level | None:
        """Returns a zone's level as last measured: its time says whether it may be believed.

        Args:
            kind: `queue` or `occupancy`.
            zone: The zone.
        """
        ...

    def contacts_of(self, visitor: VisitorId, *, since_ms: int) -> tuple[Contact, ...]:
        """Returns what was said to a visitor from an instant on over all channels, oldest first.

        What was said to others who were taken for him then is among it. Whoever he is linked to
        has contacts of his own: see `Draft.contacts_with`. Of what is further back than decisions
        are kept only that is known which the caps of campaigns count.
        """
        ...

    def told_by(self, decision: DecisionId) -> tuple[VisitorId, ...]:
        """Returns for whom something was decided, and to whom it counts; nobody once forgotten."""
        ...

    def offered(self, decision: DecisionId, campaign: CampaignId) -> tuple[ProductId, ...]:
        """Returns the products that a decision named of a campaign, best first; none of a text."""
        ...

    def hq_campaigns(self) -> Mapping[CampaignId, str]:
        """Returns HQ's campaigns as sections of a policy; another mapping once one changes."""
        ...

    def plans(self) -> tuple[PromotionPlan, ...]:
        """Returns HQ's plans of promotions, oldest first; another tuple once one is added."""
        ...

    def offer(self, mark: str) -> Offer | None:
        """Returns the limited offer whose code has this digest."""
        ...

    def offers_of(self, visitor: VisitorId) -> tuple[Offer, ...]:
        """Returns the limited offers that a visitor was given."""
        ...

    def campaign_uses(self, campaign: CampaignId) -> CampaignUses:
        """Returns how often a campaign was said and redeemed in this store, in all and by day."""
        ...

    def tried(
        self, day: str, *, begins_ms: int, window_days: int
    ) -> Mapping[str, tuple[int, int]]:
        """Returns how often each action stood first and was answered in the days before one.

        The day itself does not count, nor what is answered on it, whatever it answers: what was
        tried is the same for all of it, whenever asked.

        Args:
            day: The store-local day.
            begins_ms: Its first instant.
            window_days: How many days before it count.
        """
        ...


class Delivery(Protocol):
    """One message as a link delivered it."""

    topic: str
    retain: bool
    dup: bool
    mid: int
    generation: int
    response_topic: str | None
    correlation: bytes | None

    @property
    def payload(self) -> bytes:
        """What it says."""
        ...


class UnitOfWork(Protocol):
    """One batch: what it changed, written in one transaction or not at all."""

    def add(self, table: str, row: tuple[Any, ...]) -> None:
        """Queues a row."""
        ...

    def put(self, change: Change) -> None:
        """Takes in one changed value."""
        ...

    def carry_out(self, effect: Effect) -> None:
        """Queues the rows of one effect that is written down."""
        ...

    def has_seen(self, mark: int) -> bool:
        """Returns whether an event was taken in before this batch."""
        ...

    def seen_among(self, marks: set[int]) -> set[int]:
        """Returns those marks whose events were taken in before this batch."""
        ...

    def query(self, sql: str, parameters: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
        """Returns rows of the state as it was before this batch."""
        ...

    def is_rot(self, error: Exception) -> bool:
        """Returns whether an error says that the database is damaged, and nothing else."""
        ...

    def erase(self, statements: Iterable[tuple[str, tuple[Any, ...]]]) -> None:
        """Queues deletions that come after all else; the state is read again after them."""
        ...

    def commit(self) -> list[int]:
        """Writes everything and returns the ids of the new outbox rows, in order."""
        ...

    def roll_back(self) -> None:
        """Leaves the disk as it was and reads the state again from it."""
        ...

    @property
    def is_empty(self) -> bool:
        """Whether there is nothing to write."""
        ...


class RuleBook(Protocol):
    """The chain's policy, and HQ's campaigns beside it."""

    rules: Rules

    def joined(
        self, campaigns: Mapping[CampaignId, str], unit: UnitOfWork, *, now_ms: int
    ) -> Rules:
        """Returns the policy in force with HQ's campaigns in it."""
        ...

    def refusal_of(
        self, body: CampaignBody, campaigns: Mapping[CampaignId, str], *, now_ms: int
    ) -> str | None:
        """Returns why a campaign of HQ's cannot be used; None if it can."""
        ...


class SecondCopy(Protocol):
    """Statements and tombstones a second time, beside the database; part of every transaction.

    Between BEGIN and COMMIT of whatever touches them, `stage` or `stage_anew`; then `committed`,
    or `rolled_back`. The unit of work does so by itself for what goes through it.
    """

    def stage(self, visitors: Iterable[str], tombstones: Iterable[tuple[str, int]] = ()) -> None:
        """Puts what visitors have stated, and tombstones, on the disk before the commit."""
        ...

    def stage_anew(self) -> None:
        """Has the copy written anew after the commit: without who was deleted, as re-keyed."""
        ...

    def committed(self) -> None:
        """Notes that the transaction is on the disk."""
        ...

    def rolled_back(self) -> None:
        """Takes out what was staged."""
        ...


class Tombstones(Protocol):
    """Marks of whoever was forgotten of late."""

    def put(self, subjects: Iterable[Subject], *, at_ms: int) -> None:
        """Marks identifiers as those of somebody forgotten, with the batch that is open."""
        ...


class Link(Protocol):
    """A connection to a broker."""

    @property
    def connected(self) -> bool:
        """Whether it is up and subscribed."""
        ...

    def publish(
        self,
        topic: str,
        payload: bytes,
        *,
        qos: int = 1,
        retain: bool = False,
        expiry_s: int | None = None,
        correlation: bytes | None = None,
        token: object = None,
    ) -> None:
        """Queues a message."""
        ...

    def ack(self, deliveries: Iterable[Any]) -> None:
        """Acknowledges deliveries."""
        ...

    def pause(self) -> None:
        """Stops reading."""
        ...

    def resume(self) -> None:
        """Reads on."""
        ...


class Reserve(Protocol):
    """Room on the disk that is kept for what must be written when it is full."""

    def hold(self) -> bool:
        """Takes the room up again; returns whether it is taken up."""
        ...

    def release(self) -> None:
        """Gives the room up."""
        ...


class Observer(Protocol):
    """Sees what was decided and bought, and changes neither."""

    def decided(self, decision: Decision, rules: Rules = ...) -> None:
        """Notes a decision and the chain's rules that it was taken under."""
        ...

    def bought(self, join: JoinPurchases) -> None:
        """Notes what a visitor paid for."""
        ...


class Keys(Protocol):
    """The keys of pseudonyms."""

    def store_key(self) -> bytes:
        """Returns the store's own key."""
        ...

    def permutation(self) -> Permutation | None:
        """Returns what lies over the pseudonyms of identified people; None before a rotation."""
        ...

    def ids_key(self) -> bytes:
        """Returns the key that new visitors' ids are made with."""
        ...

    def day_keys(self) -> dict[str, bytes]:
        """Returns the daily keys that exist, by store-local day."""
        ...

    def make_day_key(self, day: str) -> bytes:
        """Returns a day's key, made if it is new."""
        ...

    def destroy_before(self, day: str) -> tuple[str, ...]:
        """Destroys the keys of earlier days; returns which."""
        ...
