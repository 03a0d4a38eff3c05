"""Learns the item embedding: one vector for what an item answers to, two for what it asks for.

A basket's hidden items are predicted from its visible ones, the household's earlier purchases and
the context (hour, weekday, store), as a softmax over all items, by Adam on mini-batches. Written
out in numpy: the model is linear in its vectors, so the gradient is two products.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from edge_agent.state.features import (
    HOUR_BINS,
    HOURS_PER_BIN,
    MAX_HISTORY_ITEMS,
    SLOW_HALF_LIFE_DAYS,
    WEEKDAYS,
    Latent,
)
from models.situations import histories
from models.tables import DAY_S, Learning

DIMENSIONS = 64
BATCH = 512
EPOCHS = 8
RATE = 0.004
DECAY = 1e-6
MIN_ITEMS = 2
MAX_GAP_DAYS = 14
HISTORY_DAYS = 240
SHARE_WITHOUT_HISTORY = 0.5
SHARE_WITHOUT_BASKET = 0.2
INITIAL = 0.05
SEED = 5


@dataclass(frozen=True, slots=True)
class _Inputs:
    """Everything a mini-batch is cut from; rows are the usable baskets."""

    rows: NDArray[np.int64]
    history: sparse.csr_matrix
    context: sparse.csr_matrix


def history_matrix(learning: Learning, rows: NDArray[np.int64], seed: int) -> sparse.csr_matrix:
    """Returns baskets x items: what each basket's household bought before, decayed and scaled."""
    past, data, lines = histories(learning), learning.data, learning.lines
    rng = np.random.default_rng(seed)
    gaps = np.where(rng.random(len(rows)) < 0.5, rng.integers(0, MAX_GAP_DAYS, len(rows)), 0)  # noqa: PLR2004
    indices, values, lengths = [], [], []
    for row, gap in zip(rows, gaps, strict=True):
        own = past.of(int(data.household[row]))
        ago = (int(data.at_s[row]) - data.at_s[own]) / DAY_S
        usable = (own < row) & (ago >= gap) & (ago < HISTORY_DAYS)
        own, ago = own[usable], ago[usable]
        if not len(own):
            lengths.append(0)
            continue
        items = np.concatenate([lines[b] for b in own])
        decay = np.repeat(np.exp2(-ago / SLOW_HALF_LIFE_DAYS), [len(lines[b]) for b in own])
        distinct, inverse = np.unique(items, return_inverse=True)
        weight = np.bincount(inverse, weights=decay)
        if len(distinct) > MAX_HISTORY_ITEMS:
            top = np.argpartition(-weight, MAX_HISTORY_ITEMS - 1)[:MAX_HISTORY_ITEMS]
            distinct, weight = distinct[top], weight[top]
        indices.append(distinct)
        values.append(np.sqrt(weight) / np.sqrt(weight.sum() + 1.0))
        lengths.append(len(distinct))
    starts = np.concatenate([[0], np.cumsum(lengths)])
    flat = (np.concatenate(values).astype(np.float32), np.concatenate(indices), starts)
    return sparse.csr_matrix(flat, shape=(len(rows), len(learning.items)))


def context_matrix(learning: Learning, rows: NDArray[np.int64]) -> sparse.csr_matrix:
    """Returns baskets x (hour bins + weekdays + stores), ones."""
    data = learning.data
    columns = np.stack(
        [
            data.hour[rows] // HOURS_PER_BIN,
            HOUR_BINS + data.weekday[rows],
            HOUR_BINS + WEEKDAYS + data.store[rows],
        ],
        axis=1,
    )
    starts = np.arange(0, columns.size + 1, columns.shape[1])
    shape = (len(rows), HOUR_BINS + WEEKDAYS + len(data.stores))
    ones = np.ones(columns.size, dtype=np.float32)
    return sparse.csr_matrix((ones, columns.ravel(), starts), shape=shape)


class _Adam:
    """Adam with decoupled weight decay on one dense parameter."""

    def __init__(self, value: NDArray[np.float32], *, decay: float = 0.0) -> None:
        self.value = value
        self._mean = np.zeros_like(value)
        self._square = np.zeros_like(value)
        self._decay = decay
        self._step = 0

    def update(self, gradient: NDArray[np.float32], rate: float) -> None:
        self._step += 1
        self._mean *= 0.9
        self._mean += 0.1 * gradient
        self._square *= 0.999
        self._square += 0.001 * gradient * gradient
        scale = rate * np.sqrt(1 - 0.999**self._step) / (1 - 0.9**self._step)
        self.value *= 1.0 - rate * self._decay
        self.value -= scale * self._mean / (np.sqrt(self._square) + 1e-8)


def fit_latent(
    learning: Learning, *, epochs: int = EPOCHS, seed: int = SEED, d: int = DIMENSIONS
) -> Latent:
    """Learns the embedding from the baskets before the cutoff."""
    sizes = np.diff(learning.lines.starts[: learning.n + 1])
    rows = np.flatnonzero(sizes >= MIN_ITEMS)
    inputs = _Inputs(
        rows=rows,
        history=history_matrix(learning, rows, seed),
        context=context_matrix(learning, rows),
    )
    rng = np.random.default_rng(seed)
    n = len(learning.items)
    seen = np.bincount(learning.lines.values[: learning.lines.starts[learning.n]], minlength=n)

    def start(rows_: int) -> NDArray[np.float32]:
        return (INITIAL * rng.standard_normal((rows_, d))).astype(np.float32)

    parameters = {
        "item": _Adam(start(n), decay=DECAY),
        "basket": _Adam(start(n), decay=DECAY),
        "history": _Adam(start(n), decay=DECAY),
        "context": _Adam(0 * start(inputs.context.shape[1]), decay=DECAY),
        "bias": _Adam(np.log((seen + 1.0) / seen.sum()).astype(np.float32)),
    }
    n_steps = epochs * -(-len(rows) // BATCH)
    step = 0
    for _ in range(epochs):
        order = rng.permutation(len(rows))
        for begin in range(0, len(rows), BATCH):
            rate = RATE * (1.0 - step / n_steps)
            _step(learning, inputs, order[begin : begin + BATCH], parameters, rate, rng)
            step += 1
    return Latent(
        item=parameters["item"].value,
        basket=parameters["basket"].value.astype(np.float16),
        history=parameters["history"].value.astype(np.float16),
        bias=parameters["bias"].value,
        context=parameters["context"].value,
    )


def _hide(
    learning: Learning, rows: NDArray[np.int64], rng: np.random.Generator
) -> tuple[sparse.csr_matrix, sparse.csr_matrix]:
    """Returns what is visible (scaled) and what is hidden (shares) of each basket."""
    lines = learning.lines
    parts = [lines[r] for r in rows]
    sizes = np.array([len(p) for p in parts])
    owner = np.repeat(np.arange(len(rows)), sizes)
    items = np.concatenate(parts)
    rank = np.empty(len(items), dtype=np.int64)
    order = np.lexsort((rng.random(len(items)), owner))
    rank[order] = np.arange(len(items)) - np.repeat(np.cumsum(sizes) - sizes, sizes)
    share = rng.uniform(0.3, 0.7, len(rows))
    share[rng.random(len(rows)) < SHARE_WITHOUT_BASKET] = 0.0
    n_visible = np.minimum((share * sizes).round(), sizes - 1).astype(np.int64)
    is_visible = rank < n_visible[owner]
    shape = (len(rows), len(learning.items))
    scale = (1.0 / np.sqrt(np.maximum(n_visible, 1)))[owner[is_visible]]
    visible = sparse.csr_matrix(
        (scale.astype(np.float32), (owner[is_visible], items[is_visible])), shape=shape
    )
    rest = ~is_visible
    shares = np.ones(int(rest.sum()), dtype=np.float32)
    hidden = sparse.csr_matrix((shares, (owner[rest], items[rest])), shape=shape)
    return visible, hidden


def _step(
    learning: Learning,
    inputs: _Inputs,
    batch: NDArray[np.int64],
    parameters: dict[str, _Adam],
    rate: float,
    rng: np.random.Generator,
) -> None:
    batch = np.sort(batch)
    visible, hidden = _hide(learning, inputs.rows[batch], rng)
    shown = (rng.random(len(batch)) >= SHARE_WITHOUT_HISTORY).astype(np.float32)
    history = sparse.diags(shown).dot(inputs.history[batch]).tocsr().astype(np.float32)
    context = inputs.context[batch]
    p = {name: parameter.value for name, parameter in parameters.items()}
    query = visible @ p["basket"] + history @ p["history"] + context @ p["context"]
    scores = query @ p["item"].T
    scores += p["bias"]
    visible_coo = visible.tocoo()
    scores[visible_coo.row, visible_coo.col] = -1e4
    scores -= scores.max(axis=1, keepdims=True)
    np.exp(scores, out=scores)
    n_hidden = np.asarray(hidden.sum(axis=1))
    weight = np.sqrt(n_hidden)
    scores *= weight / scores.sum(axis=1, keepdims=True)
    hidden_coo = hidden.tocoo()
    scores[hidden_coo.row, hidden_coo.col] -= (weight / n_hidden)[hidden_coo.row, 0]
    scores /= np.float32(weight.sum())
    of_query = scores @ p["item"]
    gradients = {
        "item": scores.T @ query,
        "basket": visible.T @ of_query,
        "history": history.T @ of_query,
        "context": context.T @ of_query,
        "bias": scores.sum(axis=0),
    }
    for name, gradient in gradients.items():
        parameters[name].update(gradient, rate)
