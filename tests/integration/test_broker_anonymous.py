"""The shipped broker lets nobody in without a name, by `allow_anonymous false` alone.

`use_username_as_clientid` refuses whoever has no name as well, and would hide it if that line were
lost. Here it is taken away, so that each of the two is seen to hold by itself.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import pytest

from provisioning import enrol
from tests.integration.broker import Broker, free_port
from tests.integration.enrolled import Client, Login, RefusedError, Store, now, shipped_config

pytestmark = pytest.mark.broker

BY_NAME: Final = "use_username_as_clientid true\n"
NOBODY: Final = "allow_anonymous false\n"


@contextmanager
def store_without(folder: Path, *lines: str) -> Iterator[Store]:
    """A store whose broker has the shipped configuration but for some lines."""
    enrol.initialise(folder, "s1", hosts=["127.0.0.1"], now=now())
    ports = (free_port(), free_port())
    config = shipped_config(folder, ports)
    for line in lines:
        assert line in config
        config = config.replace(line, "")
    if NOBODY in lines:
        config += "allow_anonymous true\n"
    broker = Broker(folder=folder, config=config)
    broker.start()
    try:
        yield Store(
            folder=folder, broker=broker, certificate_port=ports[0], password_port=ports[1]
        )
    finally:
        broker.stop()


def come_in_without_a_name(store: Store) -> int:
    """Returns on how many of the listeners that take passwords an anonymous client is let in."""
    n_in = 0
    for port, tls in ((store.broker.port, None), (store.password_port, store.context())):
        try:
            with Client(Login(port=port, name="", tls=tls), client_id="anybody"):
                n_in += 1
        except RefusedError:
            continue
    return n_in


@pytest.mark.parametrize(
    ("lines", "n_in"),
    [((BY_NAME,), 0), ((NOBODY,), 0), ((BY_NAME, NOBODY), 2)],
    ids=["anonymous-refused", "nameless-refused", "neither"],
)
def test_each_of_two_lines_keeps_the_nameless_out(
    tmp_path: Path, lines: tuple[str, ...], n_in: int
) -> None:
    """Without one of them nobody comes in; without both, everybody does."""
    with store_without(tmp_path / "broker", *lines) as store:
        assert come_in_without_a_name(store) == n_in
