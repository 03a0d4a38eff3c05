"""People as the store knows them: visitors, their visits, what they said and what they want."""

from __future__ import annotations

from dataclasses import dataclass, field
from decimal import Decimal
from typing import Final

from edge_agent.domain.chain import Chain
from edge_agent.domain.ids import BasketId, ProductId, Pseudonym, VisitId, VisitorId, ZoneId
from edge_agent.domain.scoring import PastBasket
from edge_agent.domain.time import DAY_MS

# Kinds whose pseudonyms last beyond a day, because the person gave the identifier on purpose.
IDENTIFIED_KINDS = frozenset({"app", "loyalty", "receipt", "customer"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Subject:
    """An identifier after it became a pseudonym: the only form in which the core sees one.

    Attributes:
        origin: What the id of a visitor not seen before is made from, hexadecimal; empty where it
            is the pseudonym.
    """

    kind: str
    pseudonym: Pseudonym
    origin: str = field(default="", compare=False)

    @property
    def is_identified(self) -> bool:
        """Whether the kind names a person who chose to be recognised."""
        return self.kind in IDENTIFIED_KINDS


# The basis of a statement that names none: a term of the W3C DPV's legal bases.
CONSENT_BASIS: Final = "dpv:Consent"

# In a basket's `member`: a card was shown of whom nothing certain is known.
UNKNOWN_MEMBER: Final = VisitorId("unknown")
# The case under which a person's own order to leave his data unused is kept: it silences as a
# complaint does, follows him as one does, and can be lifted in the store alone.
RESTRICTION_CASE: Final = "restriction"

# Marks of the same instant stand in the order in which such things happen: sensors that tell
# whole seconds report leaving one zone and entering the next at the same time.
_MARK_RANKS: Final = {
    "start": 0,
    "leave": 1,
    "enter": 2,
    "dwell": 3,
    "seen": 3,
    "scan": 4,
    "lift": 4,
    "return": 5,
    "paid": 6,
    "end": 7,
}


@dataclass(frozen=True, slots=True)
class Mark:
    """One piece of evidence about where somebody was or what he did; visits are folded from marks.

    Attributes:
        at_ms: Event time.
        tie: Orders marks of the same instant, by event and not by arrival.
        kind: `start`, `enter`, `leave`, `dwell`, `seen`, `lift`, `return`, `scan`, `paid`
            or `end`.
    """

    at_ms: int
    tie: int
    kind: str
    zone: ZoneId | None = None
    product: ProductId | None = None
    dwell_ms: int = 0

    @property
    def order(self) -> tuple[int, int, int]:
        """Sorts marks by time, then by what happens first, then by what they are."""
        return (self.at_ms, _MARK_RANKS[self.kind], self.tie)


@dataclass(frozen=True, slots=True)
class ZoneStay:
    """One stay in one zone, `[entered_at_ms, left_at_ms)`."""

    zone: ZoneId
    entered_at_ms: int
    left_at_ms: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Visit:
    """One stay in the store.

    Attributes:
        zone: Where the visitor is now; None between zones.
        zone_entered_at_ms: Since when.
        in_hand: Products lifted or scanned and not put back, oldest first.
        n_handled_in_zone: Lifts and scans since the zone was entered.
        ended_by: `exit`, `sale_exit` or `timeout`; None while the visit is open.
    """

    id: VisitId
    visitor: VisitorId
    started_at_ms: int
    last_at_ms: int
    last_order: tuple[int, int, int]
    zone: ZoneId | None = None
    zone_entered_at_ms: int = 0
    n_handled_in_zone: int = 0
    in_hand: tuple[ProductId, ...] = ()
    has_paid: bool = False
    marks: Chain[Mark] | None = None
    stays: Chain[ZoneStay] | None = None
    ended_at_ms: int | None = None
    ended_by: str | None = None

    @property
    def is_open(self) -> bool:
        """Whether the visitor is still here as far as the marks say."""
        return self.ended_at_ms is None


@dataclass(frozen=True, slots=True, kw_only=True)
class ConsentStatement:
    """One entry of the consent ledger; the newest statement of a purpose holds.

    Attributes:
        channel: By which way it was said, such as the till.
        basis: The legal basis that it rests on, a term of the W3C DPV.
        only_on: The channel that it is about, of `identify.consent.CHANNELS`; None is every one.
    """

    purpose: str
    granted: bool
    stated_at_ms: int
    source: str
    text_version: str | None = None
    channel: str | None = None
    expires_at_ms: int | None = None
    basis: str = CONSENT_BASIS
    only_on: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Link:
    """Evidence that a visitor is, or is not, somebody known. It is never moved, only ended.

    Attributes:
        kind: Kind of the identifier that the linked visitor is known by.
        of: The visitor that is linked.
        visitor: Who he turned out to be.
        since_ms: When the evidence was seen.
        until_ms: When the link ended or will end; None while nothing ends it.
        basis: `consent` for a card read with a basket of his; `unlink` for the word that he is
            not this person, which ends every earlier link to him.
        ended_by: `unlink`; `consent` when the last one was withdrawn; `expiry` when it expires.
        source: The register that saw it, or who unlinked.
        confidence: 1 where the basket named the visitor, less where he stood at the register:
            an order of evidence, not a probability.
    """

    kind: str
    of: VisitorId
    visitor: VisitorId
    since_ms: int
    until_ms: int | None = None
    basis: str = "consent"
    ended_by: str | None = None
    source: str = ""
    confidence: float = 1.0

    @property
    def order(self) -> tuple[int, str, str]:
        """Sorts links by time, then by whom they lead to."""
        return (self.since_ms, self.visitor, self.basis)

    @property
    def is_claim(self) -> bool:
        """Whether it was said and never taken back, though it may no longer be used."""
        return self.basis != "unlink" and self.ended_by != "unlink"

    def is_in_force(self, now_ms: int) -> bool:
        """Returns whether it may be used at an instant."""
        if self.until_ms is None:
            return True
        # What was taken back is over at once, whatever the clock says that heard it.
        return self.ended_by == "expiry" and now_ms < self.until_ms


@dataclass(frozen=True, slots=True, kw_only=True)
class Complaint:
    """A complaint by its case number, as a keyed hash."""

    case: str
    opened_at_ms: int | None
    closed_at_ms: int | None = None

    @property
    def is_open(self) -> bool:
        """Whether marketing must be silent; a closing without an opening silences nothing."""
        if self.opened_at_ms is None:
            return False
        # Opened and closed at one instant: the stricter holds.
        return self.closed_at_ms is None or self.closed_at_ms <= self.opened_at_ms


@dataclass(frozen=True, slots=True, kw_only=True)
class Purchase:
    """One sale in this store, as its customer's profile remembers it.

    Attributes:
        basket: The basket's pseudonym, under which all that the till told of the sale is kept.
        products: Distinct products, in ascending order.
        total: What was paid.
        event: Source and id of the event that told of it; None where it was not kept.
    """

    basket: BasketId
    at_ms: int
    products: tuple[ProductId, ...]
    total: Decimal
    currency: str
    event: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Return:
    """Goods that somebody brought back, as his profile remembers it.

    Attributes:
        tie: Orders returns of the same instant, by event and not by arrival.
        basket: What the till named: the sale that they are of, if it is of that day, or their own.
        lines: Each product with what was paid back for it.
    """

    at_ms: int
    tie: int
    basket: BasketId | None
    lines: tuple[tuple[ProductId, Decimal], ...]
    currency: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Profile:
    """What is known of an identified customer beyond this visit, with his consent.

    Attributes:
        history: Sales here and those that HQ told of, oldest first; what a scorer is given.
        purchases: The newest sales here, oldest first: what all that is said of him rests on, less
            what came back of them.
        returns: What came back, oldest first.
        interests: Department and strength, strongest first, as of the newest sale.
        told_at_ms: When HQ last told of him; None where it never did.
    """

    reference: str | None = None
    history: tuple[PastBasket, ...] = ()
    purchases: tuple[Purchase, ...] = ()
    returns: tuple[Return, ...] = ()
    segments: tuple[str, ...] = ()
    interests: tuple[tuple[str, float], ...] = ()
    told_at_ms: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Visitor:
    """One pseudonymous person: a universal id, and what was stated about him."""

    id: VisitorId
    kind: str
    pseudonym: Pseudonym
    first_seen_at_ms: int
    last_seen_at_ms: int
    # Who he turned out to be, as evidence: who it is follows from the links in force.
    links: tuple[Link, ...] = ()
    consents: tuple[ConsentStatement, ...] = ()
    complaints: tuple[Complaint, ...] = ()
    profile: Profile = field(default_factory=Profile)
    n_decisions: int = 0

    @property
    def is_identified(self) -> bool:
        """Whether this is a person who chose to be recognised."""
        return self.kind in IDENTIFIED_KINDS

    @property
    def has_open_complaint(self) -> bool:
        """Whether all marketing must be silent."""
        return any(complaint.is_open for complaint in self.complaints)

    def may_be_unknown(self, lost_at_ms: int) -> bool:
        """Returns whether something that he stated may be among what was lost at an instant.

        Who is identified may have stated anything before; a consent that he stated since is a new
        beginning. Who is not can be matched for a day alone: what he was first seen on is a day.

        Args:
            lost_at_ms: The instant; 0 when no clock knew it, which is never over.
        """
        if not self.is_identified:
            return lost_at_ms == 0 or self.first_seen_at_ms <= lost_at_ms + DAY_MS
        return not any(each.granted and each.stated_at_ms > lost_at_ms for each in self.consents)

    @property
    def is_restricted(self) -> bool:
        """Whether what is held of him must not be used for anything."""
        return any(each.is_open and each.case == RESTRICTION_CASE for each in self.complaints)
