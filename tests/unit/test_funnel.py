"""What became of what a place said, as HQ is told of it: each answer as often as it was given."""

from __future__ import annotations

from edge_agent.sync.summaries import funnel_cells


def test_a_redeemed_offer_of_two_products_is_one_redemption_and_two_purchases_are_two() -> None:
    """An offer is redeemed as a whole; what is bought is bought one by one."""
    decisions = [(each, "dairy-1", f"v{each}", 3) for each in ("d1", "d2")]
    outcomes = [("d1", "bought")] * 2 + [("d1", "redeemed")] * 2 + [("d2", "redeemed")]
    (cell,) = funnel_cells(decisions, outcomes)
    assert cell.counts == {"decisions": 2, "items": 6, "bought": 2, "redeemed": 2}
