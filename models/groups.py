"""Joins similar households of a shop into groups that are published as one.

Microaggregation: each group has at least `GROUP_SIZE` households, and everybody is in one group at
most. A group shows an item only when its households bought it in `MIN_BASKETS` baskets.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from edge_agent.state.groups import Groups

GROUP_SIZE = 3
MIN_BASKETS = 3
"""Rarer items of a group are noise."""
LOCAL_GROUPS = 40
"""Groups kept for each store, those with most of its baskets first."""
HALF_LIFE_DAYS = 120.0


def fit_groups(
    every: sparse.csr_matrix,
    *,
    household: NDArray[np.int32],
    store: NDArray[np.int32],
    age_days: NDArray[np.float64],
    n_stores: int,
) -> Groups:
    """Groups the households and counts what each group buys.

    Args:
        every: Baskets x items, ones.
        household: Whose each basket is.
        store: Where it was bought.
        age_days: How long before the cutoff.
        n_stores: How many stores there are.
    """
    n_households = int(household.max(initial=-1)) + 1
    decay = np.exp2(-age_days / HALF_LIFE_DAYS)
    rows = np.arange(len(household))
    shape = (n_households, len(household))
    count = (
        sparse.csr_matrix((np.ones(len(rows)), (household, rows)), shape=shape) @ every
    ).tocsr()
    at_store = sparse.csr_matrix((decay, (household, store)), shape=(n_households, n_stores))
    group, n_groups = _grouped(count, np.asarray(at_store.argmax(axis=1)).ravel())
    member = group[household]
    inside = np.flatnonzero(member >= 0)
    shape = (n_groups, len(household))
    place = (member[inside], inside)
    bought = (sparse.csr_matrix((decay[inside], place), shape=shape) @ every).tocsr()
    times = (sparse.csr_matrix((np.ones(len(inside)), place), shape=shape) @ every).tocsr()
    bought.sort_indices()
    times.sort_indices()
    bought.data *= times.data >= MIN_BASKETS
    bought.eliminate_zeros()
    n_baskets = np.bincount(member[inside], weights=decay[inside], minlength=n_groups)
    share = bought.data / (np.repeat(n_baskets, np.diff(bought.indptr)) + 1.0)
    starts, local, local_share = _local(member[inside], store[inside], decay[inside], n_stores)
    small = np.uint16 if every.shape[1] <= np.iinfo(np.uint16).max else np.int32
    return Groups(
        starts=bought.indptr.astype(np.int64),
        items=bought.indices.astype(small),
        share=share.astype(np.float16),
        store_starts=starts,
        store_groups=local,
        store_share=local_share,
    )


def _grouped(count: sparse.csr_matrix, home: NDArray[np.int64]) -> tuple[NDArray[np.int64], int]:
    """Returns each household's group, -1 without one, and how many groups there are."""
    n = count.shape[0]
    spread = np.asarray((count > 0).sum(axis=0)).ravel()
    rarity = np.log(n / np.maximum(spread, 1) + 1.0)
    taste = count.astype(np.float64)
    taste.data = np.log1p(taste.data)
    taste = (taste @ sparse.diags(rarity)).tocsr()
    norm = np.sqrt(np.asarray(taste.multiply(taste).sum(axis=1)).ravel())
    taste = (sparse.diags(1.0 / np.maximum(norm, 1e-9)) @ taste).tocsr()
    group, n_groups = np.full(n, -1, dtype=np.int64), 0
    active = np.flatnonzero(norm > 0)
    n_home = np.bincount(home[active], minlength=int(home.max(initial=0)) + 1)
    small = n_home[home[active]] < GROUP_SIZE
    pools = [active[home[active] == s] for s in np.flatnonzero(n_home >= GROUP_SIZE)]
    for pool in [*pools, active[small]]:
        if len(pool) < GROUP_SIZE:
            continue
        for members in _split(taste[pool]):
            group[pool[members]] = n_groups
            n_groups += 1
    return group, n_groups


def _split(taste: sparse.csr_matrix) -> list[NDArray[np.int64]]:
    """Returns groups of near rows: each begins with the row least like the rest (MDAV)."""
    alike = (taste @ taste.T).toarray()
    left = np.arange(len(alike))
    groups = []
    while len(left) >= 2 * GROUP_SIZE:
        among = alike[np.ix_(left, left)]
        first = int(among.mean(axis=1).argmin())
        among[first, first] = np.inf
        chosen = np.argsort(-among[first], kind="stable")[:GROUP_SIZE]
        groups.append(left[chosen])
        left = np.delete(left, chosen)
    return [*groups, left]


def _local(
    group: NDArray[np.int64],
    store: NDArray[np.int32],
    decay: NDArray[np.float64],
    n_stores: int,
) -> tuple[NDArray[np.int64], NDArray[np.int32], NDArray[np.float32]]:
    """Returns for each store its groups and their share of its baskets, the largest first."""
    n_groups = int(group.max(initial=-1)) + 1
    table = sparse.csr_matrix((decay, (store, group)), shape=(n_stores, n_groups))
    table.sum_duplicates()
    starts, found, shares = [0], [], []
    for s in range(n_stores):
        span = slice(table.indptr[s], table.indptr[s + 1])
        order = np.argsort(-table.data[span], kind="stable")[:LOCAL_GROUPS]
        found.append(table.indices[span][order])
        shares.append(table.data[span][order] / max(float(table.data[span].sum()), 1e-9))
        starts.append(starts[-1] + len(order))
    return (
        np.array(starts, dtype=np.int64),
        np.concatenate(found).astype(np.int32),
        np.concatenate(shares).astype(np.float32),
    )
