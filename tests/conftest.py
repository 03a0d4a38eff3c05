"""What every test may ask for: Hypothesis profiles, the size of a run, a real broker."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import settings

from tests.integration.broker import Broker, running_broker

settings.register_profile("dev", max_examples=50, deadline=None)
# What `make test` asks for (tests/tools/lanes.py): a change fails by what it changed, not by the
# luck of its draw. New examples are drawn by everybody's single runs, and by the soak.
settings.register_profile("fixed", max_examples=50, derandomize=True, deadline=None)
settings.register_profile("deep", max_examples=5000, deadline=None)

SOAK = os.environ.get("EDGE_AGENT_SOAK") == "1"
settings.load_profile("deep" if SOAK else "dev")


@pytest.fixture(scope="session")
def soak() -> bool:
    """Whether this run is `make soak`: full sizes instead of small ones."""
    return SOAK


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[Broker]:
    """A real mosquitto that lets everyone do everything."""
    with running_broker(tmp_path / "broker") as running:
        yield running
