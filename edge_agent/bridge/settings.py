"""The bridge's TOML file: every problem at once, with file, line and key."""

from __future__ import annotations

import ipaddress
import tomllib
from pathlib import Path
from typing import Annotated, Final, Literal

from pydantic import BaseModel, ConfigDict, Field

from edge_agent.bridge import templates
from edge_agent.bridge.signatures import Algorithm, Encoding
from edge_agent.config import FilePath, Level, LinkSection, line_of, parsed_as
from edge_agent.errors import ConfigError

HEALTH_PATH: Final = "/health"
Kind = Literal[
    "square", "shopify", "lightspeed", "loyverse", "zettle", "disruptive",
    "hmac", "bearer", "basic", "url_token", "none",
]  # fmt: skip
BodyBytes = Annotated[int, Field(ge=1, le=16_777_216)]
# Sections that no other file of this package has: how `edge-agent check` knows this one.
_OWN_SECTIONS: Final = frozenset({"http", "hooks", "folders"})
_NEEDED: Final[dict[str, tuple[str, ...]]] = {
    "square": ("secret_file", "url"),
    "shopify": ("secret_file",),
    "lightspeed": ("secret_file",),
    "loyverse": ("secret_file",),
    "zettle": ("secret_file",),
    "disruptive": ("secret_file",),
    "hmac": ("secret_file", "header"),
    "bearer": ("secret_file",),
    "basic": ("secret_file", "user"),
    "url_token": ("secret_file",),
    "none": (),
}
_ALLOWED: Final[dict[str, frozenset[str]]] = {
    "hmac": frozenset(
        {"algorithm", "encoding", "prefix", "signed", "timestamp_header", "tolerance_s"}
    ),
    "url_token": frozenset({"parameter"}),
}
_FOR_ALL: Final = frozenset({"kind", "path", "topic", "max_body_bytes"})

Problem = tuple[tuple[str, ...], str]


class _Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


class BrokerSection(LinkSection):
    """The store's broker.

    Attributes:
        needs_subscriber: A message that the broker took for nobody is not delivered: the sender is
            asked to repeat it, a file waits.
        answer_within_s: How long a request waits for the broker. Vendors give up after 5 s.
        pending_max: Messages that the broker has not acknowledged yet; beyond them nothing is
            taken.
    """

    needs_subscriber: bool = True
    answer_within_s: Annotated[float, Field(gt=0, le=60)] = 3.0
    pending_max: Annotated[int, Field(ge=1, le=10_000)] = 100


class HttpSection(_Section):
    """The HTTP listener, which also tells how the bridge is (`/health`, to this machine only).

    Attributes:
        retry_after_s: When a sender is asked to repeat what could not be delivered.
        read_within_s: How long a request's head may take to come, and then its body.
        connections_max: At once; more are turned away.
    """

    host: str = "127.0.0.1"
    port: Annotated[int, Field(ge=0, le=65_535)] = 8_490
    cert_file: FilePath | None = None
    key_file: FilePath | None = None
    max_body_bytes: BodyBytes = 262_144
    read_within_s: Annotated[float, Field(gt=0, le=120)] = 10.0
    retry_after_s: Annotated[int, Field(ge=1, le=3_600)] = 30
    connections_max: Annotated[int, Field(ge=4, le=4_096)] = 128


class HookSection(_Section):
    """One path that may be posted to, by whom, and the topic that its bodies go to."""

    kind: Kind
    path: str
    topic: str
    secret_file: FilePath | None = None
    max_body_bytes: BodyBytes | None = None
    url: Annotated[str, Field(pattern=r"^https?://[^\s{}]+$")] | None = None
    user: Annotated[str, Field(pattern=r"^[^:\s]+$")] | None = None
    parameter: Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]+$")] = "token"
    header: Annotated[str, Field(pattern=r"^[A-Za-z0-9-]+$")] | None = None
    algorithm: Algorithm = "sha256"
    encoding: Encoding = "hex"
    prefix: str = ""
    signed: str = "{body}"
    timestamp_header: Annotated[str, Field(pattern=r"^[A-Za-z0-9-]+$")] | None = None
    tolerance_s: Annotated[int, Field(ge=1, le=86_400)] = 300


class FolderSection(_Section):
    """One folder into which files are dropped, and the topic that their contents go to.

    Attributes:
        settle_s: A file whose size and time have not changed for so long is whole; 0 for senders
            that rename it into place.
        document: Also whole only when it can be read as this; `any` takes every file.
        complete_within_s: How long a settled file may still be no whole document.
        done_keep_days: How long delivered files are kept in `done`; 0 removes them at once.
    """

    path: FilePath
    topic: str
    pattern: str = "*"
    document: Literal["any", "xml", "json"] = "any"
    settle_s: Annotated[float, Field(ge=0, le=3_600)] = 2.0
    complete_within_s: Annotated[float, Field(ge=0, le=86_400)] = 60.0
    poll_s: Annotated[float, Field(gt=0, le=3_600)] = 1.0
    max_bytes: BodyBytes = 262_144
    done_keep_days: Annotated[int, Field(ge=0, le=366)] = 1
    done_keep_files: Annotated[int, Field(ge=0, le=1_000_000)] = 10_000
    refused_keep_days: Annotated[int, Field(ge=1, le=366)] = 30
    refused_keep_files: Annotated[int, Field(ge=1, le=100_000)] = 1_000


class BridgeConfig(_Section):
    """Everything the bridge is told at its start; nothing is read later."""

    log_level: Literal["debug", "info", "warning", "error"] = "info"
    broker: BrokerSection = BrokerSection()
    http: HttpSection = HttpSection()
    hooks: dict[Level, HookSection] = Field(default_factory=dict)
    folders: dict[Level, FolderSection] = Field(default_factory=dict)


def load(path: Path) -> BridgeConfig:
    """Returns the settings in a file.

    Raises:
        ConfigError: They are wrong; `problems` names every place.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(
            f"cannot read {path}: {error}",
            hint="give the file with --config; provisioning/bridge.example.toml is a start",
        ) from error
    return parse(text, name=str(path))


def parse(text: str, *, name: str) -> BridgeConfig:
    """Returns the settings in a text; `name` is how problems call it.

    Raises:
        ConfigError: They are wrong; `problems` names every place.
    """
    config = parsed_as(BridgeConfig, text, name=name)
    problems = tuple(
        f"{name}:{line_of(text, place)}: {'.'.join(place)}: {what}"
        for place, what in _problems(config)
    )
    if problems:
        raise ConfigError(f"{name} is wrong", problems=problems)
    return config


def is_bridge_file(text: str) -> bool:
    """Tells whether a TOML text is a bridge's file and not an agent's."""
    try:
        return not _OWN_SECTIONS.isdisjoint(tomllib.loads(text))
    except tomllib.TOMLDecodeError:
        return any(f"[{name}" in text for name in _OWN_SECTIONS)


def is_loopback(host: str) -> bool:
    """Tells whether an address is reached from this machine alone."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _problems(config: BridgeConfig) -> list[Problem]:
    found: list[Problem] = []
    http = config.http
    if (http.cert_file is None) != (http.key_file is None):
        key = "cert_file" if http.key_file is None else "key_file"
        found.append((("http",), f"{key} is missing: TLS needs both"))
    if not config.hooks and not config.folders:
        found.append((("hooks",), "nothing to bridge: write a [hooks.NAME] or a [folders.NAME]"))
    for name, hook in config.hooks.items():
        found += [(("hooks", name, key), what) for key, what in _hook_problems(hook, http)]
    for name, folder in config.folders.items():
        found += [(("folders", name, key), what) for key, what in _folder_problems(folder)]
    return [
        *found,
        *_repeated("hooks", "path", {name: hook.path for name, hook in config.hooks.items()}),
        *_repeated("folders", "path", {name: one.path for name, one in config.folders.items()}),
    ]


def _hook_problems(hook: HookSection, http: HttpSection) -> list[tuple[str, str]]:
    needed = _NEEDED[hook.kind]
    known = _FOR_ALL | set(needed) | _ALLOWED.get(hook.kind, frozenset())
    found = [
        (key, f"{key} is missing: kind {hook.kind} needs it")
        for key in needed
        if getattr(hook, key) is None
    ]
    found += [
        (key, f"{key} means nothing for kind {hook.kind}")
        for key in sorted(hook.model_fields_set - known)
    ]
    if hook.kind == "none" and not is_loopback(http.host):
        found.append(("kind", f"none is for this machine alone, and http.host is {http.host}"))
    if hook.signed.count("{body}") != 1:
        found.append(("signed", "it holds {body} once"))
    if (hook.timestamp_header is None) == ("{timestamp}" in hook.signed):
        what = "timestamp_header and {timestamp} in signed go together"
        found.append(("signed" if hook.timestamp_header is None else "timestamp_header", what))
    return found + _path_problems(hook)


def _path_problems(hook: HookSection) -> list[tuple[str, str]]:
    try:
        fields = templates.path_pattern(hook.path).fields
    except ValueError as error:
        return [("path", str(error))]
    if hook.path == HEALTH_PATH:
        return [("path", f"{HEALTH_PATH} is the bridge's own")]
    try:
        templates.topic_template(hook.topic, fields, has_headers=True)
    except ValueError as error:
        return [("topic", str(error))]
    return []


def _folder_problems(folder: FolderSection) -> list[tuple[str, str]]:
    if not Path(folder.path).is_absolute():
        return [("path", "an absolute path: where the bridge is started must not matter")]
    try:
        fields = templates.name_pattern(folder.pattern).fields
    except ValueError as error:
        return [("pattern", str(error))]
    try:
        templates.topic_template(folder.topic, fields, has_headers=False)
    except ValueError as error:
        return [("topic", str(error))]
    return []


def _repeated(section: str, key: str, values: dict[str, str]) -> list[Problem]:
    seen: dict[str, str] = {}
    found: list[Problem] = []
    for name, value in values.items():
        if value in seen:
            found.append(((section, name, key), f"{section}.{seen[value]} has the same"))
        seen.setdefault(value, name)
    return found
