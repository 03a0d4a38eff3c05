"""What a screen is sent: recommendations that it must show, and what it must not.

Pure: a case makes its messages for the present that it is given.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from typing import Any, Final, Literal

from edge_agent.wire.base import NAME_MAX, SCHEMA_VERSION, TEXT_MAX
from edge_agent.wire.screens import ITEMS_MAX

Expected = Literal["shown", "silent", "either"]

LIFE_S: Final = 300.0
# Long enough to be shown before its end on a slow player, short enough to wait for.
SHORT_LIFE_S: Final = 6.0
# How long ago a recommendation ended that must not be shown.
OVER_S: Final = 60.0
BURST: Final = 10
# Instants in these offsets have digits that lie far from UTC's: who compares digits is wrong.
_WEST: Final = timezone(timedelta(hours=-11))
_EAST: Final = timezone(timedelta(hours=14))
SCRIPTS: Final = "Maito 5 % & <b>voi</b> \u201cleipä\u201d - хлеб 牛奶 حليب 🥛 </script>'\"\\"
MARKUP: Final = 'Milk & <b>butter</b> "5 %"'
_NOT_MESSAGES: Final = (b"{", b"\xff\xfe\x00", b"[]", b"null", b'"shown"', b"[" * 2_000)


@dataclass(frozen=True, slots=True, kw_only=True)
class Message:
    """One message to a screen.

    Attributes:
        decision: The decision that it tells; empty when it tells none.
        products: The products in it.
        expects: Whether the screen must show it, must not, or may.
        life_s: Seconds from now to its end; negative when it is over.
        is_awaited: Whether the next message waits until this one was shown.
    """

    payload: bytes
    decision: str = ""
    products: frozenset[str] = frozenset()
    expects: Expected = "silent"
    life_s: float = LIFE_S
    retain: bool = True
    is_awaited: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """Something to try; `messages` makes what is sent at a given present."""

    name: str
    messages: Callable[[datetime], tuple[Message, ...]]
    is_waited_out: bool = False


Json = dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Maker:
    """Makes messages of one run to one screen.

    Attributes:
        run: Begins the name of every decision of this run.
    """

    run: str
    screen: str

    def decision(self, name: str) -> str:
        """Returns a decision's name."""
        return f"{self.run}-{name}"

    def fields(self, name: str, now: datetime, *, life_s: float = LIFE_S, **more: Any) -> Json:
        """Returns an ordinary recommendation; `more` replaces fields of it."""
        issued = now if life_s > 0 else now + timedelta(seconds=2 * life_s)
        return {
            "decision": self.decision(name),
            "cause": {"source": "conformance", "id": f"event-{name}"},
            "screen": self.screen,
            "issued": instant(issued),
            "valid_until": instant(now + timedelta(seconds=life_s)),
            "audience": "public",
            "schema_version": SCHEMA_VERSION,
            "locale": "en",
            "items": [item(f"Case {name}")],
            "model": "conformance",
            "policy": "conformance",
            **more,
        }

    def message(
        self,
        name: str,
        now: datetime,
        *,
        expects: Expected = "shown",
        life_s: float = LIFE_S,
        is_awaited: bool = False,
        **more: Any,
    ) -> Message:
        """Returns a recommendation as a message; `more` replaces fields of it."""
        fields = self.fields(name, now, life_s=life_s, **more)
        return message_of(fields, expects=expects, life_s=life_s, is_awaited=is_awaited)


def message_of(
    fields: Json, *, expects: Expected, life_s: float = LIFE_S, is_awaited: bool = False
) -> Message:
    """Returns fields as a message; its items name its products."""
    return Message(
        payload=json.dumps(fields, ensure_ascii=False).encode(),
        decision=str(fields["decision"]),
        products=frozenset(each["product"] for each in fields.get("items", ())),
        expects=expects,
        life_s=life_s,
        is_awaited=is_awaited,
    )


def item(title: str, *, rank: int = 1, product: str = "1029743", **more: Any) -> Json:
    """Returns an item as an agent sends most of them."""
    return {
        "rank": rank,
        "product": product,
        "title": title,
        "price": {"amount": "1.29", "currency": "EUR"},
        "image": None,
        "reason": {"code": "bought_together", "text": "Goes with your basket"},
        "offer": None,
        **more,
    }


def offer(now: datetime, *, text: str = "20 % off this week", life_s: float = LIFE_S) -> Json:
    """Returns an offer that ends some seconds from now."""
    return {
        "campaign": "18",
        "text": text,
        "valid_until": instant(now + timedelta(seconds=life_s)),
    }


def instant(at: datetime) -> str:
    """Returns an instant as the agent writes it."""
    return at.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def cases(maker: Maker) -> tuple[Case, ...]:
    """Returns all that is tried without anybody's help, in its order."""
    make = maker.message
    single: dict[str, Callable[[datetime], Message]] = {
        "plain": lambda now: make("plain", now),
        "default": lambda now: make("default", now, items=[_welcome()]),
        "sparse": lambda now: message_of(_sparse(maker, now), expects="shown"),
        "full": lambda now: make("full", now, items=_full_items(now)),
        "long-texts": lambda now: message_of(_long(maker, now), expects="shown"),
        "many-items": lambda now: make("many-items", now, items=_many_items()),
        "unknown-fields": lambda now: message_of(_with_unknown(maker, now), expects="shown"),
        "any-script": lambda now: make("any-script", now, items=[item(SCRIPTS)]),
        "offset-times": lambda now: message_of(_in(_WEST, maker, now, LIFE_S), expects="shown"),
    }
    return (
        *(Case(name=name, messages=_one(made)) for name, made in single.items()),
        Case(name="same-items", messages=lambda now: _same_items(maker, now)),
        Case(name="burst", messages=lambda now: _burst(maker, now)),
        Case(name="older-issued", messages=lambda now: _older_issued(maker, now)),
        Case(name="repeat", messages=lambda now: _repeat(maker, now)),
        Case(
            name="expired",
            messages=lambda now: (make("expired", now, expects="silent", life_s=-OVER_S),),
        ),
        Case(name="expired-offset", messages=lambda now: _expired_in_the_east(maker, now)),
        Case(
            name="expires",
            messages=lambda now: (make("expires", now, life_s=SHORT_LIFE_S),),
            is_waited_out=True,
        ),
        Case(name="cleared", messages=lambda now: _cleared(maker, now)),
        Case(name="not-json", messages=lambda _now: tuple(map(_broken, _NOT_MESSAGES))),
        Case(name="missing-fields", messages=lambda now: _missing(maker, now)),
        Case(
            name="other-version",
            messages=lambda now: (
                make("other-version", now, expects="silent", schema_version=SCHEMA_VERSION + 1),
            ),
        ),
    )


def _one(make: Callable[[datetime], Message]) -> Callable[[datetime], tuple[Message, ...]]:
    return lambda now: (make(now),)


def _welcome() -> Json:
    reason = {"code": "store_default", "text": "Good to see you"}
    return item("Welcome", product="welcome", price=None, reason=reason)


def _sparse(maker: Maker, now: datetime) -> Json:
    only = {
        key: value
        for key, value in item("Case sparse").items()
        if key not in {"price", "image", "offer"}
    }
    return maker.fields("sparse", now, items=[only])


def _full_items(now: datetime) -> list[Json]:
    picture = "https://images.example/products/1029743.jpg"
    return [
        item(f"Case full {n}", rank=n, product=f"102974{n}", image=picture, offer=offer(now))
        for n in (1, 2, 3)
    ]


def _long(maker: Maker, now: datetime) -> Json:
    words = ("An unusually long text ".ljust(24) * TEXT_MAX)[:TEXT_MAX]
    name = "n" * NAME_MAX
    long_item = item(
        words,
        product="9" * NAME_MAX,
        image=f"https://images.example/{'p' * TEXT_MAX}"[:TEXT_MAX],
        price={"amount": "1234567890.1234", "currency": "EUR"},
        reason={"code": "popular_now", "text": words},
        offer={**offer(now, text=words), "campaign": name},
    )
    return maker.fields(
        "long-texts".ljust(NAME_MAX - len(maker.decision("")), "-"),
        now,
        cause={"source": name, "id": name},
        items=[long_item],
        model=name,
        policy=name,
    )


def _many_items() -> list[Json]:
    return [item(f"Product {n}", rank=n, product=f"p-{n}") for n in range(1, ITEMS_MAX + 1)]


def _with_unknown(maker: Maker, now: datetime) -> Json:
    new: Json = {"x-new": {"nested": [1, None, "text"]}, "layout": "wide"}
    known = item("Case unknown-fields", offer={**offer(now), **new}, **new)
    return maker.fields("unknown-fields", now, items=[known], **new)


def _in(offset: timezone, maker: Maker, now: datetime, life_s: float) -> Json:
    name = "offset-times" if life_s > 0 else "expired-offset"
    fields = maker.fields(name, now, life_s=life_s)
    ends = now + timedelta(seconds=life_s)
    began = ends - timedelta(seconds=2 * abs(life_s))
    fields["issued"] = began.astimezone(offset).isoformat()
    fields["valid_until"] = ends.astimezone(offset).isoformat()
    return fields


def _expired_in_the_east(maker: Maker, now: datetime) -> tuple[Message, ...]:
    fields = _in(_EAST, maker, now, -OVER_S)
    return (message_of(fields, expects="silent", life_s=-OVER_S),)


def _same_items(maker: Maker, now: datetime) -> tuple[Message, ...]:
    items = [item("Case same-items")]
    first = maker.message("same-items-1", now, items=items, is_awaited=True)
    return (first, maker.message("same-items-2", now, items=items))


def _burst(maker: Maker, now: datetime) -> tuple[Message, ...]:
    *early, last = (
        maker.message(f"burst-{n}", now, expects="shown" if n == BURST else "either")
        for n in range(1, BURST + 1)
    )
    return (*early, last)


def _older_issued(maker: Maker, now: datetime) -> tuple[Message, ...]:
    earlier = instant(now - timedelta(seconds=LIFE_S))
    return (
        maker.message("older-issued-1", now, is_awaited=True),
        maker.message("older-issued-2", now, issued=earlier),
    )


def _repeat(maker: Maker, now: datetime) -> tuple[Message, ...]:
    first = maker.message("repeat", now, is_awaited=True)
    return (first, first, first)


def _cleared(maker: Maker, now: datetime) -> tuple[Message, ...]:
    return (maker.message("cleared", now, is_awaited=True), Message(payload=b""))


def _broken(payload: bytes) -> Message:
    return Message(payload=payload, retain=False)


def _missing(maker: Maker, now: datetime) -> tuple[Message, ...]:
    made = []
    for field in ("items", "valid_until", "decision"):
        fields = maker.fields(f"missing-{field}", now)
        decision = str(fields["decision"])
        del fields[field]
        made.append(Message(payload=json.dumps(fields).encode(), decision=decision, retain=False))
    empty = maker.fields("missing-all-items", now, items=[])
    return (*made, message_of(empty, expects="silent"))
