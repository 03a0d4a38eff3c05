"""What follows from who stood before a screen, taken again from a decision's record."""

from __future__ import annotations

from typing import Any

from edge_agent.decide.audience import audience_before, company_from, held_together
from edge_agent.decide.eligibility import may_use_history


def as_allowed(told: dict[str, Any]) -> dict[str, Any]:
    """Returns a record as its people allow it: who sees it, what it may rest on.

    A record is right when it comes out unchanged. Before the public no history was used, an
    answer to several rests on what those have that it tells of, and who sees an answer follows
    from the screen and how many there were.

    Args:
        told: The record, decoded.

    Raises:
        ValueError, KeyError, TypeError, AttributeError: It is no whole record.
    """
    place, request = told["place"], told["request"]
    if told.get("company") is not None:
        company = company_from(told["company"])
        place = {**place, "audience": audience_before(company.audience, company.n_people)}
        if request is not None and company.held:
            request = {**request, "basket": list(held_together(company.held))}
    if request is not None and not may_use_history(place["audience"]):
        request = {**request, "history": []}
    return {**told, "place": place, "request": request}
