"""The statistics of what was bought before a cutoff, as Ibis expressions: one set for all engines.

An expression gives counts or sums of whole numbers, never of fractions, so that neither the
engine nor the order of its work can change a bit. What is a fraction by nature (a weight, a
logarithm) is counted in units of 1 / `UNIT`; `models.tables` divides once, at the end. Only
`visits` and `bought` are as long as the receipts, and those stay with the engine.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Final
from zoneinfo import ZoneInfo

import ibis
from ibis import _
from ibis.expr.types import IntegerValue, Table

from models.expressions import MAX_CODES

UNIT: Final = 1 << 24
STEP_S: Final = 600
"""Ages and gaps count in steps of so many seconds, to the nearest."""
MIN_GAP_STEPS: Final = 72
"""Half a day: two tills on one trip are no rhythm."""
HOUR_S: Final = 3_600
DAY_S: Final = 86_400
THURSDAY: Final = 3
"""The weekday of 1970-01-01; Monday is 0."""
SHIFT_SLOT_S: Final = 21_600

WHOLE: Final = "!int64"
"""What a sum is cast to: DuckDB's own type for it has 128 bits and comes back as a float."""

Shifts = Sequence[tuple[int, int]]
"""From which instant on the wall clock is how many seconds ahead, in order of time."""


def shifts(first_s: int, last_s: int, zone: str) -> list[tuple[int, int]]:
    """Returns how far a zone's wall clock is ahead; looked up once for each quarter day."""
    tz = ZoneInfo(zone)
    found: list[tuple[int, int]] = []
    for slot in range(first_s // SHIFT_SLOT_S, last_s // SHIFT_SLOT_S + 1):
        start = slot * SHIFT_SLOT_S
        offset = datetime.fromtimestamp(start, tz).utcoffset() or timedelta()
        ahead = int(offset.total_seconds())
        if not found or found[-1][1] != ahead:
            found.append((start, ahead))
    return found


def visits(
    lines: Table, *, shops: Table, buyers: Table, fades: Table, until_s: int, ahead: Shifts
) -> Table:
    """Returns the baskets before an instant.

    Columns: basket (u), household (h) and store (s) as positions, week (w), instant (t), hour and
    weekday on the wall clock, and what the basket still weighs (f).

    Args:
        lines: The receipts' lines.
        shops: The stores: id and position (i).
        buyers: The households: id and position (i).
        fades: What a basket weighs (v) that is so many steps (i) old.
        until_s: The cutoff.
        ahead: How far the wall clock is ahead.
    """
    heads = lines.group_by(u=_.basket_id).agg(
        buyer=_.household_id.max().cast("string").fill_null(""),
        shop=_.store_id.max().cast("string").fill_null(""),
        w=_.week.max().cast("int64"),
        t=_.transaction_timestamp.min().epoch_seconds().cast("int64"),
    )
    early = heads.filter(heads.t < until_s)
    local = early.t + _ahead(early.t, ahead)
    timed = early.mutate(
        hour=(local // HOUR_S % 24).cast("int64"),
        weekday=((local // DAY_S + THURSDAY) % 7).cast("int64"),
        age=((until_s - early.t + STEP_S // 2) // STEP_S).cast("int64"),
    )
    placed = timed.inner_join(shops.select(shop=_.id, s=_.i), "shop")
    placed = placed.inner_join(buyers.select(buyer=_.id, h=_.i), "buyer")
    placed = placed.inner_join(fades.select(age=_.i.cast("int64"), f=_.v), "age")
    return placed.select("u", "h", "s", "w", "t", "hour", "weekday", "f")


def bought(lines: Table, seen: Table, wanted: Table) -> Table:
    """Returns the items (i) of each visit, beside its columns; an item counts once a basket."""
    sold = lines.select(u=_.basket_id, id=_.product_id.cast("string"))
    coded = sold.inner_join(wanted, "id").select("u", "i").distinct()
    return coded.inner_join(seen, "u")


def counted(table: Table, *columns: str) -> Table:
    """Returns how many rows (n) of a table have each of the values in some columns."""
    return table.agg(by=list(columns), n=_.count())


def by_age(table: Table, *columns: str, recent_s: int, latest_s: int) -> Table:
    """Returns how many rows there are (n), since an instant (recent) and a later one (latest)."""
    return table.agg(
        by=list(columns),
        n=_.count(),
        recent=(_.t >= recent_s).cast("int64").sum().cast(WHOLE),
        latest=(_.t >= latest_s).cast("int64").sum().cast(WHOLE),
    )


def habits(table: Table, *columns: str) -> Table:
    """Returns how many rows there are (n), and what they still weigh (f)."""
    return table.agg(by=list(columns), n=_.count(), f=_.f.sum().cast(WHOLE))


def gaps(purchases: Table, logs: Table) -> Table:
    """Returns of each item (i) how often a household bought it again (n), and how soon (v).

    Args:
        purchases: What was bought.
        logs: The logarithm (v) of so many steps (i); their sum is what comes back.
    """
    mine = ibis.window(group_by=[purchases.h, purchases.i], order_by=purchases.t)
    again = purchases.select(i=_.i, t=_.t, last=purchases.t.lag(1).over(mine))
    again = again.filter(again["last"].notnull())
    steps = ((again.t - again["last"] + STEP_S // 2) // STEP_S).cast("int64")
    timed = again.select(i=_.i, steps=ibis.greatest(steps, MIN_GAP_STEPS).cast("int64"))
    found = timed.inner_join(logs.select(steps=_.i.cast("int64"), v=_.v), "steps")
    return found.group_by("i").agg(n=_.count(), v=_.v.sum().cast(WHOLE))


def under_plan(table: Table, *, plan: Table, shops: Table, weeks: range) -> Table:
    """Returns the rows of some weeks in stores and weeks that the promotion plan names."""
    stores = plan.select(id=_.store_id.cast("string")).distinct()
    stores = stores.inner_join(shops, "id").select(s=_.i)
    named = plan.select(w=_.week.cast("int64")).distinct()
    inside = table.filter((_.w >= weeks.start) & (_.w < weeks.stop))
    return inside.semi_join(stores, "s").semi_join(named, "w")


def promoted(codes: Table, *, seen: Table, purchases: Table) -> Table:
    """Returns by item (i), display (x) and mailer (y) how often it sold (n) and would usually (e).

    Args:
        codes: The plan's codes (c) by week (w), store (s) and item (p).
        seen: The visits under the plan.
        purchases: What was bought, at any time.

    Returns:
        `e` counts pairs of a visit under the plan and a purchase at any time: divided by how many
        visits there were at all, it is what chance would have sold.
    """
    coded = codes.group_by(w=_.w.cast("int64"), s=_.s, i=_.p).agg(c=_.c.max().cast("int64"))
    carts = counted(seen, "w", "s").select(w=_.w, s=_.s, carts=_.n)
    sold = counted(purchases.semi_join(carts, ["w", "s"]), "w", "s", "i")
    usual = counted(purchases, "i").select(i=_.i, usual=_.n)
    joined = coded.inner_join(carts, ["w", "s"]).inner_join(usual, "i")
    joined = joined.left_join(sold.select(w=_.w, s=_.s, i=_.i, sold=_.n), ["w", "s", "i"])
    rows = joined.select(
        i=_.i,
        x=(_.c % MAX_CODES).cast("int64"),
        y=(_.c // MAX_CODES).cast("int64"),
        sold=_.sold.fill_null(0),
        chance=_.carts * _.usual,
    )
    return rows.group_by(["i", "x", "y"]).agg(
        n=_.sold.sum().cast(WHOLE), e=_.chance.sum().cast(WHOLE)
    )


def _ahead(instant: IntegerValue, ahead: Shifts) -> IntegerValue:
    """Returns how far the wall clock is ahead at an instant."""
    (_start, first), *later = ahead
    shift = ibis.literal(first, "int64")
    for start, seconds in later:
        shift = (instant >= start).ifelse(ibis.literal(seconds, "int64"), shift)
    return shift
