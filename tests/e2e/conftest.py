"""What the end-to-end tests share: the size of a morning, and one run of it that nothing broke."""

from __future__ import annotations

from typing import Final

import pytest

from tests.e2e.store import Outcome, unbroken
from tests.e2e.stream import morning

BASKETS: Final = 24
SOAK_BASKETS: Final = 100


@pytest.fixture(scope="session")
def baskets(*, soak: bool) -> int:
    """How many of the day's receipts a morning holds."""
    return SOAK_BASKETS if soak else BASKETS


@pytest.fixture(scope="session")
def unbroken_morning(tmp_path_factory: pytest.TempPathFactory, baskets: int) -> Outcome:
    """What a run without faults leaves behind."""
    return unbroken(tmp_path_factory.mktemp("unbroken"), morning(baskets=baskets))
