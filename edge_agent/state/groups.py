"""Groups of similar households, and which of them a visit looks like.

A group joins several households of one shop and is published as one: the share of their baskets
with each item. No record of a single household is in it (microaggregation). A visit is compared
with the groups that shop in this store by naive Bayes: what is in the basket, or what was bought
before, makes some groups likelier, and what those buy becomes likelier with them.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]
Items = NDArray[np.int64]

BACKGROUND = 0.3
"""Share of a group's baskets that is explained by the chain's habits instead of its own."""
FULL_EVIDENCE = 6.0
"""More items than this count less each: they are not independent of each other."""
TINY = 1e-6


@dataclass(frozen=True, slots=True, eq=False)
class Groups:
    """The groups' baskets, and who shops where.

    Attributes:
        starts: Per group, where its items start, int64 (n_groups + 1,).
        items, share: Items of each group and the share of its baskets with them.
        store_starts: Per store, where its groups start, int64 (n_stores + 1,).
        store_groups, store_share: Groups of each store and their share of its baskets.
    """

    starts: NDArray[np.int64]
    items: NDArray[np.uint16] | NDArray[np.int32]
    share: NDArray[np.float16]
    store_starts: NDArray[np.int64]
    store_groups: NDArray[np.int32]
    store_share: Floats


@dataclass(frozen=True, slots=True, eq=False)
class LocalGroups:
    """The groups of one store, end to end.

    Attributes:
        items, share: As in `Groups`.
        group: Position of each entry's group in `log_share`.
        log_share: Log share of the store's baskets, float32 (n_local,).
    """

    items: NDArray[np.intp]
    share: Floats
    group: NDArray[np.intp]
    log_share: Floats


@dataclass(frozen=True, slots=True, eq=False)
class Likeness:
    """What the groups that a visit looks like buy.

    Attributes:
        share: Expected share of baskets with each item, float32 (n_items,).
        certainty: Probability of the likeliest group; 0 when nothing is known.
    """

    share: Floats
    certainty: float


def groups_at(groups: Groups, store: int | None) -> LocalGroups:
    """Returns the groups that shop in a store; none in an unknown one."""
    empty = slice(0, 0)
    here = (
        empty
        if store is None
        else slice(int(groups.store_starts[store]), int(groups.store_starts[store + 1]))
    )
    local = groups.store_groups[here]
    begin, end = groups.starts[local], groups.starts[local + 1]
    index = (
        np.concatenate([np.arange(a, b) for a, b in zip(begin, end, strict=True)])
        if len(local)
        else np.zeros(0, dtype=np.int64)
    )
    return LocalGroups(
        items=groups.items[index].astype(np.intp),
        share=groups.share[index].astype(np.float32),
        group=np.repeat(np.arange(len(local)), end - begin),
        log_share=np.log(groups.store_share[here] + np.float32(TINY)),
    )


def likeness(local: LocalGroups, evidence: Items, pop: Floats) -> Likeness:
    """Returns what those buy who buy the `evidence`.

    Args:
        local: The store's groups.
        evidence: Distinct items.
        pop: The chain's share of baskets with each item, float32 (n_items,).
    """
    n = len(pop)
    if not len(evidence) or not len(local.log_share):
        return Likeness(share=np.zeros(n, np.float32), certainty=0.0)
    asked = np.zeros(n, dtype=bool)
    asked[evidence] = True
    found = asked.take(local.items).nonzero()[0]
    usual = pop[local.items[found]] + np.float32(TINY)
    gain = np.log1p(local.share[found] * ((1.0 - BACKGROUND) / BACKGROUND) / usual)
    fits: NDArray[np.float64] = np.bincount(
        local.group[found], weights=gain, minlength=len(local.log_share)
    ).astype(np.float64)
    damped = min(1.0, float(np.sqrt(FULL_EVIDENCE / len(evidence))))
    fits = fits * damped + local.log_share
    weight = np.exp(fits - fits.max())
    weight /= weight.sum()
    share = np.bincount(local.items, weights=weight.take(local.group) * local.share, minlength=n)
    return Likeness(share=share.astype(np.float32), certainty=float(weight.max()))
