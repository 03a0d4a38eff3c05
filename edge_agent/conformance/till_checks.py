"""What a run has shown of a till: its record in, a finding for each check out. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final

from edge_agent.conformance.contract import TILL, TILL_EXCHANGES, TILL_MESSAGES, TILL_STEPS
from edge_agent.conformance.findings import counted
from edge_agent.conformance.till_baskets import Baskets
from edge_agent.conformance.till_desk import TELLINGS
from edge_agent.conformance.till_exchanges import Exchanges
from edge_agent.conformance.till_record import TillReading, TillRecord, content_of
from edge_agent.conformance.till_scenario import STEPS, since
from edge_agent.conformance.transcript import is_below
from edge_agent.ingest.decode import refusal_of_source
from edge_agent.ingest.personal import PERSONAL, Personal, assert_impersonal, plain
from edge_agent.runner.name_guard import NameGuard
from edge_agent.wire import topics

if TYPE_CHECKING:
    from edge_agent.conformance.findings import Finding
    from edge_agent.conformance.reading import Told
    from edge_agent.conformance.till_scenario import Step

# Two tellings of one moment this far apart are one event told twice, not two quick ones.
APART_S: Final = 1.0
# Of these a basket has one: the same again under another id is a repeat, whatever its time.
_ONCE_A_BASKET: Final = frozenset({"basket.opened", "sale.completed", "sale.voided"})
# Of what is missing in a basket these would say that something else is wrong.
_OF_WHOLE_BASKETS: Final = frozenset({"order", "voids", "lines"})
# Where a person's name, address or number belongs: hashed by the agent, never kept as it is.
_PLACES_OF_PERSONS: Final = frozenset({"visitor"})


def findings(record: TillRecord) -> tuple[Finding, ...]:
    """Returns a finding for every check, in the contract's order."""
    reading = TillReading(record.heard, store=record.store, source=record.source)
    found = {**_messages(record, reading), **_steps(record, reading)}
    if reading.told or reading.requests:
        found.update(Exchanges(record, reading).findings())
    silent = {
        name: check.not_tried("the till said nothing") for name, check in TILL_EXCHANGES.items()
    }
    return tuple({**silent, **found}[name] for name in TILL)


def _messages(record: TillRecord, reading: TillReading) -> dict[str, Finding]:
    checks, n_told = TILL_MESSAGES, len(reading.told)
    if not n_told:
        found = {name: check.not_tried("the till told no event") for name, check in checks.items()}
        if reading.requests:
            came = f"no event came, but {counted(len(reading.requests), 'request')} did"
            return {**found, "heard": checks["heard"].not_tried(came)}
        return {**found, "heard": checks["heard"].wrong(f"nothing of {record.source}")}
    of_each = {
        "topic": _topic(record, reading),
        "delivery": _delivery(reading),
        "schema": _schema(reading),
        "source": _source(record, reading),
        "ids": _ids(reading),
        "one-id": _one_id(reading),
        "time": _time(record, reading),
        "personal": _personal(reading),
    }
    found = {
        name: checks[name].judged(faults, else_ok=f"so in {counted(n_told, 'telling')}")
        for name, faults in of_each.items()
    }
    heard = f"{counted(len(reading.first), 'event')}, {counted(n_told, 'telling')}"
    return {"heard": checks["heard"].ok(heard), **found, **_baskets(reading)}


def _baskets(reading: TillReading) -> dict[str, Finding]:
    baskets = Baskets(reading)
    judged = {
        "order": (baskets.order(), ("basket.item_added", "basket.item_voided")),
        "voids": (baskets.voids(), ("basket.item_voided",)),
        "lines": (baskets.lines(), ("sale.completed",)),
        "totals": (baskets.totals(), ("sale.completed", "sale.returned")),
        "currency": (baskets.currency(), ("sale.completed",)),
        "card": (baskets.cards(), ("loyalty.scanned",)),
    }
    found = {}
    has_gaps = any(each.event is None and each.type.startswith("basket.") for each in reading.told)
    for name, (faults, kinds) in judged.items():
        check, n = TILL_MESSAGES[name], baskets.n_of(*kinds)
        if name in _OF_WHOLE_BASKETS and has_gaps:
            found[name] = check.not_tried("an event of a basket was not valid: see schema")
        elif n == 0:
            found[name] = check.not_tried(f"no valid {' or '.join(kinds)} came")
        else:
            found[name] = check.judged(faults, else_ok=f"so in {counted(baskets.n, 'basket')}")
    return found


# --- every message ----------------------------------------------------------------------------


def _topic(record: TillRecord, reading: TillReading) -> Iterator[str]:
    allowed = {reading.own_topic, topics.request(record.store)}
    own_levels = (
        reading.own_topic,
        topics.receipt_offer(record.store, record.source).rpartition("/")[0],
        topics.reply(record.store, record.source),
    )
    told_elsewhere = {each.heard.topic for each in reading.told}
    for heard in record.heard:
        is_own = heard.topic in told_elsewhere or any(
            is_below(heard.topic, level) for level in own_levels
        )
        if is_own and heard.topic not in allowed:
            yield f"published on {heard.topic}"


def _delivery(reading: TillReading) -> Iterator[str]:
    for told in reading.told:
        if told.heard.qos == 0:
            yield f"{told.type or 'a message'} came with QoS 0"
        if told.heard.retain:
            yield f"{told.type or 'a message'} is retained"


def _schema(reading: TillReading) -> Iterator[str]:
    for told in reading.told:
        if told.refusal is not None:
            yield f"{told.type or 'a message'}: {told.refusal.reason}: {told.refusal.detail}"


def _source(record: TillRecord, reading: TillReading) -> Iterator[str]:
    for told in reading.told:
        if told.event is None:
            continue
        if refusal_of_source(told.event, source=record.source) is not None:
            yield f"{told.type} of source {told.event.source}"


def _ids(reading: TillReading) -> Iterator[str]:
    for event_id, tellings in reading.by_id.items():
        if len(set(map(content_of, tellings))) > 1:
            yield f"id {event_id} stands for different events"


def _one_id(reading: TillReading) -> Iterator[str]:
    seen: dict[str, Told] = {}
    for told in reading.first:
        is_single = told.type in _ONCE_A_BASKET
        key = repr((told.type, None if is_single else told.raw.get("time"), told.raw.get("data")))
        before = seen.setdefault(key, told)
        if before.id == told.id:
            continue
        is_again = told.heard.at_s - before.heard.at_s > APART_S and told.time is not None
        if is_single or is_again:
            yield f"{told.type} is told as {before.id} and as {told.id}"


def _time(record: TillRecord, reading: TillReading) -> Iterator[str]:
    ahead = timedelta(seconds=record.tolerance_s)
    # A till that waits for a receipt before it goes on tells the next event that much later.
    behind = ahead + timedelta(seconds=TELLINGS * record.repeat_within_s)
    for told in reading.first:
        if told.event is None:
            continue
        if told.time is None:
            yield f"{told.type} has no time"
        elif told.time > told.heard.at + ahead:
            yield f"{told.type} lies {(told.time - told.heard.at).total_seconds():.1f} s ahead"
        elif told.time < told.heard.at - behind:
            yield f"{told.type} lies {(told.heard.at - told.time).total_seconds():.0f} s behind"


def _personal(reading: TillReading) -> Iterator[str]:
    guard = NameGuard(lambda _name: False, b"conformance")
    events = [(told, told.event) for told in reading.told if told.event is not None]
    # A number is somebody's from the moment it is heard as such: a first pass hears them all.
    for _told, event in events:
        guard.refused_field(event, day="")
    named = [(told, guard.refused_field(event, day="")) for told, event in events]
    for told, field in named:
        if field is not None:
            yield f"{told.type}: {field} holds what names somebody"
    for told in reading.told:
        for path, name, value in _texts(told.raw, ()):
            if plain(name) in PERSONAL:
                yield f"{told.type}: {path} is a field of persons"
            elif not set(path.split(".")) & _PLACES_OF_PERSONS and _is_address(value):
                yield f"{told.type}: {path} looks like an e-mail address"


def _is_address(value: str) -> bool:
    try:
        assert_impersonal(value)
    except Personal:
        return True
    return False


def _texts(value: Any, path: tuple[str, ...]) -> Iterator[tuple[str, str, str]]:
    """Yields the place, name and text of every value that is neither an object nor a list."""
    if isinstance(value, dict):
        for name, inner in value.items():
            yield from _texts(inner, (*path, name))
    elif isinstance(value, list):
        for inner in value:
            yield from _texts(inner, path)
    elif path:
        yield ".".join(path), path[-1], str(value)


# --- the scripted sale ------------------------------------------------------------------------


def _steps(record: TillRecord, reading: TillReading) -> dict[str, Finding]:
    found = {}
    for step in STEPS:
        check = TILL_STEPS[step.name]
        span = record.steps.get(step.name, "it was not asked for")
        if isinstance(span, str):
            found[step.name] = check.not_tried(span)
        elif step.is_told(since(reading, *_span_of(step, span))):
            found[step.name] = check.ok("told")
        elif step.is_optional:
            found[step.name] = check.not_tried("nothing of it came; not every till can do it")
        else:
            found[step.name] = check.wrong("nothing of it was told")
    return found


def _span_of(step: Step, span: tuple[float, float]) -> tuple[float, float | None]:
    return span[0], None if step.is_told_later else span[1]
