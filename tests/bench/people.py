"""What knowing people costs: links, consents and profiles, by the CPU of one event.

The whole agent but its sockets runs in this process, so that CPU can be read. It has no model: a
ranking takes longer than all the rest, and beside it nothing would be seen. Two figures of the
same stream:

- by calls: the time within what looks people up, links them and learns of them, and within the
  second copy of what they stated, against the rest of the road. The clocks around the calls are
  counted as theirs.
- by consent: the road where every card's holder has consented and has a history, against the same
  stream where nobody has: the writing of links and profiles is in it, and looking up strangers
  is on both sides.

And the shopping of customers who come back, among few and among many stored visitors.
"""

from __future__ import annotations

import gc
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from functools import partial, wraps
from pathlib import Path
from typing import Any, Final
from unittest.mock import patch

from edge_agent.domain.time import DAY_MS, MINUTE_MS, SECOND_MS, ms_from_datetime
from edge_agent.engine import persons, purchases
from edge_agent.shell.second_copy import SecondCopy
from tests.bench.load import known_products
from tests.bench.measured import Aim, Measured
from tests.bench.people_stored import stored
from tests.bench.setting import Setting
from tests.factories import T0
from tests.integration.driven_agent import DrivenAgent, driven_agent, told

TITLE: Final = "Links and profiles"
US: Final = 1e6
BATCH: Final = 50
N_LINES: Final = 6
N_WALKED: Final = 12
# People come so closely after one another.
APART_MS: Final = 10 * SECOND_MS
N_EARLIER: Final = 10
# One card in so many baskets: four in five visitors stay unidentified.
CARD_EVERY: Final = 5
PURPOSES: Final = ["personal_recommendations", "profiling", "sending_to_hq"]
ADDED: Final = Aim("most", 0.25)
AGAINST: Final = Aim("most", 1.25)
FLAT: Final = Aim("most", 1.5)
SIZES: Final = (1_000, 30_000, 1_000_000)
# What the engine asks of the state.
ASKED: Final = ("visitor_of", "visitor", "links_to")
CALLS: Final[tuple[tuple[Any, tuple[str, ...]], ...]] = (
    (
        persons,
        (
            "circle_of",
            "end_links",
            "is_left_alone",
            "is_silenced",
            "link_by_baskets",
            "may_be_unknown",
            "member_of",
            "person_behind",
        ),
    ),
    (purchases, ("forget", "remember")),
    (SecondCopy, ("stage", "committed")),
)

Event = dict[str, Any]


@dataclass(slots=True)
class Within:
    """The CPU spent within the outermost of the calls."""

    seconds: float = 0.0
    n_calls: int = 0
    _depth: int = field(default=0)

    def clocked(self, call: Callable[..., Any]) -> Callable[..., Any]:
        """Returns the call with a clock around it."""

        @wraps(call)
        def around(*arguments: Any, **named: Any) -> Any:
            self._depth += 1
            if self._depth > 1:
                try:
                    return call(*arguments, **named)
                finally:
                    self._depth -= 1
            begun_s = time.thread_time()
            try:
                return call(*arguments, **named)
            finally:
                self._depth = 0
                self.n_calls += 1
                self.seconds += time.thread_time() - begun_s

        return around


def measure(setting: Setting) -> tuple[Measured, ...]:
    """Measures the road with and without people, then with more and more of them."""
    rounds = [_round(setting) for _ in range(setting.sized(3, quick=1))]
    within = tuple(each[0] for each in rounds)
    known, unknown, n_events = ([each[n] for each in rounds] for n in (1, 2, 3))
    what = f"{n_events[0]:,} events of {CARD_EVERY - 1} strangers to one card holder"
    return (
        Measured(
            name="links and profiles, share added to an event's CPU",
            unit="x",
            values=within,
            aim=ADDED,
            note=f"{what}; time within the calls and their clocks, by the time of all the rest; "
            "no model",
        ),
        Measured(
            name="an event's CPU where card holders consented",
            unit="us",
            values=tuple(known),
            baseline=tuple(unknown),
            against="nobody consented",
            aim=AGAINST,
            note=f"{what}, each holder with {N_EARLIER} earlier baskets; synced commits, no model",
        ),
        *_by_size(setting),
    )


def _round(setting: Setting) -> tuple[float, float, float, int]:
    n_baskets = setting.sized(200, quick=20)
    _road(setting, 2, are_known=True, is_clocked=False)  # what is read at first use is not theirs
    # Alternating, so that a busy minute of the machine meets both.
    unknown_us, _, n_events = _road(setting, n_baskets, are_known=False, is_clocked=False)
    known_us, _, _ = _road(setting, n_baskets, are_known=True, is_clocked=False)
    clocked_us, within_us, _ = _road(setting, n_baskets, are_known=True, is_clocked=True)
    return within_us / (clocked_us - within_us), known_us, unknown_us, n_events


def _road(
    setting: Setting, n_baskets: int, *, are_known: bool, is_clocked: bool
) -> tuple[float, float, int]:
    """Returns microseconds of CPU an event, of these within the calls, and the events."""
    folder = setting.place("people")
    people = range(n_baskets)
    events = in_order(each for n in people for each in shopping(n, T0 + n * APART_MS))
    with driven_agent(folder, now_ms=T0 - 30 * DAY_MS) as agent:
        if are_known:
            make_known(agent, n_baskets)
        agent.tick(T0)
        with _settled(), _clocks(agent, is_clocked=is_clocked) as within:
            total_s = spent_s(agent, events)
        return total_s / len(events) * US, within.seconds / len(events) * US, len(events)


def spent_s(agent: DrivenAgent, events: list[Event]) -> float:
    """Returns the CPU of taking events in, each batch at the time of its newest."""
    spent_s = 0.0
    for first in range(0, len(events), BATCH):
        batch = events[first : first + BATCH]
        agent.tick(ms_from_datetime(datetime.fromisoformat(batch[-1]["time"])))
        begun_s = time.thread_time()
        agent.take(*batch)
        spent_s += time.thread_time() - begun_s
    return spent_s


def in_order(events: Iterable[Event]) -> list[Event]:
    """Returns events in the order of their time."""
    return sorted(events, key=lambda each: str(each["time"]))


@contextmanager
def _clocks(agent: DrivenAgent, *, is_clocked: bool) -> Iterator[Within]:
    within = Within()
    with ExitStack() as stack:
        calls = ((agent.agent._state, ASKED), *CALLS) if is_clocked else ()
        for owner, names in calls:
            for name in names:
                call = within.clocked(getattr(owner, name))
                stack.enter_context(patch.object(owner, name, call))
        yield within


@contextmanager
def _settled() -> Iterator[None]:
    """Keeps what is there by now out of full collections, as the agent does when it has started.

    One of those looks through all that this process ever imported, and would be an event's in one
    round, a call's in the next.
    """
    gc.collect()
    gc.freeze()
    try:
        yield
    finally:
        gc.unfreeze()


def make_known(agent: DrivenAgent, n_baskets: int) -> None:
    """Lets every card's holder consent, and shop on each of the days before."""
    cards = range(0, n_baskets, CARD_EVERY)
    at_ms = T0 - 30 * DAY_MS
    agent.take(*(_granted(n, at_ms) for n in cards))
    for day in range(N_EARLIER):
        at_ms = T0 - (N_EARLIER - day) * DAY_MS
        agent.tick(at_ms)
        agent.take(*(each for n in cards for each in paying(n, at_ms + n, day=str(day))))


def _granted(number: int, at_ms: int) -> Event:
    data = {"visitor": card(number), "purposes": PURPOSES}
    return told("desk", "consent.granted", at_ms, f"grant-{number}", **data)


def card(number: int) -> dict[str, str]:
    """Returns a loyalty card."""
    return {"kind": "loyalty", "value": f"64000{number:08d}"}


def phone(number: int) -> dict[str, str]:
    """Returns a telephone."""
    octets = number.to_bytes(3, "big").hex(":").upper()
    return {"kind": "ble", "value": f"AC:23:3F:{octets}"}


def shopping(number: int, at_ms: int) -> Iterator[Event]:
    """Yields somebody's walk through the shop and his paying, one in five with a card."""
    for step in range(N_WALKED):
        zone = "dairy" if step % 4 >= 2 else "entrance"
        data: Event = {"visitor": phone(number), "zone": zone}
        kind = "zone.entered" if step % 2 == 0 else "zone.dwell"
        if kind == "zone.dwell":
            data["dwell_s"] = 4.0
        yield told("ble-1", kind, at_ms + step * SECOND_MS, f"walk-{number}-{step}", **data)
    has_card = number % CARD_EVERY == 0
    yield from paying(number, at_ms + MINUTE_MS, has_card=has_card, has_lines=True)


def paying(
    number: int, at_ms: int, *, day: str = "", has_card: bool = True, has_lines: bool = False
) -> Iterator[Event]:
    """Yields a telephone's basket, its card and its sale; each line asks for a decision."""
    basket = f"3119{day}{number:07d}"
    products = known_products()
    lines = [
        {"product": products[(number * 131 + n * 17) % len(products)], "quantity": 1}
        for n in range(N_LINES)
    ]
    till = partial(told, "pos-2", basket=basket)
    yield till("basket.opened", at_ms, event_id=f"{basket}-o", visitor=phone(number))
    for n, line in enumerate(lines) if has_lines else ():
        yield till("basket.item_added", at_ms + n + 1, event_id=f"{basket}-{n}", **line)
    if has_card:
        yield till("loyalty.scanned", at_ms + 50, event_id=f"{basket}-c", visitor=card(number))
    sold = [{**line, "amount": "1.50"} for line in lines]
    total = f"{1.5 * N_LINES:.2f}"
    sale: Event = {"currency": "USD", "lines": sold, "total": total}
    yield till("sale.completed", at_ms + 60, event_id=f"{basket}-s", **sale)


# --- among few and many -----------------------------------------------------------------------


def _by_size(setting: Setting) -> tuple[Measured, ...]:
    sizes = SIZES[: setting.sized(len(SIZES), quick=2)]
    found = {size: _returning_us(setting, size) for size in sizes}
    fewest = found[sizes[0]]
    return tuple(
        Measured(
            name=f"a returning customer's event, {size:,} visitors stored",
            unit="us",
            values=tuple(found[size]),
            baseline=tuple(fewest),
            against=f"{sizes[0]:,} stored",
            aim=FLAT,
            note="his card, link, profile and sale, each customer read from the disk; "
            "CPU, synced commits",
        )
        for size in sizes[1:]
    )


def _returning_us(setting: Setting, size: int) -> list[float]:
    """Returns microseconds of CPU an event, for each part of the customers who come back."""
    n_people = setting.sized(200, quick=40)
    folder: Path = setting.place("stored")
    setting.say(f"people: {size:,} visitors")
    with driven_agent(folder, now_ms=T0 - DAY_MS) as agent:
        agent.take(*(_granted(n, T0 - DAY_MS) for n in range(n_people)))
        agent.take(*(each for n in range(n_people) for each in paying(n, T0 - DAY_MS, day="1")))
    stored(folder / "state.db", n_visitors=size, until_ms=T0 - DAY_MS)
    with driven_agent(folder, now_ms=T0) as agent:
        parts = [range(n, n_people, 4) for n in range(4)]
        with _settled():
            return [_part_us(agent, part) for part in parts]


def _part_us(agent: DrivenAgent, people: range) -> float:
    events = in_order(each for n in people for each in paying(n, T0 + n * SECOND_MS))
    return spent_s(agent, events) / len(events) * US
