"""What a second bundle would have answered: its ranking through the gates of a recorded decision.

Both bundles must go through the same gates and the same order, those of the chain's rules
included, or what is compared is the rules and not the bundles.
"""

from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from edge_agent.decide.arbitration import arbitrated
from edge_agent.decide.candidates import gated
from edge_agent.decide.known import known_from
from edge_agent.decide.under_rules import Question, outlook_of, ruled, scored_for

if TYPE_CHECKING:
    from edge_agent.decide.gates import Shelf
    from edge_agent.domain.decisions import Candidate, Decision
    from edge_agent.domain.policy import Policy
    from edge_agent.domain.rules import Rules
    from edge_agent.domain.scoring import ScoringRequest
    from edge_agent.ports import Scorer


def answer_of(
    scorer: Scorer,
    request: ScoringRequest,
    decision: Decision,
    shelf: Shelf,
    *,
    rules: Rules,
    policy: Policy,
) -> tuple[Candidate, ...]:
    """Returns what would have been chosen, had a scorer been asked what a decision asked.

    Args:
        scorer: The one in question.
        request: What the decision asked.
        decision: It was taken with another scorer.
        shelf: The store's products.
        rules: The chain's, under which it was taken.
        policy: The agent's own.
    """
    told: dict[str, Any] = json.loads(decision.record)
    if "rules" in told:
        request = replace(request, with_reasons=False)
        return _under_rules(scorer, request, decision, told, shelf, rules=rules, policy=policy)
    candidates, _ = gated(
        scorer.rank(request),
        decision.moment,
        out_of_stock=shelf.out_of_stock,
        departments=shelf.departments,
        product_of=shelf.product,
        policy=policy,
        minimum_ages=shelf.minimum_ages,
    )
    return arbitrated(candidates, limit=decision.moment.limit)


def _under_rules(
    scorer: Scorer,
    request: ScoringRequest,
    decision: Decision,
    told: dict[str, Any],
    shelf: Shelf,
    *,
    rules: Rules,
    policy: Policy,
) -> tuple[Candidate, ...]:
    known = known_from(told["rules"]["known"])
    scored, popular = scored_for(scorer, request, decision.moment, known)
    question = Question(
        decision=decision.id,
        moment=decision.moment,
        now_ms=decision.decided_at_ms,
        seed=told["seed"],
        policy=policy,
        rules=rules,
        known=known,
        scored=scored,
        popular=popular,
    )
    shelf = replace(shelf, price=known.prices.get)
    outlook = outlook_of(decision.moment, known, rules, now_ms=question.now_ms)
    return () if outlook.silence is not None else ruled(question, outlook, shelf).pick.chosen
