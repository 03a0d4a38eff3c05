"""Power cuts: whatever the disk kept of unsynced writes, no acknowledged event is missing."""

from __future__ import annotations

from pathlib import Path
from secrets import randbits
from typing import Final

import pytest

from tests.e2e.agent_process import SET_ASIDE
from tests.e2e.power_cut import Recording, faults_of, images, n_acknowledged, record
from tests.e2e.store import running_store
from tests.e2e.stream import morning

pytestmark = pytest.mark.broker

IMAGES: Final = 40
SOAK_IMAGES: Final = 500
BASKETS: Final = 8
BOOTS: Final = 3
SOAK_BOOTS: Final = 50


@pytest.fixture(scope="module")
def recording(tmp_path_factory: pytest.TempPathFactory) -> Recording:
    """A morning's writes, syncs and acknowledgements."""
    return record(tmp_path_factory.mktemp("recorded"), morning(baskets=BASKETS))


def test_no_acknowledged_event_is_missing_from_any_disk_image(
    tmp_path: Path, recording: Recording, *, soak: bool
) -> None:
    """Every image is a sound database with every event that the broker has forgotten."""
    day = morning(baskets=BASKETS)
    n_events = sum("/event/" in each.topic for each in (*day.opening, *day.day))
    assert n_acknowledged(recording) == n_events, "the record misses acknowledgements"
    seed = randbits(32)
    print(f"power-cut seed {seed}")
    told: list[str] = []
    n_images = SOAK_IMAGES if soak else IMAGES
    for image in images(recording, tmp_path / "image", n=n_images, seed=seed):
        told += faults_of(image)
    assert not told, f"seed {seed}\n" + "\n".join(told)


def test_agent_boots_from_any_disk_image(
    tmp_path: Path, recording: Recording, *, soak: bool
) -> None:
    """The agent itself starts on what a power cut left, and goes on with that database."""
    seed = randbits(32)
    print(f"power-cut seed {seed}")
    n_boots = SOAK_BOOTS if soak else BOOTS
    with running_store(tmp_path) as store:
        for _ in images(recording, store.database.parent, n=n_boots, seed=seed):
            store.start_agent()
            store.agent.kill()
        assert SET_ASIDE not in {each["event"] for each in store.agent.events()}
