"""How much there is time for: model, rules, segment default, store default.

What is left of the time budget is measured outside and handed in; the rung that follows from it
stands in the record, so that a decision can be taken again whatever the machine's speed is then.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Mapping

    from edge_agent.domain.ids import ProductId
    from edge_agent.domain.rules import Rules
    from edge_agent.domain.scoring import ScoredProduct

MODEL: Final = "model"
"""The model scores, rules and campaigns are weighed."""
RULES: Final = "rules"
"""What sells best in this store and hour stands for the model; rules and campaigns are weighed."""
SEGMENT: Final = "segment"
"""What sells best of the departments that fit; no condition is looked at, no campaign said."""
STORE: Final = "store"
"""What sells best in this store and hour."""

WEIGHED: Final = frozenset({MODEL, RULES})
LEVELS: Final = {RULES: "rules", SEGMENT: "segment", STORE: "default"}
"""How a decision says that it was found, below the model."""


def rung_for(left_ms: int | None, rules: Rules) -> str:
    """Returns the rung that there is time for.

    Args:
        left_ms: Left of the time budget, negative once it is over; None for enough, and where
            nobody waits, as in a replay.
        rules: Say what is too little for the model, and what for the rules.
    """
    if left_ms is None:
        return MODEL
    for_model, for_rules = rules.hurry_ms
    if left_ms >= for_model:
        return MODEL
    if left_ms >= for_rules:
        return RULES
    return SEGMENT if left_ms > 0 else STORE


def preferred_first(
    scored: tuple[ScoredProduct, ...],
    preferred: tuple[str, ...],
    departments: Mapping[ProductId, str],
) -> tuple[ScoredProduct, ...]:
    """Returns products with those of the preferred departments first, else in their order."""
    if not preferred:
        return scored
    fitting = frozenset(preferred)
    return tuple(sorted(scored, key=lambda each: departments.get(each.product) not in fitting))
