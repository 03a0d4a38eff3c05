"""A wiped session: an acknowledgement belongs to the connection that its message came over."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.e2e.stale import (
    FIRST_WAVE,
    SECOND_WAVE,
    Wipe,
    by_restart,
    by_take_over,
    run_with_wiped_session,
)

pytestmark = pytest.mark.broker


@pytest.mark.parametrize("wipe", [by_restart, by_take_over])
def test_wiped_session_loses_nothing_and_gets_no_stale_acknowledgement(
    tmp_path: Path, wipe: Wipe
) -> None:
    """Every event of both waves is kept once, and no old packet id is acknowledged anew."""
    run = run_with_wiped_session(tmp_path, wipe)
    assert run.lost == []
    assert run.foreign_acks == []
    assert run.n_entries == FIRST_WAVE + SECOND_WAVE
