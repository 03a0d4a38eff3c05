"""Every check by its name, with what must hold and where the documents say so.

`hardware/CONFORMANCE.md` tells the same for a vendor's engineer; a test keeps the two alike.
"""

from __future__ import annotations

from typing import Final

from edge_agent.conformance.findings import Check

_SCREEN_OUT: Final = "topics.md, store/{store}/screen/{screen}/feedback"
_SCREEN_IN: Final = "topics.md, store/{store}/screen/{screen}/recommendation"
_RECOMMENDATION: Final = "recommendation.schema.json"
_FEEDBACK: Final = "screen.shown.schema.json"
_UNKNOWN: Final = "topics.md, unknown fields and versions"
_RULES: Final = "hardware/CONFORMANCE.md"
_EVENTS: Final = "topics.md, store/{store}/event/{source}"
_RECEIPT: Final = "topics.md, store/{store}/event/{source}/receipt"
_REQUEST: Final = "topics.md, store/{store}/recommend/request"
_OFFER: Final = "topics.md, store/{store}/receipt/{register}/offer"
_SALE: Final = "sale.completed.schema.json"


def _table(*rows: tuple[str, str, str]) -> dict[str, Check]:
    return {
        name: Check(name=name, expected=expected, place=place) for name, expected, place in rows
    }


# What every message of a screen must be.
SCREEN_MESSAGES: Final = _table(
    ("subscribes", "somebody subscribes to the screen's recommendations", _SCREEN_IN),
    ("topic", "the screen publishes on its own feedback topic and nowhere else", _SCREEN_OUT),
    ("delivery", "feedback goes out with QoS 1 or 2, and is not retained", _SCREEN_OUT),
    ("schema", "each feedback is a valid event", _FEEDBACK),
    ("itself", "feedback is shown, tapped or dismissed, and names this screen", _FEEDBACK),
    ("decision", "feedback names decisions that the screen was sent", _FEEDBACK),
    ("product", "a product that feedback names stands in its decision", _FEEDBACK),
    ("ids", "an event id never stands for two different events", f"{_RULES}, ids"),
    ("once", "each thing is said once of a decision; a repeat keeps its id", f"{_RULES}, once"),
    ("time", "an event's time is that of what happened", f"{_RULES}, time"),
    ("untouched", "nothing is tapped or dismissed that nobody touched", f"{_RULES}, once"),
    ("reaction", "a recommendation is told as shown in time", f"{_RULES}, reaction"),
)
# Recommendations that must be shown, or must not.
SCREEN_CASES: Final = _table(
    ("plain", "an ordinary recommendation is shown", _RECOMMENDATION),
    ("default", "the store's default content is shown", _RECOMMENDATION),
    ("sparse", "shown without any of its optional fields", _RECOMMENDATION),
    ("full", "shown with each of its optional fields, and 3 items", _RECOMMENDATION),
    ("long-texts", "shown with texts of 2,000 characters and names of 128", _RECOMMENDATION),
    ("many-items", "shown with 20 items", _RECOMMENDATION),
    ("unknown-fields", "shown though it has fields that nobody knows", _UNKNOWN),
    ("any-script", "shown though its texts hold markup and many scripts", _RECOMMENDATION),
    ("offset-times", "shown by its instants, whatever their offset", _RECOMMENDATION),
    ("same-items", "a new decision with the same items is told as shown", f"{_RULES}, once"),
    ("burst", "the last of ten that come at once is shown", f"{_RULES}, newest"),
    ("older-issued", "what was published last holds, whatever its `issued`", f"{_RULES}, newest"),
    ("repeat", "a recommendation that comes twice is not told again", f"{_RULES}, once"),
    ("expired", "a recommendation that is over is not shown", f"{_RULES}, expiry"),
    (
        "expired-offset",
        "what is over as an instant is not shown, whatever its digits",
        f"{_RULES}, expiry",
    ),
    ("expires", "nothing is said of a recommendation after its end", f"{_RULES}, expiry"),
    ("cleared", "an empty retained message shows nothing and harms nothing", f"{_RULES}, clear"),
    ("not-json", "what is no JSON, or no UTF-8, is ignored", f"{_RULES}, ignore"),
    (
        "missing-fields",
        "a recommendation without its required fields is ignored",
        f"{_RULES}, ignore",
    ),
    ("other-version", "a recommendation of another schema_version is ignored", _UNKNOWN),
)
# What somebody at the screen must do or see.
SCREEN_PERSON: Final = _table(
    ("reads-exactly", "texts are shown as they are, markup as text", _RECOMMENDATION),
    ("gone-when-over", "what is over leaves the screen by itself", f"{_RULES}, expiry"),
    ("gone-when-cleared", "what was cleared leaves the screen", f"{_RULES}, clear"),
    ("offer-over", "an offer that is over is not shown", f"{_RULES}, expiry"),
    ("tapped", "a tap is told, of the decision that is shown", "screen.tapped.schema.json"),
    ("dismissed", "sending it away is told", "screen.dismissed.schema.json"),
    ("restart", "after a restart the retained recommendation is shown", _SCREEN_IN),
)
SCREEN: Final = {**SCREEN_MESSAGES, **SCREEN_CASES, **SCREEN_PERSON}

# What every message of a till must be.
TILL_MESSAGES: Final = _table(
    ("heard", "the till's events are heard", _EVENTS),
    ("topic", "the till publishes on its own event topic and in requests, nowhere else", _EVENTS),
    ("delivery", "events go out with QoS 1 or 2, and are not retained", _EVENTS),
    ("schema", "each event is valid", "event.schema.json"),
    ("source", "an event's source is its topic's last level", _EVENTS),
    ("ids", "an event id never stands for two different events", f"{_RULES}, ids"),
    ("one-id", "an event that is told again keeps its id", f"{_RULES}, ids"),
    ("time", "each event has the time of what happened", f"{_RULES}, time"),
    (
        "personal",
        "no field that names a thing, and no field of its own, holds a person",
        f"{_RULES}, personal",
    ),
    (
        "order",
        "a basket is opened before its lines, and has none after the sale",
        f"{_RULES}, baskets",
    ),
    ("voids", "no more is voided than was added", f"{_RULES}, baskets"),
    ("lines", "a sale's lines are what was added less what was voided", f"{_RULES}, baskets"),
    (
        "totals",
        "a total is the sum of its lines' amounts, charges, and tax that is not in them",
        _SALE,
    ),
    ("currency", "one basket has one currency", _SALE),
    ("card", "a card names its basket, and a sale no other card", "loyalty.scanned.schema.json"),
)
# Receipts of events, requests and offers.
TILL_EXCHANGES: Final = _table(
    ("asks", "every event asks for its receipt, or none does", _RECEIPT),
    ("repeats", "an event is told again, under its id, until its receipt comes", _RECEIPT),
    ("others-receipt", "a receipt for another id does not end that", _RECEIPT),
    ("stops", "an event is not told again after its receipt", _RECEIPT),
    ("refused", "an event that was refused is not told again", _RECEIPT),
    (
        "request",
        "a request is valid, with correlation data and a response topic of its own",
        _REQUEST,
    ),
    ("reply", "the till shows the answer to its request", _REQUEST),
    ("offer", "the receipt prints the offer of its basket", _OFFER),
    (
        "offer-over",
        "the receipt prints no offer that is over, and none of a broken message",
        _OFFER,
    ),
)
# The scripted sale.
TILL_STEPS: Final = _table(
    ("open", "opening a basket is told", "basket.opened.schema.json"),
    (
        "card-before",
        "a card that is read before payment is told with its basket",
        "loyalty.scanned.schema.json",
    ),
    ("add", "each product is told as it is scanned", "basket.item_added.schema.json"),
    ("weighed", "a weighed product has its weight as quantity", "basket.item_added.schema.json"),
    ("void", "a voided line is told, with its product", "basket.item_voided.schema.json"),
    ("discount", "a reduced product has its discount, and its amount without it", _SALE),
    ("ask", "a request for a recommendation is told", "recommend.request.schema.json"),
    ("complete", "payment is told, with all lines", _SALE),
    (
        "card-after",
        "a card that is read after payment is told with its basket",
        "loyalty.scanned.schema.json",
    ),
    ("cancel", "a paid sale that is cancelled is told", "sale.voided.schema.json"),
    ("return", "goods that come back are an event of their own", "sale.returned.schema.json"),
)
TILL: Final = {**TILL_MESSAGES, **TILL_EXCHANGES, **TILL_STEPS}
