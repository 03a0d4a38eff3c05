"""Joins similar households of a shop into groups that are published as one.

Microaggregation: each group has at least `GROUP_SIZE` households, and everybody is in one group at
most. A group shows an item only when its households bought it in `MIN_BASKETS` baskets. Counts by
household come from an engine (`models.aggregates`); who is grouped with whom is worked out here,
in one process, because each group is taken from what the ones before it left.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from edge_agent.state.groups import Groups

GROUP_SIZE = 3
MIN_BASKETS = 3
"""Rarer items of a group are noise."""
LOCAL_GROUPS = 40
"""Groups kept for each store, those with most of its baskets first."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Habits:
    """What households bought and where, of the baskets before the cutoff.

    Attributes:
        count, bought: Households x items: baskets with the item, and what those still weigh.
        at_store: Households x stores: what the baskets still weigh.
    """

    count: sparse.csr_matrix
    bought: sparse.csr_matrix
    at_store: sparse.csr_matrix


def fit_groups(habits: Habits) -> Groups:
    """Groups the households and counts what each group buys."""
    home = np.asarray(habits.at_store.argmax(axis=1)).ravel().astype(np.int64)
    n_seen = int(np.count_nonzero(np.diff(habits.at_store.indptr)))
    group, n_groups = _grouped(habits.count, home, n_seen)
    inside = np.flatnonzero(group >= 0)
    place = (np.ones(len(inside)), (group[inside], inside))
    members = sparse.csr_matrix(place, shape=(n_groups, len(group)))
    bought, times = (members @ habits.bought).tocsr(), (members @ habits.count).tocsr()
    bought.sort_indices()
    times.sort_indices()
    bought.data *= times.data >= MIN_BASKETS
    bought.eliminate_zeros()
    visited = (members @ habits.at_store).tocsr()
    n_baskets = np.asarray(visited.sum(axis=1)).ravel()
    share = bought.data / (np.repeat(n_baskets, np.diff(bought.indptr)) + 1.0)
    starts, local, local_share = _local(visited.T.tocsr())
    small = np.uint16 if bought.shape[1] <= np.iinfo(np.uint16).max else np.int32
    return Groups(
        starts=bought.indptr.astype(np.int64),
        items=bought.indices.astype(small),
        share=share.astype(np.float16),
        store_starts=starts,
        store_groups=local,
        store_share=local_share,
    )


def _grouped(
    count: sparse.csr_matrix, home: NDArray[np.int64], n_seen: int
) -> tuple[NDArray[np.int64], int]:
    """Returns each household's group, -1 without one, and how many groups there are."""
    spread = np.asarray((count > 0).sum(axis=0)).ravel()
    rarity = np.log(n_seen / np.maximum(spread, 1) + 1.0)
    taste = count.astype(np.float64)
    taste.data = np.log1p(taste.data)
    taste = (taste @ sparse.diags(rarity)).tocsr()
    norm = np.sqrt(np.asarray(taste.multiply(taste).sum(axis=1)).ravel())
    taste = (sparse.diags(1.0 / np.maximum(norm, 1e-9)) @ taste).tocsr()
    group, n_groups = np.full(len(home), -1, dtype=np.int64), 0
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
    table: sparse.csr_matrix,
) -> tuple[NDArray[np.int64], NDArray[np.int32], NDArray[np.float32]]:
    """Returns for each store its groups and their share of its baskets, the largest first."""
    table.sort_indices()
    starts, found, shares = [0], [], []
    for s in range(table.shape[0]):
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
