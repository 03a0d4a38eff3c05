"""How a configured link is made: its section of a file, with its secrets read."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from edge_agent.errors import ConfigError
from edge_agent.shell.mqtt_client import LinkSettings, Will

if TYPE_CHECKING:
    from edge_agent.config import LinkSection


def link_settings(
    section: LinkSection,
    *,
    key: str,
    client_id: str,
    session_expiry_s: int,
    will: Will | None = None,
) -> LinkSettings:
    """Returns how to connect; the password comes from its file.

    Args:
        section: What the configuration says.
        key: How the configuration calls the section.
        client_id: For a section that names none.
        session_expiry_s: How long the broker keeps the session; 0 for none at all.
        will: What the broker says when the link is lost.

    Raises:
        ConfigError: The password's file cannot be read.
    """
    password = None
    if section.password_file is not None:
        password = secret_of(Path(section.password_file), f"{key}.password_file")
    return LinkSettings(
        host=section.host,
        port=section.port,
        client_id=section.client_id or client_id,
        username=section.username,
        password=password,
        ca_file=_path(section.ca_file),
        cert_file=_path(section.cert_file),
        key_file=_path(section.key_file),
        keepalive_s=section.keepalive_s,
        session_expiry_s=session_expiry_s,
        clean_start=session_expiry_s == 0,
        will=will,
    )


def secret_of(path: Path, key: str) -> str:
    """Returns the text of a secret's file, without the line end.

    Args:
        path: The file.
        key: How the configuration calls it.

    Raises:
        ConfigError: It cannot be read, or is empty.
    """
    try:
        text = path.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{key}: cannot read {path}: {error}") from error
    if not text:
        raise ConfigError(f"{key}: {path} is empty", hint="put the secret into it")
    return text


def _path(text: str | None) -> Path | None:
    return None if text is None else Path(text)
