"""The open batch, as every message on its way into it needs it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections import Counter

    from edge_agent.ports import UnitOfWork
    from edge_agent.runner.marks import Marks
    from edge_agent.runner.outgoing import Outgoing
    from edge_agent.runner.present import Present
    from edge_agent.runner.receipts import Receipts
    from edge_agent.runner.refusals import Refusals
    from edge_agent.runner.steps import Steps


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenBatch:
    """What all that takes messages in has in common.

    Attributes:
        unit: What is written with it.
        present: What its decisions rest on besides the state.
        marks: What was taken in before, on the disk or in it.
        steps: Applies its inputs.
        outgoing: What it sends.
        receipts: What sources are told of their events.
        refusals: What it refuses.
        counters: What is counted for the operator.
    """

    unit: UnitOfWork
    present: Present
    marks: Marks
    steps: Steps
    outgoing: Outgoing
    receipts: Receipts
    refusals: Refusals
    counters: Counter[str]
