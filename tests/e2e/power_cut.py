"""Cuts the power of a recorded morning at random instants and looks at what is left."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Final

from edge_agent.errors import StoreError
from edge_agent.shell.sqlite_db import open_for_writing
from tests.e2e.disk_recorder import (
    LOSSES,
    Acknowledge,
    Disk,
    Loss,
    Step,
    steps_from,
    tracer,
    wait_noted,
)
from tests.e2e.store import running_store
from tests.e2e.stream import Morning

LOST_SHOWN: Final = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class Recording:
    """A morning's writes and acknowledgements, in order, and the folder that they were in."""

    steps: list[Step]
    folder: Path


@dataclass(frozen=True, slots=True, kw_only=True)
class Image:
    """What a power cut left.

    Attributes:
        folder: The state folder as found when the power is back.
        at_step: Where the cut was.
        acknowledged: Marks of the events that the broker had forgotten by then.
    """

    folder: Path
    at_step: int
    loss: Loss
    acknowledged: frozenset[int]


def record(folder: Path, day: Morning, *, fault: str | None = None) -> Recording:
    """Runs a morning under the tracer, from an empty folder to an orderly end."""
    note = folder / "calls.txt"
    with running_store(folder, fault=fault, under=tracer(note)) as store:
        store.start_agent()
        store.open_day(day)
        store.publish(day.day)
        store.close_day()
        wait_noted(note)
        state = store.database.parent
        steps = steps_from(note, folder=state, broker_port=store.link.port)
    return Recording(steps=steps, folder=state)


def images(recording: Recording, folder: Path, *, n: int, seed: int) -> Iterator[Image]:
    """Yields disk images of so many cuts, in order of time; each is gone when the next one comes.

    Half of the cuts are anywhere, half right after an acknowledgement, where it hurts most.
    """
    chance = Random(seed)
    steps = recording.steps
    told = [at + 1 for at, step in enumerate(steps) if isinstance(step, Acknowledge)]
    cuts = sorted(chance.sample(range(len(steps)), n - n // 2) + chance.choices(told, k=n // 2))
    disk, done = Disk(), 0
    for cut in cuts:
        for step in steps[done:cut]:
            disk.take(step)
        done = cut
        loss = chance.choice(LOSSES)
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        disk.write_image(folder, under=str(recording.folder), loss=loss, chance=chance)
        yield Image(
            folder=folder, at_step=cut, loss=loss, acknowledged=frozenset(disk.acknowledged)
        )


def faults_of(image: Image) -> list[str]:
    """Returns what is wrong with an image; empty when it is sound and nothing is missing."""
    where = f"cut at step {image.at_step}, unsynced writes {image.loss}"
    try:
        with closing(open_for_writing(image.folder / "state.db")) as database:
            (said,) = database.execute("PRAGMA integrity_check").fetchone()
            kept = {int(mark) for (mark,) in database.execute("SELECT mark FROM inbox")}
    except StoreError as error:
        return [f"{where}: {error}"]
    told = [] if said == "ok" else [f"{where}: {said}"]
    lost = image.acknowledged - kept
    if lost:
        told.append(f"{where}: {len(lost)} of {len(image.acknowledged)} acknowledged events lost")
    return told


def n_acknowledged(recording: Recording) -> int:
    """Returns how many events the broker was told to forget."""
    return sum(isinstance(step, Acknowledge) for step in recording.steps)
