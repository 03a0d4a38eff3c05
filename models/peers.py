"""The published methods that the ranker is compared with, each on the same cases.

A peer is a function from a block of cases to scores over all items, float32 (n_cases, n_items).
Parameters are those of the papers for their largest grocery data set, or were set on cases of
2017-09-15; none was set on the cases of the reported cutoff.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from models.protocol import TOP, Case
from models.situations import Histories, histories
from models.statistics import DAY_S
from models.tables import Learning

Scores = NDArray[np.float32]
Peer = Callable[[Sequence[Case]], Scores]

BLOCK = 400
RECENCY_HALF_LIFE_DAYS = 90.0
UPCF_RECENT, UPCF_ASYMMETRY, UPCF_LOCALITY = 25, 0.25, 10
TIFU_GROUPS, TIFU_WITHIN, TIFU_ACROSS, TIFU_NEAREST, TIFU_OWN = 7, 0.95, 0.8, 300, 0.9
VSKNN_NEAREST = 300
EASE_ITEMS, EASE_RIDGE_BASKETS, EASE_RIDGE_HOUSEHOLDS = 6000, 200.0, 100.0
ALS_FACTORS, ALS_ROUNDS, ALS_RIDGE, ALS_ALPHA, ALS_SEED = 64, 8, 1.0, 1.0, 3
KNN_SHRINK = 10.0
BLEND_B_ANON, BLEND_B_ID = 0.1, 0.5


@dataclass(slots=True)
class Peers:
    """All peers, fitted on the baskets before one cutoff."""

    learning: Learning
    baskets: sparse.csr_matrix = field(init=False)
    count: NDArray[np.float32] = field(init=False)
    bought: sparse.csr_matrix = field(init=False)
    past: Histories = field(init=False)
    near: sparse.csr_matrix = field(init=False)

    def __post_init__(self) -> None:
        self.baskets = self.learning.matrix()
        self.past = histories(self.learning)
        self.count = np.asarray(self.baskets.sum(axis=0)).ravel().astype(np.float32)
        self.bought = self.per_household(lambda own: np.ones(len(own)))
        self.near = _cosine(self.baskets, self.count)

    def per_household(
        self, weigh: Callable[[NDArray[np.int64]], NDArray[np.float64]]
    ) -> sparse.csr_matrix:
        """Returns households x items, each household's baskets added with the weights."""
        rows, columns, weights = [], [], []
        for household in range(len(self.learning.data.households)):
            own = self.past.of(household)
            rows.append(np.full(len(own), household))
            columns.append(own)
            weights.append(weigh(own))
        shape = (len(self.learning.data.households), self.learning.n)
        index = (np.concatenate(rows), np.concatenate(columns))
        select = sparse.csr_matrix(
            (np.concatenate(weights).astype(np.float32), index), shape=shape
        )
        return (select @ self.baskets).tocsr()

    def popularity(self, cases: Sequence[Case]) -> Scores:
        """Share of all baskets."""
        return np.tile(self.count / self.count.max(), (len(cases), 1))

    def personal(self) -> Peer:
        """Times bought by the household, then the chain's popularity."""
        return self._own(self.bought)

    def recency(self) -> Peer:
        """Times bought, halved in weight every 90 days, then popularity."""
        data, until = self.learning.data, self.learning.until_s

        def weigh(own: NDArray[np.int64]) -> NDArray[np.float64]:
            return np.exp2(-(until - data.at_s[own]) / DAY_S / RECENCY_HALF_LIFE_DAYS)

        return self._own(self.per_household(weigh))

    def _own(self, matrix: sparse.csr_matrix) -> Peer:
        popular = 1e-4 * self.count / self.count.max()

        def score(cases: Sequence[Case]) -> Scores:
            return _dense(matrix[_households(cases)]) + popular

        return score

    def upcf(self) -> Peer:
        """UP-CF@r: neighbours' recency-aware user-wise popularity (Faggioli et al., UMAP 2020)."""

        def weigh(own: NDArray[np.int64]) -> NDArray[np.float64]:
            recent = np.zeros(len(own))
            recent[-UPCF_RECENT:] = 1.0 / max(min(len(own), UPCF_RECENT), 1)
            return recent

        own = self.per_household(weigh)
        ones = self.bought.copy()
        ones.data = np.ones_like(ones.data)
        sizes = np.maximum(np.asarray(ones.sum(axis=1)).ravel(), 1.0)

        def score(cases: Sequence[Case]) -> Scores:
            who = _households(cases)
            shared = (ones[who] @ ones.T).toarray()
            scale = sizes[who] ** UPCF_ASYMMETRY
            near = shared / scale[:, None] / sizes[None] ** (1 - UPCF_ASYMMETRY)
            near = (near / near.max(axis=1, keepdims=True)) ** UPCF_LOCALITY
            return np.asarray(near @ own, dtype=np.float32)

        return score

    def tifu(self) -> Peer:
        """TIFU-KNN: item frequency decayed in groups of baskets (Hu et al., SIGIR 2020)."""

        def weigh(own: NDArray[np.int64]) -> NDArray[np.float64]:
            if not len(own):
                return np.zeros(0)
            weights = np.zeros(len(own))
            groups = np.array_split(np.arange(len(own)), min(TIFU_GROUPS, len(own)))
            for g, group in enumerate(groups):
                inside = TIFU_WITHIN ** np.arange(len(group) - 1, -1, -1) / len(group)
                weights[group] = TIFU_ACROSS ** (len(groups) - 1 - g) * inside / len(groups)
            return weights

        own = self.per_household(weigh)
        squares = np.asarray(own.multiply(own).sum(axis=1)).ravel()

        def score(cases: Sequence[Case]) -> Scores:
            who = _households(cases)
            distance = squares[None] - 2.0 * (own[who] @ own.T).toarray()
            distance[np.arange(len(who)), who] = np.inf
            nearest = np.argpartition(distance, TIFU_NEAREST, axis=1)[:, :TIFU_NEAREST]
            select = _rows(nearest, np.full(nearest.shape, 1.0 / TIFU_NEAREST), own.shape[0])
            return TIFU_OWN * _dense(own[who]) + (1 - TIFU_OWN) * _dense(select @ own)

        return score

    def item_knn(self, cases: Sequence[Case]) -> Scores:
        """Item-item cosine over baskets, from the basket, or the history when that is empty."""
        seen = self._visible(cases)
        empty = np.array([not len(case.visible) for case in cases])
        if empty.all():
            ones = self.bought[_households(cases)]
            ones.data = np.ones_like(ones.data)
            seen = ones
        return _dense(seen @ self.near)

    def vsknn(self, cases: Sequence[Case]) -> Scores:
        """VSKNN: the nearest earlier baskets vote, rare items count more (Ludewig 2018)."""
        rarity = np.log(self.baskets.shape[0] / np.maximum(self.count, 1)).astype(np.float32)
        sizes = np.sqrt(np.maximum(np.asarray(self.baskets.sum(axis=1)).ravel(), 1))
        shared = (self._visible(cases).multiply(rarity[None]).tocsr() @ self.baskets.T).tocsr()
        index, weight, lengths = [], [], []
        for row in range(len(cases)):
            span = slice(shared.indptr[row], shared.indptr[row + 1])
            near, value = shared.indices[span], shared.data[span] / sizes[shared.indices[span]]
            if len(near) > VSKNN_NEAREST:
                top = np.argpartition(-value, VSKNN_NEAREST)[:VSKNN_NEAREST]
                near, value = near[top], value[top]
            index.append(near)
            weight.append(value)
            lengths.append(len(near))
        starts = np.concatenate([[0], np.cumsum(lengths)])
        votes = sparse.csr_matrix(
            (np.concatenate(weight), np.concatenate(index), starts),
            shape=(len(cases), self.baskets.shape[0]),
        )
        return _dense(votes @ self.baskets) * rarity

    def ease_baskets(self) -> Peer:
        """EASE^R over baskets, the most popular items (Steck, WWW 2019)."""
        top = np.argsort(-self.count, kind="stable")[:EASE_ITEMS]
        part = self.baskets[:, top]
        gram = (part.T @ part).toarray().astype(np.float32)
        gram[np.diag_indices_from(gram)] += EASE_RIDGE_BASKETS
        inverse = np.linalg.inv(gram)
        weights = -inverse / np.diag(inverse)[None]
        np.fill_diagonal(weights, 0.0)

        def score(cases: Sequence[Case]) -> Scores:
            scores = np.full((len(cases), len(self.count)), -1e3, dtype=np.float32)
            scores[:, top] = self._visible(cases)[:, top] @ weights
            return scores

        return score

    def ease_households(self) -> Peer:
        """EASE^R over households, by the Woodbury identity (they are fewer than the items)."""
        x = self.bought.copy()
        x.data = np.log1p(x.data)
        core = (x @ x.T).toarray() + EASE_RIDGE_HOUSEHOLDS * np.eye(x.shape[0])
        middle = np.linalg.inv(core)
        dense = x.toarray()
        diagonal = (1.0 - np.einsum("ui,ui->i", dense, middle @ dense)) / EASE_RIDGE_HOUSEHOLDS

        def score(cases: Sequence[Case]) -> Scores:
            who = _households(cases)
            kernel = (x[who] @ x.T).toarray() @ middle
            mapped = (dense[who] - kernel @ dense) / EASE_RIDGE_HOUSEHOLDS
            return np.asarray(dense[who] - mapped / diagonal[None], dtype=np.float32)

        return score

    def als(self) -> Peer:
        """Implicit ALS over households (Hu, Koren, Volinsky 2008)."""
        rng = np.random.default_rng(ALS_SEED)
        weights = self.bought.copy()
        weights.data = ALS_ALPHA * np.log1p(weights.data)
        items = 0.1 * rng.standard_normal((weights.shape[1], ALS_FACTORS))
        users = np.zeros((weights.shape[0], ALS_FACTORS))
        by_item = weights.T.tocsr()
        for _ in range(ALS_ROUNDS):
            users = _solve(weights, items)
            items = _solve(by_item, users)

        def score(cases: Sequence[Case]) -> Scores:
            return np.asarray(users[_households(cases)] @ items.T, dtype=np.float32)

        return score

    def _visible(self, cases: Sequence[Case]) -> sparse.csr_matrix:
        starts = np.concatenate([[0], np.cumsum([len(case.visible) for case in cases])])
        values = np.concatenate([case.visible for case in cases])
        ones = np.ones(len(values), dtype=np.float32)
        return sparse.csr_matrix((ones, values, starts), shape=(len(cases), len(self.count)))


def _solve(weights: sparse.csr_matrix, other: NDArray[np.float64]) -> NDArray[np.float64]:
    """Returns the least-squares factors of each row of `weights` given the other side's."""
    base = other.T @ other + ALS_RIDGE * np.eye(other.shape[1])
    solved = np.zeros((weights.shape[0], other.shape[1]))
    for row in range(weights.shape[0]):
        span = slice(weights.indptr[row], weights.indptr[row + 1])
        factors, confidence = other[weights.indices[span]], weights.data[span]
        left = base + (factors * confidence[:, None]).T @ factors
        solved[row] = np.linalg.solve(left, factors.T @ (1.0 + confidence))
    return solved


def _cosine(baskets: sparse.csr_matrix, count: NDArray[np.float32]) -> sparse.csr_matrix:
    pairs = (baskets.T @ baskets).tocsr()
    pairs.setdiag(0)
    pairs.eliminate_zeros()
    near = pairs.tocoo()
    scale = np.sqrt(count[near.row] * count[near.col]) + KNN_SHRINK
    index = (near.row, near.col)
    return sparse.csr_matrix((near.data / scale, index), shape=near.shape, dtype=np.float32)


def _households(cases: Sequence[Case]) -> NDArray[np.int64]:
    return np.array([case.household for case in cases], dtype=np.int64)


def _rows(index: NDArray[np.int64], weight: NDArray[np.float64], n: int) -> sparse.csr_matrix:
    starts = np.arange(0, index.size + 1, index.shape[1])
    return sparse.csr_matrix((weight.ravel(), index.ravel(), starts), shape=(len(index), n))


def _dense(matrix: sparse.csr_matrix) -> Scores:
    return np.asarray(matrix.toarray(), dtype=np.float32)


def blend(first: Peer, second: Peer, share: float) -> Peer:
    """Returns the sum of two peers, each scaled to its largest score of the case."""

    def score(cases: Sequence[Case]) -> Scores:
        a, b = first(cases), second(cases)
        a = a / np.maximum(a.max(axis=1, keepdims=True), 1e-9)
        b = b / np.maximum(b.max(axis=1, keepdims=True), 1e-9)
        return np.asarray(a + share * b, dtype=np.float32)

    return score


def top_of(peer: Peer, cases: Sequence[Case]) -> list[NDArray[np.int32]]:
    """Returns each case's ten best items, without those already in the basket."""
    answers: list[NDArray[np.int32]] = []
    for begin in range(0, len(cases), BLOCK):
        block = cases[begin : begin + BLOCK]
        scores = peer(block)
        for row, case in enumerate(block):
            scores[row, case.visible] = -np.inf
        best = np.argpartition(-scores, TOP - 1, axis=1)[:, :TOP]
        for row in range(len(block)):
            order = np.lexsort((best[row], -scores[row, best[row]]))
            answers.append(best[row, order].astype(np.int32))
    return answers


def table(learning: Learning, *, slow: bool = True) -> dict[str, dict[str, Peer]]:
    """Returns the peers of each set of cases, by name."""
    peers = Peers(learning)
    tifu = peers.tifu()
    named: dict[str, Peer] = {
        "popularity": peers.popularity,
        "personal frequency, then global": peers.personal(),
        "recency-weighted frequency": peers.recency(),
        "UP-CF@r": peers.upcf(),
        "TIFU-KNN": tifu,
        "item-item cosine kNN": peers.item_knn,
        "VSKNN": peers.vsknn,
        "VSKNN + 0.1 kNN": blend(peers.vsknn, peers.item_knn, BLEND_B_ANON),
        "TIFU-KNN + 0.5 kNN": blend(tifu, peers.item_knn, BLEND_B_ID),
    }
    if slow:
        named["EASE (households)"] = peers.ease_households()
        named["EASE (baskets)"] = peers.ease_baskets()
        named["implicit ALS"] = peers.als()
    only_basket = {"item-item cosine kNN", "VSKNN", "VSKNN + 0.1 kNN", "EASE (baskets)"}
    personal = set(named) - only_basket - {"popularity"}
    b_id = {name: peer for name, peer in named.items() if name != "popularity"}
    a = personal | {"popularity", "item-item cosine kNN"}
    return {
        "A": {n: p for n, p in named.items() if n in a and n != "TIFU-KNN + 0.5 kNN"},
        "B_anon": {n: p for n, p in named.items() if n in only_basket | {"popularity"}},
        "B_id": b_id,
    }
