"""What is held of one person, as he is told: every row, why it is there, and for how long.

Nobody else is in it: of another's basket with which his card was shown, only that it was shown.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from edge_agent.domain.time import rfc3339_from_ms
from edge_agent.shell import held_decisions, held_identity, held_messages, held_shopping
from edge_agent.shell.held_reading import Reading

if TYPE_CHECKING:
    from collections.abc import Callable

    from edge_agent.domain.policy import Retention
    from edge_agent.shell.derived import Shop
    from edge_agent.shell.held_reading import Query, Table, Titles
    from edge_agent.shell.person import Person

SCHEMA_VERSION: Final = 1
_OWN_SHOPPING: Final = "legitimate interest in serving who is in the store; no name, a key a day"
_CONSENT: Final = "consent, where you gave it"
_RIGHTS: Final = "legal duty: to obey what you said, and to be able to show it"
NOT_HERE: Final = (
    "Summaries hold counts of at least ten people and nobody in particular.",
    "Refused messages are kept sealed for one day at most and cannot be searched by person;"
    " a wish to be forgotten destroys all of them.",
    "Tills, headquarters and the loyalty programme keep records of their own.",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Section:
    """One kind of what is held.

    Attributes:
        name: As the document has it.
        title: As a person reads it.
        why: What it is held for.
        basis: What allows it.
        period: The field of `Retention` that says for how many days.
        kept_from: From when these count.
        read: Reads a person's rows of it.
    """

    name: str
    title: str
    why: str
    basis: str
    period: str
    kept_from: str
    read: Callable[[Reading], Table]


_SECTIONS: Final = (
    _Section(
        name="identifiers",
        title="How you are recognised",
        why="To know a card or device again. Of the number itself only a keyed hash is kept.",
        basis=f"{_CONSENT}; without it, {_OWN_SHOPPING}",
        period="visitors_days",
        kept_from="last seen; 30 days for devices",
        read=held_identity.identifiers,
    ),
    _Section(
        name="statements",
        title="What you allowed and forbade",
        why="To do what you said, at once.",
        basis=_RIGHTS,
        period="visitors_days",
        kept_from="last seen",
        read=held_identity.statements,
    ),
    _Section(
        name="complaints",
        title="Complaints and restrictions",
        why="To leave you alone while one is open.",
        basis=_RIGHTS,
        period="visitors_days",
        kept_from="last seen; an open one stays",
        read=held_identity.complaints,
    ),
    _Section(
        name="profile",
        title="What is remembered about you",
        why=(
            "To recommend what suits you. Remembered of your purchases and of what the chain's"
            " headquarters sent."
        ),
        basis=_CONSENT,
        period="profiles_days",
        kept_from="last seen",
        read=held_identity.profile,
    ),
    _Section(
        name="derived",
        title="What that says about you now",
        why=(
            "To recommend what suits you. It is worked out of what you did here whenever it is"
            " asked for, each with why and when, and only while you allow profiling; nothing is"
            " made of how you look."
        ),
        basis=_CONSENT,
        period="profiles_days",
        kept_from="last seen; what visits and decisions say goes with them",
        read=held_identity.derived,
    ),
    _Section(
        name="visits",
        title="Your visits",
        why="To recommend on the spot, to count visits and to see where help is wanted.",
        basis=_OWN_SHOPPING,
        period="visits_days",
        kept_from="the visit",
        read=held_shopping.visits,
    ),
    _Section(
        name="purchases",
        title="Your purchases",
        why=(
            "To recommend what goes together, to count sales and, if you allow it, to remember"
            " them."
        ),
        basis=f"{_OWN_SHOPPING}; {_CONSENT}",
        period="sales_days",
        kept_from="the purchase",
        read=held_shopping.purchases,
    ),
    _Section(
        name="decisions",
        title="What was decided for you",
        why="To be able to explain each recommendation and to see what came of it.",
        basis=_OWN_SHOPPING,
        period="decisions_days",
        kept_from="the decision",
        read=held_decisions.decisions,
    ),
    _Section(
        name="offers",
        title="Offers that you were given",
        why="To take each one once at the till. Of its code only a keyed hash is kept.",
        basis=_OWN_SHOPPING,
        period="decisions_days",
        kept_from="its end",
        read=held_messages.offers,
    ),
    _Section(
        name="contacts",
        title="What was said to you elsewhere",
        why=(
            "So that you are not told too often: headquarters says by which channel you were told"
            " what, and what came of it."
        ),
        basis=_CONSENT,
        period="decisions_days",
        kept_from="the message",
        read=held_messages.contacts,
    ),
    _Section(
        name="shared",
        title="What a screen said to you among others",
        why="So that you are not told too often: it counts as said to each who stood there.",
        basis=_OWN_SHOPPING,
        period="decisions_days",
        kept_from="the answer",
        read=held_messages.shared,
    ),
    _Section(
        name="told",
        title="Campaigns that you were told of longer ago",
        why="So that you are not told of one more often than it may be, as long as it goes on.",
        basis=_OWN_SHOPPING,
        period="decisions_days",
        kept_from="the campaign's end",
        read=held_messages.told,
    ),
    _Section(
        name="campaigns",
        title="Campaigns whose effect is being measured",
        why="To know whether a campaign helps, some are left without it. Chance decides who.",
        basis=_OWN_SHOPPING,
        period="sales_days",
        kept_from="the first moment that counted",
        read=held_decisions.campaigns,
    ),
    _Section(
        name="alerts",
        title="When staff were told that somebody may want help",
        why="To send help once, not twice.",
        basis=_OWN_SHOPPING,
        period="decisions_days",
        kept_from="the alert",
        read=held_messages.alerts,
    ),
    _Section(
        name="calls",
        title="Calls for a person's help that were made for you",
        why=(
            "So that somebody comes, the next team is asked if nobody does, and it ends when you"
            " go."
        ),
        basis=_OWN_SHOPPING,
        period="decisions_days",
        kept_from="the call",
        read=held_messages.calls,
    ),
    _Section(
        name="sent",
        title="What headquarters was sent",
        why="So that the chain knows your choices and interests in its other stores too.",
        basis=_CONSENT,
        period="sales_days",
        kept_from="sending",
        read=held_messages.sent,
    ),
)


def held_of(
    person: Person,
    *,
    query: Query,
    shop: Shop,
    retention: Retention,
    title_of: Titles,
    store: str,
    now_ms: int,
) -> dict[str, Any]:
    """Returns all that is held of a person as one document."""
    reading = Reading(person=person, query=query, title_of=title_of, shop=shop, now_ms=now_ms)
    sections = [_told(each, reading, retention) for each in _SECTIONS]
    return {
        "schema_version": SCHEMA_VERSION,
        "store": store,
        "made_at": rfc3339_from_ms(now_ms),
        "is_held": not person.is_nobody,
        "is_restricted": held_identity.is_restricted(reading),
        "sections": sections,
        "not_here": list(NOT_HERE),
    }


def _told(section: _Section, reading: Reading, retention: Retention) -> dict[str, Any]:
    return {
        "name": section.name,
        "title": section.title,
        "why": section.why,
        "basis": section.basis,
        "kept_days": getattr(retention, section.period),
        "kept_from": section.kept_from,
        "rows": section.read(reading),
    }
