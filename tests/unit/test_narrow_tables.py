"""What `edge-agent status` compares is read whole on a terminal of eighty columns."""

from __future__ import annotations

from decimal import Decimal
from io import StringIO

import pytest
from rich.console import Console
from rich.table import Table

from edge_agent.cli.shadow_table import shadow_table
from edge_agent.cli.status import uplift_table
from edge_agent.domain.decisions import CONTROL, TREATED
from edge_agent.domain.uplift import ArmFigures, ArmTotals, uplifts_of

COLUMNS = 80
ZONE = {
    "zone": "bakery-and-pastry",
    "compared": 12_345,
    "same_first": 0.123,
    "same_set": 0.456,
    "difference_per_decision": -0.0829,
    "standard_error": 0.0021,
    "contacts_live": 12_345,
    "contacts_shadow": 12_344,
    "silences_live": 1,
    "silences_shadow": 2,
    "hits_live": 1_234,
    "hits_shadow": 1_233,
    "cases_with_a_purchase": 2_345,
    "unknowable": 7,
}
SHADOW = {"version": "s1", "problem": None, "stepped_out": None, "left_out": 0, "zones": [ZONE]}


def uplifts() -> Table:
    """Returns a table of one campaign in which everything is told."""
    totals = ArmTotals(n=1_234, total=Decimal(617), squares=Decimal(617))
    figures = [
        ArmFigures(
            campaign="cheese-week",
            share="0.5",
            arm=arm,
            totals={"bought": totals, "spend": totals},
        )
        for arm in (TREATED, CONTROL)
    ]
    return uplift_table(uplifts_of(figures))


@pytest.mark.parametrize("table", [shadow_table(SHADOW), uplifts()], ids=["shadow", "uplift"])
def test_no_figure_is_cut_where_the_terminal_is_narrow(table: Table) -> None:
    """A figure that does not fit goes on in the next line; none ends in three dots."""
    out = StringIO()
    Console(file=out, width=COLUMNS).print(table)
    assert "…" not in out.getvalue()
    assert max(len(line) for line in out.getvalue().splitlines()) <= COLUMNS
