"""What campaigns do, over all stores: the arms that stores told, added up."""

from __future__ import annotations

from collections import defaultdict
from decimal import Decimal
from typing import Any

from edge_agent.domain.decisions import CONTROL, TREATED
from edge_agent.domain.uplift import Uplift, uplifts_of
from edge_agent.hq.report import Comparison, Keys, Report
from edge_agent.sync.uplift import KIND, arm_figures
from edge_agent.sync.uplift_told import COLUMNS, NOTE, TITLE, document_of, texts_of


def uplifts_from(report: Report) -> tuple[Uplift, ...]:
    """Returns what each campaign does in the stores and on the days of a report.

    What is no arm of a campaign is left out: whatever one store sends, the others' figures stand.
    """
    counts: defaultdict[Keys, dict[str, int]] = defaultdict(dict)
    sums: defaultdict[Keys, dict[str, Decimal]] = defaultdict(dict)
    for each in report.figures:
        if each.kind != KIND or not _is_arm(_names(each.keys)):
            continue
        if each.what == "count":
            known = counts[each.keys]
            known[each.name] = known.get(each.name, 0) + int(each.value)
        elif each.what == "sum":
            added = sums[each.keys]
            added[each.name] = added.get(each.name, Decimal(0)) + each.value
    return uplifts_of(
        arm_figures(**_names(keys), counts=counted, sums=sums[keys])
        for keys, counted in sorted(counts.items())
    )


def uplift_table(report: Report) -> Comparison:
    """Returns the campaigns that have a control group, with what they do."""
    return Comparison(
        title=TITLE,
        first_column="campaign",
        columns=COLUMNS,
        rows=tuple((each.campaign, texts_of(each)) for each in uplifts_from(report)),
        shares=(),
        note=NOTE,
    )


def uplift_json(report: Report) -> list[dict[str, Any]]:
    """Returns the same for programs."""
    return [document_of(each) for each in uplifts_from(report)]


def _is_arm(names: dict[str, str]) -> bool:
    try:
        share = float(names["share"])
    except ValueError:
        return False
    return bool(names["campaign"]) and 0 <= share <= 1 and names["arm"] in {TREATED, CONTROL}


def _names(keys: Keys) -> dict[str, str]:
    named = dict(keys)
    return {name: named.get(name, "") for name in ("campaign", "share", "arm")}
