"""A vendor's till that keeps the contract, or breaks it in one way that is asked for."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, timedelta
from decimal import Decimal
from typing import Any

from edge_agent.conformance.person import Answer, nothing
from edge_agent.conformance.till_run import ANSWER_TITLE, OFFER_TITLE, OVER_TITLE
from edge_agent.wire import topics
from tests.vendor_world import World

REPEAT_S = 3.0
CARD = "6400000017482"
BASKET = "31198570131"
Json = dict[str, Any]


@dataclass
class VendorTill:
    """A till with a cashier, a printer and a display; it is its own `Person` as well.

    Attributes:
        fault: What is wrong with it; empty for nothing.
        asks: Whether it asks for receipts.
    """

    world: World
    store: str
    source: str
    fault: str = ""
    asks: bool = True
    is_subscribed: bool = True
    printed: list[str] = field(default_factory=list)
    display: str = ""
    _n: int = 0
    _open: dict[str, Json] = field(default_factory=dict)
    _lines: dict[str, Json] = field(default_factory=dict)

    # --- messages -----------------------------------------------------------------------------

    def hear(self, topic: str, payload: bytes) -> None:
        """Takes a receipt, an offer or an answer."""
        try:
            said = json.loads(payload)
        except ValueError:
            if topic == topics.receipt_offer(self.store, self.source):
                self.printed += ["{"] if self.fault == "prints broken offers" else []
            return
        if topic == topics.event_receipt(self.store, self.source):
            self._hear_receipt(said)
        elif topic == topics.receipt_offer(self.store, self.source):
            is_over = said["valid_until"] <= self.world.now().isoformat().replace("+00:00", "Z")
            if self.fault != "prints no offer" and (not is_over or self.fault == "prints all"):
                self.printed.append(said["items"][0]["title"])
        elif topic == topics.reply(self.store, self.source) and self.fault != "shows no answer":
            self.display = said["items"][0]["title"]

    @property
    def is_served(self) -> bool:
        """Whether something was told, and every receipt has come."""
        return self._n > 0 and not self._open

    def _hear_receipt(self, said: Json) -> None:
        is_other = said["id"] not in self._open
        if self.fault == "takes any receipt" and is_other:
            self._open.clear()
        deaf_to = {"never stops": "committed", "ignores refusals": "refused"}.get(self.fault)
        if said["outcome"] != deaf_to:
            self._open.pop(said["id"], None)

    def _tell(self, kind: str, data: Json, *, at_s: float = 0.0, **more: Any) -> None:
        self._n += 1
        at = self.world.now() + timedelta(seconds=at_s)
        if self.fault == "an hour ahead":
            at += timedelta(hours=1)
        said: Json = {
            "specversion": "1.0",
            "id": f"{self.source}-{self._n:06d}",
            "source": self.source,
            "type": kind,
            "time": at.astimezone(UTC).isoformat().replace("+00:00", "Z"),
            "receipt": self.asks and self.fault != "good: asks by configuration",
            "data": data,
            **more,
        }
        self._spoil(said)
        is_unasked = self.fault == "asks now and then" and not said["receipt"]
        if self.asks and not is_unasked:
            self._open[said["id"]] = said
        self._send(said)
        self._repeat_later(said)

    def _spoil(self, said: Json) -> None:  # noqa: C901, PLR0912 - a table of faults
        data = said["data"]
        match self.fault, said["type"]:
            case "no time", _:
                del said["time"]
            case "no basket", "basket.item_voided":
                del data["basket"]
            case "another source", "basket.item_added":
                said["source"] = "pos-9"
            case "asks now and then", "basket.item_added":
                said["receipt"] = False
            case "card as id", "sale.completed":
                said["id"] = CARD
            case "one id for two", "sale.voided" | "sale.returned":
                said["id"] = "id-1"
            case "a name in a field", "sale.completed":
                data["customerName"] = "Maija"
            case "an address in a field", "sale.completed":
                data["note"] = "send to maija@example.com"
            case "no numbers", "basket.item_added":
                data["quantity"] = "sNaN"
            case "no numbers", "sale.completed":
                data["lines"][0]["discount"] = "NaN"
            case "a long id", "basket.item_added":
                said["id"] = said["id"].ljust(200, "x")
            case "a broken id", "basket.item_added":
                said["id"] += "\0"
            case "boundless numbers", "basket.item_added":
                data["quantity"] = 1e50
            case _:
                return

    def _send(self, said: Json) -> None:
        topic = topics.event(self.store, self.source)
        if self.fault == "another topic" and said["type"] == "sale.returned":
            topic = f"store/{self.store}/event/{self.source}/returns"
        qos, retain = int(self.fault != "qos 0"), self.fault == "retained"
        self.world.publish(topic, json.dumps(said).encode(), qos=qos, retain=retain)

    def _repeat_later(self, said: Json) -> None:
        def again() -> None:
            if said["id"] not in self._open or self.fault == "never repeats":
                return
            if self.fault == "new id for repeats":
                del self._open[said["id"]]
                said["id"] += "-again"
                self._open[said["id"]] = said
            self._send(dict(said))
            self._repeat_later(said)

        self.world.later(REPEAT_S, again)

    # --- the cashier --------------------------------------------------------------------------

    @property
    def is_there(self) -> bool:
        """Whether anybody can be asked."""
        return True

    def note(self, text: str) -> None:
        """Hears it."""

    def does(self, task: str, text: str, *, meanwhile: Callable[[], None] = nothing) -> Answer:  # noqa: ARG002 - names suffice
        """Does a step of the scripted sale."""
        self.world.later(0.1, lambda: self._do(task))
        return "yes"

    def sees(self, question: str, text: str) -> Answer:  # noqa: ARG002 - names suffice
        """Looks at the receipt and the display."""
        is_so = {
            "offer": OFFER_TITLE in self.printed,
            "offer-over": not {OVER_TITLE, "{"} & set(self.printed),
            "reply": self.display == ANSWER_TITLE,
        }[question]
        return "yes" if is_so else "no"

    def _do(self, task: str) -> None:  # noqa: C901, PLR0912 - a table of steps
        if self.fault == f"tells no {task}":
            return
        basket = {"basket": BASKET, "register": self.source}
        card = {"visitor": {"kind": "loyalty", "value": CARD}, **basket}
        match task:
            case "open":
                self._tell("basket.opened", basket)
            case "card-before" | "card-after":
                if self.fault == "card without basket":
                    del card["basket"]
                if self.fault == "card as a beacon":
                    card["visitor"] = {"kind": "ble", "value": "AC:23:3F:5E:07:41"}
                self._tell("loyalty.scanned", card)
            case "add":
                self._add("1029743", 1, "1.29", at_s=-5.0 * (self.fault == "line before open"))
                self._add("995242", 2, "2.58")
            case "weighed":
                self._add("1082185", 1 if self.fault == "no weights" else 0.482, "1.11")
            case "void":
                self._void()
            case "discount":
                self._add("961554", 1, "2.00", discount="0.40")
            case "ask":
                self._ask()
            case "complete":
                self._complete(basket)
            case "cancel":
                self._tell("sale.voided", basket)
            case _:
                self._return()

    def _add(
        self,
        product: str,
        quantity: float,
        amount: str,
        *,
        discount: str = "0.00",
        at_s: float = 0,
    ) -> None:
        if self.fault == "no discounts":
            discount = "0.00"
        line = {"product": product, "quantity": quantity, "amount": amount, "discount": discount}
        if self.fault == "card as product" and product == "961554":
            product = line["product"] = CARD
        self._lines[product] = line
        data = {"basket": BASKET, "register": self.source, **line, "currency": "EUR"}
        self._tell("basket.item_added", data, at_s=at_s)

    def _void(self) -> None:
        product = "995242" if "995242" in self._lines else next(iter(self._lines))
        voided = self._lines[product]
        if self.fault != "sells what was voided":
            del self._lines[product]
        quantity = voided["quantity"] + (self.fault == "voids too much")
        data = {"basket": BASKET, "register": self.source}
        line = {"product": product, "quantity": quantity, "amount": "2.58", "currency": "EUR"}
        self._tell("basket.item_voided", {**data, **line})

    def _complete(self, basket: Json) -> None:
        lines = list(self._lines.values())
        total = sum((Decimal(each["amount"]) for each in lines), Decimal(0))
        if self.fault == "gross totals":
            total += sum((Decimal(each["discount"]) for each in lines), Decimal(0))
        visitor = "6400000000001" if self.fault == "another card" else CARD
        data = {
            **basket,
            "visitor": {"kind": "loyalty", "value": visitor},
            "currency": "USD" if self.fault == "two currencies" else "EUR",
            "lines": lines,
            "total": str(total),
        }
        if self.fault == "good: tax on top":
            data |= {"tax": "0.62", "tax_included": False, "total": str(total + Decimal("0.62"))}
        if self.fault == "tax twice":
            data |= {"tax": "0.62", "tax_included": True, "total": str(total + Decimal("0.62"))}
        self._tell("sale.completed", data)
        if self.fault == "line after sale":
            line = {"product": "1", "quantity": 1, "amount": "0.00", "currency": "EUR"}
            self._tell("basket.item_added", {**basket, **line}, at_s=1.0)
            self._tell("basket.item_voided", {**basket, **line}, at_s=2.0)

    def _return(self) -> None:
        line = {"product": "1029743", "quantity": 1, "amount": "1.29"}
        data = {"currency": "EUR", "lines": [line], "total": "1.29"}
        self._tell("sale.returned", data)

    def _ask(self) -> None:
        said = {"source": self.source, "id": "r-1", "basket": BASKET, "schema_version": 1}
        topic: str | None = topics.reply(self.store, self.source)
        correlation: bytes | None = b"r-1"
        match self.fault:
            case "asks without correlation":
                correlation = None
            case "asks nowhere":
                topic = None
            case "asks for others":
                topic = topics.reply(self.store, "pos-9")
            case "asks malformed":
                said["limit"] = 1_000
            case _:
                pass
        self.world.publish(
            topics.request(self.store),
            json.dumps(said).encode(),
            response_topic=topic,
            correlation=correlation,
        )
