"""A broker inside the wheel, for the demo, development and quick tests; a store runs mosquitto.

`iotcore` (rumqttd) serves MQTT 5 on one loopback port. Its other listeners are left off: they
crash on messages with MQTT 5 properties.
"""

from __future__ import annotations

import socket
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Final, Self

from edge_agent.errors import BrokerError

if TYPE_CHECKING:
    from types import TracebackType

    from iotcore import Broker

LOOPBACK: Final = "127.0.0.1"
START_TIMEOUT_S: Final = 20.0

# rumqttd's own names. Segments bound its memory: the newest 100 MiB of each filter are kept.
_CONFIG = """\
id = 0

[router]
id = 0
max_connections = 1000
max_outgoing_packet_count = 10000
max_segment_size = 10485760
max_segment_count = 10

[v5.1]
name = "v5"
listen = "{host}:{port}"
next_connection_delay_ms = 1

[v5.1.connections]
connection_timeout_ms = 60000
max_payload_size = 1048576
max_inflight_count = 1000
dynamic_filters = true
"""


class EmbeddedBroker:
    """A broker in a child process that ends with this one.

    Raises:
        BrokerError: `iotcore` is not installed or its broker does not come up.
    """

    def __init__(self, *, port: int = 0) -> None:
        self.host = LOOPBACK
        self.port = port or _free_port()
        self._folder = tempfile.TemporaryDirectory(prefix="edge-agent-broker-")
        self._broker: Broker | None = None

    def start(self) -> None:
        """Starts the broker and returns when it answers."""
        try:
            from iotcore import Broker  # noqa: PLC0415 - an extra that a gateway does not have
        except ImportError as error:
            raise BrokerError(
                "the embedded broker is not installed",
                hint="pip install 'edge-agent[demo]'",
            ) from error
        path = Path(self._folder.name) / "broker.toml"
        path.write_text(_CONFIG.format(host=self.host, port=self.port), encoding="utf-8")
        self._broker = Broker(config_path=str(path))
        try:
            self._broker.start(timeout=START_TIMEOUT_S)
        except (OSError, RuntimeError) as error:
            self._folder.cleanup()
            raise BrokerError(
                f"the embedded broker does not start: {error}",
                hint=f"is port {self.port} free? give another with --port",
            ) from error

    def stop(self) -> None:
        """Stops the broker and frees its port."""
        if self._broker is not None:
            self._broker.stop()
            self._broker = None
        self._folder.cleanup()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind((LOOPBACK, 0))
        port: int = probe.getsockname()[1]
        return port
