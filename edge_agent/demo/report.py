"""A demo's report: the figures as JSON values and as a table, and what each of them means."""

from __future__ import annotations

from array import array
from typing import Any, Final

from rich.console import Console
from rich.table import Table

from edge_agent.demo.onlooker import percentile
from edge_agent.demo.stage import Outcome
from edge_agent.replay.play import Replay

REAL: Final = (
    "products, quantities, amounts and discounts of every receipt",
    "the time of each payment (a few are moved when all tills are busy)",
    "which household it was, and what it bought before the day",
)
SIMULATED: Final = (
    "the building, the ways through it and the dwell",
    "beacons, camera tracks and people counters",
    "items lifted at shelves, and the pace of the tills",
    "which receipts go with a loyalty card (20 %) and which cardholders consented (70 %; before"
    " the day, timed in its first two seconds)",
)
SOURCE: Final = (
    "84.51°, \"The Complete Journey\", 2017; all stores' receipts of one day as one store's"
)
DEFINITIONS: Final = {
    "events.published": "events that the replay put on the broker, repeated ones included",
    "events.accepted": "events that the agent took in, each once (its counter)",
    "events.duplicates": "events that came again and were recognised (its counter)",
    "events.dead_letters": "events that it refused, with the reason (its counter)",
    "events.too_late": "events that were too old to be applied (its counter)",
    "visitors.identified": "persons with a visit whose loyalty card is known and who consented",
    "visitors.unidentified": "visitors with a visit of whom a device, track or basket is all",
    "visits": "stays in the store, as the agent made them out of the sensors' events",
    "decisions": "decisions that concern a visitor: recommendations, alerts, silence",
    "store_defaults": "decisions about a screen that nobody stands before",
    "recommendations.shown": "distinct pairs of visit and product decided for a screen or"
    " receipt; at a high speed some do not reach it in time, see the screen messages",
    "recommendations.bought_after": "hits: those that the same visit paid for afterwards. Not an"
    " effect: nobody in the data saw a screen; a hit was foreseen, not caused",
    "recommendations.popularity_shown": "the same pairs, had the most popular products of the"
    " hour filled the same places",
    "recommendations.popularity_bought_after": "hits among those, counted in the same way",
    "screen_messages.decided": "contents decided for screens, the store's defaults included",
    "screen_messages.received": "those that reached a screen. A content is valid for a simulated"
    " minute, which at a high speed is over before the message is sent: slower shows more",
    "latency_ms": "from an event handed to the broker's connection to its recommendation received"
    " by a client that listens as a screen does; n recommendations with a cause in the day's"
    " events. The replay waits when the agent is two simulated minutes behind, so at full speed"
    " this is mostly time in that queue. It is cut off: what was not sent in time (see there) is"
    " in neither p50 nor p99, so that both may be too low",
    "not_sent_in_time": "contents decided for screens and not sent, because by the agent's clock"
    " (the replay's ticks) the simulated minute of their validity was over when their turn came;"
    " it is 60,000 ms divided by the speed, 42 ms at 1440 (counter screen_messages_expired)",
    "staff_alerts": "alerts to staff that somebody may want help",
    "hq.summaries": "summaries of a period that HQ keeps",
    "hq.customers": "days of consenting customers that HQ keeps",
    "hq.bytes": "payload bytes from the store to HQ, repeats included",
    "bytes_in": "payload bytes of all events into the agent",
    "memory_mb": "most memory that the agent's process had resident, in 10^6 bytes",
    "wall_s": "seconds from the first message until the agent and HQ had taken in the last",
}
_BYTES_PER_MB: Final = 1_000_000
_P50: Final = 0.5
_P99: Final = 0.99


def report_of(replay: Replay, outcome: Outcome) -> dict[str, Any]:
    """Returns the report as JSON values."""
    options, agent = replay.options, outcome.agent
    latencies = array("d", outcome.latencies_ms)
    return {
        "day": options.day.isoformat(),
        "store": options.store,
        "seed": options.seed,
        "speed": options.speed or "max",
        "is_complete": outcome.play.is_complete,
        "wall_s": round(outcome.wall_s, 3),
        "events": {
            "published": outcome.play.events,
            "accepted": agent.accepted,
            "duplicates": agent.duplicates - outcome.repeats,
            "dead_letters": agent.dead_letters,
            "too_late": agent.too_late,
        },
        "visitors": {"identified": agent.identified, "unidentified": agent.unidentified},
        "visits": agent.visits,
        "decisions": agent.decisions,
        "store_defaults": agent.store_defaults,
        "recommendations": {
            "shown": agent.shown,
            "bought_after": agent.bought,
            "popularity_shown": agent.popular_shown,
            "popularity_bought_after": agent.popular_bought,
        },
        "screen_messages": {"decided": outcome.on_screens, "received": outcome.received},
        "latency_ms": {
            "n": len(latencies),
            "p50": _rounded(percentile(latencies, _P50)),
            "p99": _rounded(percentile(latencies, _P99)),
        },
        "not_sent_in_time": agent.not_sent_in_time,
        "staff_alerts": agent.staff_alerts,
        "hq": {
            "summaries": outcome.summaries,
            "customers": outcome.customers,
            "bytes": outcome.hq_bytes,
        },
        "bytes_in": outcome.play.n_bytes,
        "memory_mb": round(outcome.peak_bytes / _BYTES_PER_MB, 1),
        "real": list(REAL),
        "simulated": list(SIMULATED),
        "source": SOURCE,
        "definitions": dict(DEFINITIONS),
    }


def print_report(console: Console, answer: dict[str, Any]) -> None:
    """Prints the report as a table, and below it what each number is."""
    title = f"{answer['day']} in store {answer['store']}"
    if not answer["is_complete"]:
        title += " (stopped before its end)"
    table = Table("", "", title=title, title_justify="left", show_header=False)
    for name, figures in _lines(answer):
        table.add_row(name, figures)
    console.print(table)
    console.print("Real: " + "; ".join(REAL) + ".", highlight=False)
    console.print("Simulated from the seed: " + "; ".join(SIMULATED) + ".", highlight=False)
    console.print(f"Data: {SOURCE}.\n", highlight=False)
    console.print("What the numbers are:", highlight=False)
    for name, meaning in DEFINITIONS.items():
        words = name.replace(".", ", ").replace("_", " ")
        console.print(f"  [bold]{words}[/]: {meaning}", highlight=False)


def _lines(answer: dict[str, Any]) -> tuple[tuple[str, str], ...]:
    events, visitors, hq = answer["events"], answer["visitors"], answer["hq"]
    recommended, latency = answer["recommendations"], answer["latency_ms"]
    screens, bytes_in = answer["screen_messages"], answer["bytes_in"]
    share = hq["bytes"] / bytes_in if bytes_in else 0.0
    return (
        (
            "events",
            f"{events['published']:,} published: {events['accepted']:,} accepted,"
            f" {events['duplicates']:,} duplicates, {events['dead_letters']:,} dead letters,"
            f" {events['too_late']:,} too late",
        ),
        (
            "visitors",
            f"{visitors['identified']:,} identified, {visitors['unidentified']:,} unidentified,"
            f" in {answer['visits']:,} visits",
        ),
        (
            "decisions",
            f"{answer['decisions']:,} for visitors, {answer['store_defaults']:,} store defaults",
        ),
        (
            "recommendations",
            f"{recommended['shown']:,} shown, {recommended['bought_after']:,} bought after (hits)",
        ),
        (
            "popularity in their places",
            f"{recommended['popularity_shown']:,} shown,"
            f" {recommended['popularity_bought_after']:,} bought after (hits)",
        ),
        (
            "screen messages",
            f"{screens['decided']:,} decided, {screens['received']:,} received",
        ),
        (
            "event to screen",
            f"p50 {latency['p50']} ms, p99 {latency['p99']} ms, of {latency['n']:,};"
            f" without {answer['not_sent_in_time']:,} contents not sent in time",
        ),
        ("staff alerts", f"{answer['staff_alerts']:,}"),
        ("HQ", f"{hq['summaries']:,} summaries, {hq['customers']:,} customers"),
        (
            "bytes",
            f"{bytes_in / _BYTES_PER_MB:,.2f} MB in, {hq['bytes'] / _BYTES_PER_MB:,.2f} MB to HQ"
            f" ({share:.1%})",
        ),
        ("agent's memory", f"{answer['memory_mb']} MB at its peak"),
        ("time", f"{answer['wall_s']:.1f} s at speed {answer['speed']}"),
    )


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 2)
