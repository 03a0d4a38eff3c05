"""What training reads from the sales tables, as Ibis expressions: one set for every engine.

An expression says what is wanted; `models.engines` has it worked out by DuckDB on one machine or
by Spark on many. Nothing here depends on which: ids are compared as text, a value that could be
any of several is the greatest of them, and whatever order matters is asked for.
"""

from __future__ import annotations

from datetime import date, datetime
from typing import Final

import ibis
from ibis import _
from ibis.expr.types import Table

MAX_CODES: Final = 16
"""A display or mailer code is a nibble; 0 is none."""


def baskets(lines: Table) -> Table:
    """Returns each basket (b), its household (h), store (s), week (w) and first instant (t).

    Ordered by time, then basket id; the instant is in seconds since 1970, as if UTC.
    """
    heads = lines.group_by("basket_id").agg(
        h=_.household_id.max().cast("string"),
        s=_.store_id.max().cast("string"),
        w=_.week.max(),
        at=_.transaction_timestamp.min(),
    )
    ordered = heads.order_by(["at", "basket_id"])
    return ordered.select(
        b=_.basket_id.cast("string"), h=_.h, s=_.s, w=_.w, t=_["at"].epoch_seconds().cast("int64")
    )


def basket_lines(lines: Table) -> Table:
    """Returns the distinct products (p) of each basket (b), in no order."""
    return lines.select(b=_.basket_id.cast("string"), p=_.product_id.cast("string")).distinct()


def sold_products(lines: Table, products: Table) -> Table:
    """Returns every product that was ever sold, with what the item master says of it.

    Columns: id, department (d), category (c), kind (k), brand (b), size (z), manufacturer (m);
    what is not known is an empty text.
    """
    sold = lines.select("product_id").distinct()
    known = products.group_by("product_id").agg(
        d=_.department.max(),
        c=_.product_category.max(),
        k=_.product_type.max(),
        b=_.brand.max(),
        z=_.package_size.cast("string").max(),
        m=_.manufacturer_id.cast("string").max(),
    )
    joined = sold.left_join(known, "product_id")
    texts = {name: joined[name].fill_null("") for name in ("d", "c", "k", "b", "z", "m")}
    return joined.select(id=joined.product_id.cast("string"), **texts)


def unit_prices(lines: Table, *, before: date) -> Table:
    """Returns each product's (p) median unit price (v) before a day, without discounts."""
    end = ibis.literal(datetime(before.year, before.month, before.day))  # noqa: DTZ001 - as the raw time stamps count
    learned = lines.filter((_.quantity > 0) & (_.transaction_timestamp < end))
    full = _.sales_value + _.retail_disc + _.coupon_match_disc
    priced = learned.select(p=_.product_id.cast("string"), v=full / _.quantity)
    # Engines interpolate their medians in different words; the mean of the middle two has one.
    of_product = ibis.window(group_by=priced.p, order_by=priced.v)
    ranked = priced.mutate(at=ibis.row_number().over(of_product), n=_.count().over(group_by=_.p))
    middle = ranked.filter((_["at"] == (_.n - 1) // 2) | (_["at"] == _.n // 2))
    bounds = middle.group_by("p").agg(low=_.v.min(), high=_.v.max())
    return bounds.select(p=_.p, v=(_.low + _.high) / 2)


def promotions(plan: Table, *, wanted: Table, planned: Table) -> Table:
    """Returns the plan's codes (c) of each week (w), store (s) and item (p).

    Args:
        plan: The promotion plan.
        wanted: The items: id and position (i).
        planned: The stores: id and position (i).
    """
    displays, mailers = _codes(plan, "display_location"), _codes(plan, "mailer_location")
    rows = plan.select(
        w=_.week,
        product=_.product_id.cast("string"),
        store=_.store_id.cast("string"),
        display=_.display_location.cast("string"),
        mailer=_.mailer_location.cast("string"),
    )
    items = wanted.select(product=_.id, p=_.i)
    stores = planned.select(store=_.id, s=_.i)
    found = rows.inner_join(items, "product").inner_join(stores, "store")
    found = found.left_join(displays.select(display=_.v, x=_.i), "display")
    found = found.left_join(mailers.select(mailer=_.v, y=_.i), "mailer")
    code = _.x.fill_null(0) + MAX_CODES * _.y.fill_null(0)
    return found.select(w=_.w, s=_.s, p=_.p, c=code.cast("int32"))


def planned_stores(plan: Table) -> Table:
    """Returns the stores (id) that a promotion plan names, in no order."""
    return plan.select(id=_.store_id.cast("string")).distinct()


def _codes(plan: Table, column: str) -> Table:
    """Returns the places (v) of a plan's column, numbered (i) from 1 in order of their text."""
    places = plan.select(v=plan[column].cast("string")).filter(_.v != "0").distinct()
    first = places.order_by("v").limit(MAX_CODES - 1)
    return first.mutate(i=(ibis.row_number().over(order_by=first.v) + 1).cast("int32"))
