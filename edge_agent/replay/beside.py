"""A live decision taken again under a second policy that runs muted beside the real one."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from edge_agent.replay.again import Knowledge
from edge_agent.replay.comparison import answer_now, recorded_answer
from edge_agent.replay.what_if import StillUnasked, taken_under
from edge_agent.shell.shadow_counts import Said

if TYPE_CHECKING:
    from edge_agent.replay.comparison import Answer
    from edge_agent.shell.policy_shadow import Look, Means


def answers_to(look: Look, means: Means) -> tuple[Said, Said | None]:
    """Returns what was said at a moment, and what the second policy would have said.

    None of the second: the real one was silent where it would not be, so nobody asked the model.

    Raises:
        ValueError, KeyError, TypeError, AttributeError: It is no whole record.
    """
    told = json.loads(look.record)
    knowledge = Knowledge(
        scorer=means.scorer,
        catalogue=means.catalogue,
        departments=look.departments,
        policy=look.policy,
        rules=look.rules,
        minimum_ages=look.minimum_ages,
        currency=look.currency,
    )
    live = _said(recorded_answer(told))
    try:
        taken = taken_under(told, knowledge, lambda _moment: look.known)
    except StillUnasked:
        return live, None
    return live, _said(answer_now(taken))


def _said(answer: Answer) -> Said:
    return Said(products=answer.products, campaigns=answer.campaigns, value=answer.value)
