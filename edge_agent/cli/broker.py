"""What several commands ask of a broker on the command line: address, password, certificates."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from edge_agent.errors import ConfigError

MQTT_PORT: Final = 1883
MQTT_TLS_PORT: Final = 8883
PORT_MAX: Final = 65_535


def broker_address(text: str, *, is_tls: bool) -> tuple[str, int]:
    """Returns host and port of `HOST` or `HOST:PORT`.

    Raises:
        ConfigError: It is no address.
    """
    host, separator, port = text.rpartition(":")
    if not separator or text.endswith("]"):
        return text.strip("[]"), MQTT_TLS_PORT if is_tls else MQTT_PORT
    if not host or not port.isdecimal() or not 0 < int(port) <= PORT_MAX:
        raise ConfigError(
            f"--broker {text} is no address", hint="write HOST or HOST:PORT, as in 10.0.0.5:1883"
        )
    return host.strip("[]"), int(port)


def password_in(path: Path | None) -> str | None:
    """Returns the first line of a file; None when there is no file.

    Raises:
        ConfigError: It cannot be read.
    """
    if path is None:
        return None
    try:
        return path.read_text(encoding="utf-8").partition("\n")[0]
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(
            f"--password-file {path} cannot be read: {error}",
            hint="give a UTF-8 text file that this user may read",
        ) from error


def existing(path: Path | None, option: str) -> Path | None:
    """Returns a path whose file is there.

    Raises:
        ConfigError: It is not.
    """
    if path is not None and not path.is_file():
        raise ConfigError(f"{option} {path} does not exist", hint="give the path of a PEM file")
    return path
