"""The page for vendors says what the command checks, and every place that it names is there."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from edge_agent.conformance.contract import SCREEN, TILL
from edge_agent.conformance.findings import Check

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "hardware" / "CONFORMANCE.md").read_text(encoding="utf-8")
GENERATED = ROOT / "edge_agent" / "wire" / "generated"
CHECKS = (*SCREEN.values(), *TILL.values())


def test_page_has_a_row_for_every_check_and_no_other() -> None:
    """Name, what must hold and place stand there as the command prints them."""
    rows = re.findall(r"^\| `([a-z-]+)` \| (.+) \| (.+) \|$", PAGE, flags=re.MULTILINE)
    assert rows == [(each.name, each.expected, each.place) for each in CHECKS]


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.name)
def test_place_of_a_check_is_in_the_documents(check: Check) -> None:
    """A schema is a file, a topic a row, a rule a heading."""
    document, _, part = check.place.partition(", ")
    if document == "hardware/CONFORMANCE.md":
        assert f"\n### {part}\n" in PAGE
    elif document == "topics.md" and part.startswith("store/"):
        assert f"| `{part}` |" in (GENERATED / document).read_text(encoding="utf-8")
    else:
        assert (GENERATED / document).is_file()
