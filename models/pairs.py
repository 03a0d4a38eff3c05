"""What is bought together, as Ibis expressions: in one basket, or by one household.

Every pair is counted by a join of the members with themselves. Pairs that fewer than `MIN_PAIR`
units share are dropped before anything is read: they are noise, and could single somebody out.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import ibis
from ibis import _
from ibis.expr.types import Table

from models.statistics import UNIT, WHOLE, counted

MIN_PAIR: Final = 3


@dataclass(frozen=True, slots=True)
class Members:
    """Who met: items in units (a basket or a household), kept by the engine.

    Attributes:
        rows: Unit (u), item (i), and what the unit says about any two of its items (q).
        sizes: How many units (n) each item (i) is in.
    """

    rows: Table
    sizes: Table


def by_size(purchases: Table) -> Table:
    """Returns units and items with 1 / sqrt(1 + size): a large basket says less of any two."""
    sizes = counted(purchases, "u")
    # Both engines round a root, a quotient and a floor in one way only.
    weight = UNIT / (sizes.n.cast("float64") + 1.0).sqrt() + 0.5
    weighed = sizes.select(u=_.u, q=weight.floor().cast("int64"))
    return purchases.select("u", "i").inner_join(weighed, "u")


def by_household(bought: Table) -> Table:
    """Returns households as units, each as good as any other."""
    return bought.select(u=_.h, i=_.i).distinct().mutate(q=ibis.literal(1, "int64"))


def of_kinds(bought: Table, kinds: Table) -> Table:
    """Returns the kinds (i) of each visit (u).

    Args:
        bought: What was bought.
        kinds: The kind (v) of each item (i).
    """
    return bought.inner_join(kinds, "i").select(u=_.u, i=_.v).distinct()


def totals(members: Table) -> Table:
    """Returns how many members there are (n) and what they weigh in all (q)."""
    return members.agg(n=_.count(), q=_.q.sum().cast(WHOLE))


def strongest(members: Members, some: range, *, k: int, shrink: float) -> Table:
    """Returns the k strongest others (j) of some items (i), in order (r) from 0, and sums (v).

    Strength is the cosine, shrunk for small counts; of equals the one with the lower position.

    Args:
        members: Who met.
        some: Positions of the items.
        k: Others kept.
        shrink: Added to the denominator, in units.
    """
    here = members.rows.filter((_.i >= some.start) & (_.i < some.stop))
    met = here.inner_join(members.rows.select(u=_.u, j=_.i), "u")
    together = (
        met.filter(met.i != met.j).group_by(["i", "j"]).agg(n=_.count(), v=_.q.sum().cast(WHOLE))
    )
    sure = together.filter(together.n >= MIN_PAIR)
    sized = sure.inner_join(members.sizes.select(i=_.i, a=_.n), "i")
    sized = sized.inner_join(members.sizes.select(j=_.i, b=_.n), "j")
    root = (sized.a * sized.b).cast("float64").sqrt()
    scored = sized.mutate(score=sized.v.cast("float64") / (root + shrink))
    best = ibis.window(group_by=scored.i, order_by=[scored.score.desc(), scored.j])
    ranked = scored.mutate(r=ibis.row_number().over(best))
    return ranked.filter(ranked.r < k).select("i", "j", "v", "r")
