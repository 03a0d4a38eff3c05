"""A decision as rows: its record, what it tries, whom it exposes and whom it alerts."""

from __future__ import annotations

from typing import TYPE_CHECKING

from edge_agent.domain.calls import UNASKED, alert_key
from edge_agent.domain.decisions import contact_from
from edge_agent.shell import rows
from edge_agent.shell.row_digest import with_digest

if TYPE_CHECKING:
    from edge_agent.domain.decisions import Decision
    from edge_agent.domain.ids import VisitorId
    from edge_agent.shell.pending_rows import PendingRows
    from edge_agent.shell.state_store import StateStore


def record_decision(
    decision: Decision, spent_us: int | None, *, pending: PendingRows, state: StateStore
) -> None:
    """Queues a decision's rows and lays it over what is known.

    Args:
        decision: The decision.
        spent_us: How long it took to decide; None where nobody measured it.
        pending: Where the rows go.
        state: What is known.
    """
    moment = decision.moment
    row = _decision_row(decision, spent_us)
    pending.add("decision", with_digest((*row, state.terms, state.goods.number)))
    if decision.tried is not None:
        pending.add("tried", (decision.tried,))
    state.note_decision(decision)
    if decision.assignments and moment.visitor is not None:
        _expose(decision, pending, state)
    if moment.kind in UNASKED and moment.place.zone is not None:
        alert = (alert_key(moment), moment.place.zone, decision.decided_at_ms)
        pending.add("alert", alert)
        state.calls.note_alert(*alert)


def _decision_row(decision: Decision, spent_us: int | None) -> rows.Row:
    moment, place = decision.moment, decision.moment.place
    return (
        decision.id,
        decision.decided_at_ms,
        moment.kind,
        moment.visitor,
        moment.visit,
        place.channel,
        place.screen or place.register or place.team,
        place.zone,
        decision.level,
        rows.products_json(tuple([each.scored.product for each in decision.chosen])),
        rows.products_json(decision.popular),
        decision.record,
        rows.campaigns_json(decision.campaigns),
        rows.campaigns_json(decision.missed),
        decision.tried,
        _told_with(decision),
        spent_us,
    )


def _told_with(decision: Decision) -> VisitorId | None:
    """Returns who else was told something, with the visitor who was taken for him."""
    moment = decision.moment
    is_other = moment.counts_to not in {None, moment.visitor}
    return moment.counts_to if is_other and contact_from(decision) is not None else None


def _expose(decision: Decision, pending: PendingRows, state: StateStore) -> None:
    moment, unit, at_ms = decision.moment, decision.unit, decision.decided_at_ms
    carrier = decision.exposed
    if carrier is None or unit is None:
        return
    for each in decision.assignments:
        if not state.decisions.note_exposed(carrier, unit, each.campaign):
            continue
        goal, products = rows.goal_of(each.products)
        pending.add("goal", (goal, products, at_ms))
        who = (carrier, each.campaign, unit, moment.counts_to)
        pending.add("exposure", (*who, each.arm, each.share, goal, at_ms))
