"""What is held of one person, as he is told: every row, why it is there, and for how long.

Nobody else is in it: of another's basket with which his card was shown, only that it was shown.
"""

from __future__ import annotations

import json
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from edge_agent.domain.ids import ProductId
from edge_agent.domain.time import rfc3339_from_ms
from edge_agent.domain.visitor import RESTRICTION_CASE
from edge_agent.shell.derived import derived_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from edge_agent.domain.policy import Retention
    from edge_agent.shell.derived import Shop
    from edge_agent.shell.person import Person
    from edge_agent.shell.rows import Row

    Query = Callable[[str, Row], list[Row]]
    Titles = Callable[[ProductId], str | None]
    Table = list[dict[str, Any]]

SCHEMA_VERSION: Final = 1
_OWN_SHOPPING: Final = "legitimate interest in serving who is in the store; no name, a key a day"
_CONSENT: Final = "consent, where you gave it"
_RIGHTS: Final = "legal duty: to obey what you said, and to be able to show it"
_REASON: Final = 6
# Title, why, basis, the period in `Retention`, and from when that counts.
_ABOUT: Final = {
    "identifiers": (
        "How you are recognised",
        "To know a card or device again. Of the number itself only a keyed hash is kept.",
        f"{_CONSENT}; without it, {_OWN_SHOPPING}",
        "visitors_days",
        "last seen; 30 days for devices",
    ),
    "statements": (
        "What you allowed and forbade",
        "To do what you said, at once.",
        _RIGHTS,
        "visitors_days",
        "last seen",
    ),
    "complaints": (
        "Complaints and restrictions",
        "To leave you alone while one is open.",
        _RIGHTS,
        "visitors_days",
        "last seen; an open one stays",
    ),
    "profile": (
        "What is remembered about you",
        "To recommend what suits you. Remembered of your purchases and of what the chain's"
        " headquarters sent.",
        _CONSENT,
        "profiles_days",
        "last seen",
    ),
    "derived": (
        "What that says about you now",
        "To recommend what suits you. It is worked out of what you did here whenever it is asked"
        " for, each with why and when, and only while you allow profiling; nothing is made of how"
        " you look.",
        _CONSENT,
        "profiles_days",
        "last seen; what visits and decisions say goes with them",
    ),
    "visits": (
        "Your visits",
        "To recommend on the spot, to count visits and to see where help is wanted.",
        _OWN_SHOPPING,
        "visits_days",
        "the visit",
    ),
    "purchases": (
        "Your purchases",
        "To recommend what goes together, to count sales and, if you allow it, to remember them.",
        f"{_OWN_SHOPPING}; {_CONSENT}",
        "sales_days",
        "the purchase",
    ),
    "decisions": (
        "What was decided for you",
        "To be able to explain each recommendation and to see what came of it.",
        _OWN_SHOPPING,
        "decisions_days",
        "the decision",
    ),
    "offers": (
        "Offers that you were given",
        "To take each one once at the till. Of its code only a keyed hash is kept.",
        _OWN_SHOPPING,
        "decisions_days",
        "its end",
    ),
    "contacts": (
        "What was said to you elsewhere",
        "So that you are not told too often: headquarters says by which channel you were told"
        " what, and what came of it.",
        _CONSENT,
        "decisions_days",
        "the message",
    ),
    "shared": (
        "What a screen said to you among others",
        "So that you are not told too often: it counts as said to each who stood there.",
        _OWN_SHOPPING,
        "decisions_days",
        "the answer",
    ),
    "campaigns": (
        "Campaigns whose effect is being measured",
        "To know whether a campaign helps, some are left without it. Chance decides who.",
        _OWN_SHOPPING,
        "sales_days",
        "the first moment that counted",
    ),
    "alerts": (
        "When staff were told that somebody may want help",
        "To send help once, not twice.",
        _OWN_SHOPPING,
        "decisions_days",
        "the alert",
    ),
    "calls": (
        "Calls for a person's help that were made for you",
        "So that somebody comes, the next team is asked if nobody does, and it ends when you go.",
        _OWN_SHOPPING,
        "decisions_days",
        "the call",
    ),
    "sent": (
        "What headquarters was sent",
        "So that the chain knows your choices and interests in its other stores too.",
        _CONSENT,
        "sales_days",
        "sending",
    ),
}
NOT_HERE: Final = (
    "Summaries hold counts of at least ten people and nobody in particular.",
    "Refused messages are kept sealed for one day at most and cannot be searched by person;"
    " a wish to be forgotten destroys all of them.",
    "Tills, headquarters and the loyalty programme keep records of their own.",
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
    reader = _Reader(person, query, title_of, partial(derived_of, shop=shop, now_ms=now_ms))
    sections = []
    for name, (title, why, basis, period, counted) in _ABOUT.items():
        rows = getattr(reader, name)()
        sections.append(
            {
                "name": name,
                "title": title,
                "why": why,
                "basis": basis,
                "kept_days": getattr(retention, period),
                "kept_from": counted,
                "rows": rows,
            }
        )
    return {
        "schema_version": SCHEMA_VERSION,
        "store": store,
        "made_at": rfc3339_from_ms(now_ms),
        "is_held": not person.is_nobody,
        "is_restricted": reader.is_restricted(),
        "sections": sections,
        "not_here": list(NOT_HERE),
    }


class _Reader:
    """Reads one person's rows."""

    def __init__(
        self, person: Person, query: Query, title_of: Titles, derived: Callable[..., Table]
    ) -> None:
        self._person = person
        self._query = query
        self._title_of = title_of
        self._derived = derived
        self._visitors = json.dumps(person.visitors)

    def is_restricted(self) -> bool:
        """Returns whether his data is held and not used."""
        rows = self._of_visitors(
            "SELECT 1 FROM complaint WHERE opened_at_ms IS NOT NULL"
            " AND (closed_at_ms IS NULL OR closed_at_ms < opened_at_ms) AND visitor IN"
            " (SELECT value FROM json_each(?1))"
            " AND case_hash = 'restriction'"
        )
        return bool(rows)

    def identifiers(self) -> Table:
        """Returns how he is recognised."""
        rows = self._of_visitors(
            "SELECT kind, pseudonym, since_ms, until_ms, basis, source, confidence FROM link"
            " WHERE visitor IN (SELECT value FROM json_each(?1))"
            " ORDER BY since_ms, kind, pseudonym"
        )
        return [
            {
                "kind": "linked to your card" if kind == "visitor" else kind,
                "keyed_hash": pseudonym,
                "since": _when(since),
                "until": _when(until),
                "basis": basis,
                "source": source,
                "confidence": confidence,
            }
            for kind, pseudonym, since, until, basis, source, confidence in rows
        ]

    def statements(self) -> Table:
        """Returns what he allowed and forbade."""
        rows = self._of_visitors(
            "SELECT purpose, granted, stated_at_ms, source, text_version, channel, expires_at_ms,"
            " basis, only_on"
            " FROM consent WHERE visitor IN"
            " (SELECT value FROM json_each(?1)) ORDER BY stated_at_ms, purpose, only_on"
        )
        return [
            {
                "purpose": purpose,
                "said": "allowed" if granted else "forbidden",
                "at": _when(at_ms),
                "where": source,
                "text_version": text_version,
                "channel": channel,
                "only_on": only_on or None,
                "basis": basis,
                "expires": _when(expires_ms),
            }
            for (
                purpose,
                granted,
                at_ms,
                source,
                text_version,
                channel,
                expires_ms,
                basis,
                only_on,
            ) in rows
        ]

    def complaints(self) -> Table:
        """Returns his complaints and restrictions."""
        rows = self._of_visitors(
            "SELECT case_hash, opened_at_ms, closed_at_ms FROM complaint WHERE visitor IN"
            " (SELECT value FROM json_each(?1)) ORDER BY opened_at_ms, case_hash"
        )
        return [
            {
                "what": "restriction" if case == RESTRICTION_CASE else "complaint",
                "opened": _when(opened),
                "closed": _when(closed),
            }
            for case, opened, closed in rows
        ]

    def profile(self) -> Table:
        """Returns what was worked out about him."""
        rows = self._of_visitors(
            "SELECT profile, first_seen_at_ms, last_seen_at_ms FROM visitor WHERE profile IS NOT"
            " NULL AND id IN (SELECT value FROM json_each(?1)) ORDER BY id"
        )
        return [_profile(json.loads(text), first, last) for text, first, last in rows]

    def derived(self) -> Table:
        """Returns what is said of him now."""
        return self._derived(self._person, query=self._query)

    def visits(self) -> Table:
        """Returns his visits."""
        found = []
        for visit, started, last, ended, ended_by, has_paid, trail in self._query(
            "SELECT id, started_at_ms, last_at_ms, ended_at_ms, ended_by, has_paid, trail"
            " FROM visit WHERE id IN (SELECT value FROM json_each(?1)) ORDER BY started_at_ms, id",
            (json.dumps(self._person.visits),),
        ):
            found.append(
                {
                    "visit": visit,
                    "from": _when(started),
                    "to": _when(last) if ended is not None else None,
                    "ended_by": ended_by,
                    "paid": bool(has_paid),
                    "zones": self._stays(visit),
                    "noticed": self._marks(visit, trail),
                }
            )
        return found

    def purchases(self) -> Table:
        """Returns his baskets."""
        his = [self._basket(basket) for basket in self._person.baskets]
        borrowed = []
        for basket in self._person.borrowed:
            (at_ms, register) = self._query(
                "SELECT first_at_ms, register FROM basket WHERE id = ?", (basket,)
            )[0]
            told = {"at": _when(at_ms), "register": register, "note": "your card was shown"}
            borrowed.append({"basket": basket, **told})
        return [each for each in his if each is not None] + borrowed

    def decisions(self) -> Table:
        """Returns what was decided for him."""
        rows = self._query(
            "SELECT id, at_ms, moment, channel, place, zone, level, visitor, record FROM decision"
            " WHERE id IN (SELECT value FROM json_each(?1)) ORDER BY at_ms, id",
            (json.dumps(self._person.decisions),),
        )
        return [self._decision(row) for row in rows]

    def offers(self) -> Table:
        """Returns the limited offers that he was given, or used."""
        rows = self._query(
            "SELECT campaign, products, given_at_ms, valid_until_ms, redeemed_at_ms FROM offer"
            " WHERE visitor IN (SELECT value FROM json_each(?1)) OR decision IN"
            " (SELECT value FROM json_each(?2)) OR basket IN (SELECT value FROM json_each(?3))"
            " ORDER BY given_at_ms, mark",
            (
                self._visitors,
                json.dumps(self._person.decisions),
                json.dumps(self._person.baskets),
            ),
        )
        return [
            {
                "campaign": campaign,
                "products": [self._named(each) for each in json.loads(products)],
                "given": _when(given),
                "valid_until": _when(until),
                "used": _when(used),
            }
            for campaign, products, given, until, used in rows
        ]

    def contacts(self) -> Table:
        """Returns what HQ says he was told elsewhere."""
        rows = self._of_visitors(
            "SELECT at_ms, channel, products, campaigns, outcome FROM contact WHERE visitor IN"
            " (SELECT value FROM json_each(?1)) AND id GLOB 'hq/*' ORDER BY at_ms, id"
        )
        return [
            self._said(at_ms, channel, products, campaigns) | {"came_of_it": outcome or None}
            for at_ms, channel, products, campaigns, outcome in rows
        ]

    def shared(self) -> Table:
        """Returns what a screen said to several people, him among them."""
        rows = self._of_visitors(
            "SELECT at_ms, channel, products, campaigns FROM contact WHERE visitor IN"
            " (SELECT value FROM json_each(?1)) AND id NOT GLOB 'hq/*' ORDER BY at_ms, id"
        )
        return [self._said(*row) for row in rows]

    def _said(self, at_ms: int, channel: str, products: str, campaigns: str) -> dict[str, Any]:
        return {
            "at": _when(at_ms),
            "channel": channel,
            "campaigns": json.loads(campaigns),
            "products": [self._named(each) for each in json.loads(products)],
        }

    def campaigns(self) -> Table:
        """Returns which arm he was in of which campaign."""
        rows = self._of_visitors(
            "SELECT campaign, arm, share, at_ms FROM exposure WHERE visitor IN"
            " (SELECT value FROM json_each(?1)) OR member IN (SELECT value FROM json_each(?1))"
            " ORDER BY at_ms, campaign, visitor"
        )
        return [
            {"campaign": campaign, "arm": arm, "control_share": share, "since": _when(at_ms)}
            for campaign, arm, share, at_ms in rows
        ]

    def alerts(self) -> Table:
        """Returns when staff were called to where he stood."""
        found = []
        for visit in self._person.visits:
            found += [
                {"at": _when(at_ms), "zone": zone}
                for zone, at_ms in self._query(
                    "SELECT zone, at_ms FROM alert WHERE cause >= ? AND cause < ? ORDER BY at_ms",
                    (f"dwell-{visit}-", f"dwell-{visit}."),
                )
            ]
        return found

    def calls(self) -> Table:
        """Returns the calls for help that were made for him, and what became of each."""
        rows = self._of_visitors(
            "SELECT kind, zone, opened_at_ms, acknowledged_at_ms, closed_at_ms, outcome, concern,"
            " is_signed FROM help_call WHERE visitor IN (SELECT value FROM json_each(?1))"
            " ORDER BY id"
        )
        return [
            {
                "at": _when(at_ms),
                "why": kind.replace("_", " "),
                "zone": zone,
                "about": {k: v for k, v in json.loads(concern).items() if v},
                "in_your_name": bool(is_signed),
                "answered": _when(answered_ms),
                "ended": _when(ended_ms),
                "came_of_it": outcome,
            }
            for kind, zone, at_ms, answered_ms, ended_ms, outcome, concern, is_signed in rows
        ]

    def sent(self) -> Table:
        """Returns what HQ was sent of him."""
        rows = self._of_visitors(
            "SELECT s.at_ms, s.payload, o.id IS NULL FROM customer_sent s LEFT JOIN outbox o"
            " ON o.message_id = s.message_id AND o.link = 'hq'"
            " WHERE s.visitor IN (SELECT value FROM json_each(?1)) ORDER BY s.at_ms, s.message_id"
        )
        return [
            {
                "at": _when(at_ms),
                "state": "acknowledged" if is_acked else "waiting",
                "message": json.loads(bytes(payload)),
            }
            for at_ms, payload, is_acked in rows
        ]

    def _of_visitors(self, sql: str) -> list[Row]:
        return self._query(sql, (self._visitors,))

    def _stays(self, visit: str) -> Table:
        return [
            {"zone": zone, "from": _when(entered), "to": _when(left)}
            for zone, entered, left in self._query(
                "SELECT zone, entered_at_ms, left_at_ms FROM zone_stay WHERE visit = ?"
                " ORDER BY entered_at_ms",
                (visit,),
            )
        ]

    def _marks(self, visit: str, trail: str | None) -> Table:
        rows: list[Any] = json.loads(trail or "[]") or self._query(
            "SELECT at_ms, tie, kind, zone, product, dwell_ms FROM mark WHERE visit = ?"
            " ORDER BY at_ms, tie",
            (visit,),
        )
        return [
            {"at": _when(at_ms), "what": kind, "zone": zone, "product": self._named(product)}
            for at_ms, _tie, kind, zone, product, _dwell in rows
        ]

    def _basket(self, basket: str) -> dict[str, Any] | None:
        rows = self._query(
            "SELECT register, first_at_ms, s.completed_at_ms, s.currency, s.total, s.event,"
            " voided_at_ms"
            " FROM basket LEFT JOIN sale s ON s.basket = id WHERE id = ?",
            (basket,),
        )
        if not rows:
            return None
        register, first, completed, currency, total, event, voided = rows[0]
        lines = self._query(
            "SELECT product, quantity, amount FROM sale_line WHERE basket = ? ORDER BY position",
            (basket,),
        ) or self._query(
            "SELECT product, quantity, NULL FROM basket_line WHERE basket = ? ORDER BY at_ms, tie",
            (basket,),
        )
        return {
            "basket": basket,
            "at": _when(first),
            "register": register,
            "paid_at": _when(completed),
            "paid_by_event": event,
            "voided_at": _when(voided),
            "total": None if total is None else f"{total} {currency}",
            "lines": [
                {"product": self._named(product), "quantity": quantity, "amount": amount}
                for product, quantity, amount in lines
            ],
        }

    def _decision(self, row: Row) -> dict[str, Any]:
        decision, at_ms, moment, channel, place, zone, level, visitor, text = row
        record = json.loads(text)
        request = record.get("request") or {}
        told = {
            "decision": decision,
            "at": _when(at_ms),
            "moment": moment,
            "where": " ".join(each for each in (channel, place, zone) if each),
            "how": level,
            "your_history_used": bool(request.get("history")),
        }
        if visitor not in self._person.visitors:
            return {**told, "note": "taken for a basket with which your card was shown"}
        reasons = {each[0]: each[_REASON] for each in record.get("candidates", ())}
        outcomes = self._query(
            "SELECT kind, product, at_ms FROM outcome WHERE decision = ? ORDER BY at_ms, kind",
            (decision,),
        )
        return {
            **told,
            "recommended": [
                {"product": self._named(each), "because": reasons.get(each)}
                for each in record["chosen"]
            ],
            **_under_rules(record.get("rules", {})),
            "held_back": sorted({reason for _, _, reason in record["ruled_out"] if reason}),
            "came_of_it": [
                {"what": kind, "product": self._named(product), "at": _when(at)}
                for kind, product, at in outcomes
            ],
        }

    def _named(self, product: str | None) -> str | None:
        if not product:
            return None
        title = self._title_of(ProductId(product))
        return product if title is None or title == product else f"{title} ({product})"


def _profile(document: dict[str, Any], first_ms: int, last_ms: int) -> dict[str, Any]:
    return {
        "first_seen": _when(first_ms),
        "last_seen": _when(last_ms),
        "headquarters_handle": document.get("reference"),
        "segments": document.get("segments", []),
        "interests_when_last_bought": [
            {"interest": name, "strength": round(share, 3)}
            for name, share, *_ in document.get("interests", [])
        ],
        "remembered_purchases": [
            {"at": _when(at_ms), "products": products}
            for at_ms, products in document.get("history", [])
        ],
        "remembered_baskets": [
            {
                "basket": basket,
                "at": _when(at_ms),
                "total": f"{total} {currency}",
                "event": event[0] if event else None,
            }
            for basket, at_ms, _products, total, currency, *event in document.get("purchases", [])
        ],
        "remembered_returns": [
            {"at": _when(at_ms), "of_basket": basket, "products": [each for each, _ in lines]}
            for at_ms, _tie, basket, lines, _currency in document.get("returns", [])
        ],
        "headquarters_told_at": _when(document.get("told_at")),
    }


def _when(instant_ms: Any) -> str | None:
    return None if instant_ms is None else rfc3339_from_ms(int(instant_ms))


def _under_rules(rules: dict[str, Any]) -> dict[str, Any]:
    """Returns what a decision under the chain's rules looked at and said besides; of none nothing.

    Args:
        rules: What its record holds of them.
    """
    known, notice = rules.get("known", {}), rules.get("notice")
    campaigns = {*rules.get("offers", {}).values(), *(() if notice is None else (notice,))}
    told = {
        "looked_at": known.get("facts"),
        "told_that_day": known.get("n_contacts_day"),
        "campaigns": sorted(campaigns),
        # What sells best stood there, for the control group of these.
        "in_place_of": rules.get("missed"),
    }
    return {name: value for name, value in told.items() if value}
