"""One TOML file becomes frozen values. Every problem is reported at once, with file, line and key.

Unknown keys are errors: a misspelt limit must not silently be no limit. Secrets are never in the
file; it names the files (or systemd credentials) that hold them.
"""

from __future__ import annotations

import re
import tomllib
from base64 import urlsafe_b64decode
from collections.abc import Mapping
from dataclasses import fields, replace
from difflib import get_close_matches
from functools import partial
from pathlib import Path
from types import MappingProxyType
from typing import Annotated, Any, Final, Literal, TypeVar
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    TypeAdapter,
    ValidationError,
)

from edge_agent.domain.ids import RegisterId, ScreenId, SourceId, TeamId, ZoneId
from edge_agent.domain.policy import Policy, Retention
from edge_agent.domain.store import Layout, Register, Screen, Zone
from edge_agent.errors import ConfigError
from edge_agent.ingest.identifiers import RULES_WANTED, rules_of
from edge_agent.state.tolerances import DEFAULT, Tolerances

# A late event may change the period in which its visit began.
LONGEST_VISIT_S: Final = 43_200
DAY_S: Final = 86_400
_ModelT = TypeVar("_ModelT", bound=BaseModel)
_TABLE_LINE: Final = re.compile(r"^\s*\[+\s*([^\]]+?)\s*\]+")


class _Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


def _known_zone(name: str) -> str:
    try:
        ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError) as error:
        msg = "not a time zone's name, such as Europe/Helsinki"
        raise ValueError(msg) from error
    return name


def _known_codes(rules: str) -> str:
    if rules_of(rules) is None:
        msg = f"must be {RULES_WANTED}"
        raise ValueError(msg)
    return rules


def _numbers(kind: type[Any], value: Any) -> Any:
    if not isinstance(value, dict):
        return value
    known = {field.name for field in fields(kind)}
    unknown = sorted(set(value) - known)
    if unknown:
        near = get_close_matches(unknown[0], known, n=1)
        msg = f"unknown key {unknown[0]}" + (f", did you mean {near[0]}?" if near else "")
        raise ValueError(msg)
    return TypeAdapter(kind).validate_python(value)


FilePath = Annotated[str, Field(min_length=1)]
Level = Annotated[str, Field(min_length=1, max_length=64, pattern=r"^[^/+#\s]+$")]
Port = Annotated[int, Field(ge=1, le=65_535)]
Audience = Literal["public", "semi_private", "private"]
Scalar = str | int | float | bool


class StateSection(_Section):
    """Where the state lies and how well it is kept.

    `power-loss` syncs every commit; `process-crash` survives a kill but may lose the last
    acknowledged events when the power goes.
    """

    directory: FilePath = "/var/lib/edge-agent"
    durability: Literal["power-loss", "process-crash"] = "power-loss"


class LinkSection(_Section):
    """How to reach a broker, and as whom. TLS is used when `ca_file` is given.

    A connection that leads nowhere any more is noticed after twice `keepalive_s`.
    """

    host: str = "127.0.0.1"
    port: Port = 8_883
    client_id: str | None = None
    username: str | None = None
    password_file: FilePath | None = None
    ca_file: FilePath | None = None
    cert_file: FilePath | None = None
    key_file: FilePath | None = None
    keepalive_s: Annotated[int, Field(ge=5, le=600)] = 8


class HqSection(LinkSection):
    """The link to HQ, and the public keys whose commands are obeyed (base64url, by key id)."""

    keys: dict[str, str] = {}
    keepalive_s: Annotated[int, Field(ge=5, le=600)] = 30
    outbox_max_mb: Annotated[int, Field(ge=1, le=10_000)] = 64


class ModelSection(_Section):
    """The model bundle; without `bundle` the agent recommends what is popular."""

    bundle: FilePath | None = None
    public_key: str | None = None


class ZoneSection(_Section):
    """A part of the store."""

    name: str | None = None
    departments: tuple[str, ...] = ()
    entrance: bool = False
    exit: bool = False
    long_dwell_s: Annotated[int, Field(ge=10, le=7_200)] | None = None
    team: Level = "floor"


class ScreenSection(_Section):
    """A screen: the zone it hangs in, and who can see it."""

    zone: Level
    audience: Audience = "public"


class RegisterSection(_Section):
    """A till: the zone in which its customer stands."""

    zone: Level | None = None


# After how much silence a device is missed, by the wall clock, nights too; 0 is never.
Patience = Annotated[int, Field(ge=0, le=2_592_000)]


class DeviceSection(_Section):
    """How far a device may be off before it is told; what is left out is said by the next wider.

    Attributes:
        silent_after_s: It is missed after so much silence; without it, by its own rhythm.
        drift_people: Entries less exits of a day that are still none too many.
        drift_share: ... of all who passed.
        clock_ahead_s: How far its clock may be ahead.
        clock_behind_s: ... behind.
    """

    silent_after_s: Patience | None = None
    drift_people: Annotated[int, Field(ge=0, le=10_000)] | None = None
    drift_share: Annotated[float, Field(ge=0.0, le=1.0)] | None = None
    clock_ahead_s: Annotated[int, Field(ge=1, le=86_400)] | None = None
    clock_behind_s: Annotated[int, Field(ge=1, le=604_800)] | None = None

    @property
    def limits(self) -> dict[str, int | float]:
        """What is said of the device."""
        return self.model_dump(include=set(DeviceSection.model_fields), exclude_none=True)


class SourceSection(DeviceSection):
    """What is special about a source.

    Attributes:
        receipt: It is told when its event is on disk, and repeats until then (tills).
        audience: Who sees what it is answered; personal answers need `private`.
        channel: What it is, for whoever refuses offers on some channels only; without it, a no to
            any device is a no to this one.
    """

    receipt: bool = False
    audience: Audience = "public"
    channel: Literal["app", "handheld", "receipt", "screen"] | None = None


class MappingSection(DeviceSection):
    """A device mapping, and what this store adds to it, and to its devices' sections.

    Attributes:
        file: Its `mapping.toml`; without it, the one that was shipped under the section's name.
        settings: Values in place of the file's `[settings]`.
        tables: Rows added to the file's `[tables.NAME]`: device to zone, line to direction.
    """

    file: FilePath | None = None
    settings: dict[str, Scalar] = {}
    tables: dict[str, dict[str, Scalar]] = {}


class IngestSection(_Section):
    """Bounds of what is taken in.

    Attributes:
        batch_events: Most events in one transaction.
        quiet_wait_ms: Longest wait of a batch in which nothing asks for a decision.
        hold_back_s: How long events of people wait for others that happened before them. 0 answers
            at once; as long as the links' delay, decisions do not depend on the order of arrival.
        queue_messages: Messages in memory before the socket is no longer read.
        max_message_bytes: Larger messages are refused.
    """

    batch_events: Annotated[int, Field(ge=1, le=10_000)] = 1_000
    quiet_wait_ms: Annotated[int, Field(ge=0, le=1_000)] = 200
    hold_back_s: Annotated[float, Field(ge=0.0, le=30.0)] = 0.0
    queue_messages: Annotated[int, Field(ge=10, le=65_535)] = 4_000
    max_message_bytes: Annotated[int, Field(ge=1_000, le=16_777_216)] = 262_144


class Config(_Section):
    """Everything the agent is told at its start; mappings and rules alone are read again.

    Attributes:
        rules: The chain's `policy.toml`; without it, nothing changes what is decided.
        shadow_rules: Another one that is asked beside it on a share of decisions, and not heard.
    """

    store: Level
    timezone: Annotated[str, AfterValidator(_known_zone)]
    locale: Level = "en"
    currency: Annotated[str, Field(pattern=r"^[A-Z]{3}$")] = "EUR"
    in_store_codes: Annotated[str, AfterValidator(_known_codes)] | None = None
    rules: FilePath | None = None
    shadow_rules: FilePath | None = None
    clock: Literal["system", "replay"] = "system"
    seed: str = "0"
    log_level: Literal["debug", "info", "warning", "error"] = "info"
    state: StateSection = StateSection()
    broker: LinkSection = LinkSection()
    hq: HqSection | None = None
    model: ModelSection = ModelSection()
    ingest: IngestSection = IngestSection()
    zones: dict[Level, ZoneSection] = {}
    screens: dict[Level, ScreenSection] = {}
    registers: dict[Level, RegisterSection] = {}
    devices: DeviceSection = DeviceSection()
    sources: dict[Level, SourceSection] = {}
    mappings: dict[Level, MappingSection] = {}
    policy: Annotated[Policy, BeforeValidator(partial(_numbers, Policy))] = Policy()
    retention: Annotated[Retention, BeforeValidator(partial(_numbers, Retention))] = Retention()

    @property
    def zone_info(self) -> ZoneInfo:
        """The store's time zone."""
        return ZoneInfo(self.timezone)

    @property
    def database(self) -> Path:
        """The database file."""
        return Path(self.state.directory) / "state.db"

    @property
    def second_copy(self) -> Path:
        """The file that holds what people stated a second time."""
        return self.database.with_name(f"{self.database.name}.second")

    @property
    def model_directory(self) -> Path:
        """The folder of the installed bundles."""
        return Path(self.state.directory) / "models"

    @property
    def model_key(self) -> bytes | None:
        """The raw Ed25519 key that must have signed a bundle; None when none is demanded.

        Raises:
            ConfigError: The text is no such key.
        """
        text = self.model.public_key
        return None if text is None else raw_key(text, "model.public_key")

    @property
    def control_socket(self) -> Path:
        """Where the running agent is asked for what only it may do."""
        return Path(self.state.directory) / "control"

    @property
    def key_directory(self) -> Path:
        """The folder of the keys that pseudonyms are made with."""
        return Path(self.state.directory) / "keys"


def load(path: Path) -> Config:
    """Returns the configuration in a file.

    Raises:
        ConfigError: It is wrong; `problems` names every place.
    """
    try:
        found = path.read_bytes()
    except OSError as error:
        raise ConfigError(
            f"cannot read {path}: {error.strerror}",
            hint="give the file with --config; provisioning/agent.example.toml is a start",
        ) from error
    return parse(decoded(found, name=str(path)), name=str(path))


def decoded(found: bytes, *, name: str) -> str:
    """Returns the text of a file of settings; `name` is how problems call it.

    Raises:
        ConfigError: It is not UTF-8; the problem names the line.
    """
    try:
        # Some editors put a mark before the first line.
        return found.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = found[: error.start].count(b"\n") + 1
        what = f"{name}:{line}: is not UTF-8; save it so"
        raise ConfigError(f"{name} is wrong", problems=(what,)) from error


def parse(text: str, *, name: str) -> Config:
    """Returns the configuration in a text; `name` is how problems call it.

    Raises:
        ConfigError: It is wrong; `problems` names every place.
    """
    config = parsed_as(Config, text, name=name)
    problems = tuple(f"{name}:{line_of(text, place)}: {what}" for place, what in _dangling(config))
    if problems:
        raise ConfigError(f"{name} is wrong", problems=problems)
    return config


def parsed_as(model: type[_ModelT], text: str, *, name: str) -> _ModelT:
    """Returns a TOML text as a strict model, for this and every other file of settings.

    Raises:
        ConfigError: It is wrong; `problems` names every place.
    """
    try:
        document = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"{name} is no TOML: {error}", problems=(f"{name}: {error}",)) from error
    try:
        return model.model_validate(_tuples(document))
    except ValidationError as error:
        problems = tuple(
            f"{name}:{line_of(text, each['loc'])}: "
            f"{'.'.join(map(str, each['loc']))}: {each['msg']}"
            for each in error.errors(include_url=False, include_context=False)
        )
        raise ConfigError(f"{name} is wrong", problems=problems) from error


def raw_key(text: str, name: str) -> bytes:
    """Returns the 32 bytes of an Ed25519 public key in base64url.

    Raises:
        ConfigError: It is none; `name` is the key in the file that says it.
    """
    try:
        raw = urlsafe_b64decode(text + "=" * (-len(text) % 4))
        Ed25519PublicKey.from_public_bytes(raw)
    except ValueError as error:
        raise ConfigError(
            f"{name} is no Ed25519 public key", hint="32 bytes in base64url are wanted"
        ) from error
    return raw


def layout_of(config: Config) -> Layout:
    """Returns the store's zones, screens and registers."""
    zones = {
        ZoneId(name): Zone(
            id=ZoneId(name),
            name=zone.name or name,
            departments=zone.departments,
            is_exit=zone.exit,
            long_dwell_s=zone.long_dwell_s,
            team=TeamId(zone.team),
        )
        for name, zone in config.zones.items()
    }
    screens = {
        ScreenId(name): Screen(
            id=ScreenId(name), zone=ZoneId(screen.zone), audience=screen.audience
        )
        for name, screen in sorted(config.screens.items())
    }
    registers = {
        RegisterId(name): Register(
            id=RegisterId(name), zone=None if each.zone is None else ZoneId(each.zone)
        )
        for name, each in config.registers.items()
    }
    by_zone: dict[ZoneId, tuple[Screen, ...]] = {}
    for screen in screens.values():
        by_zone[screen.zone] = (*by_zone.get(screen.zone, ()), screen)
    return Layout(
        zones=MappingProxyType(zones),
        screens=MappingProxyType(screens),
        registers=MappingProxyType(registers),
        receipt_sources=frozenset(
            SourceId(name) for name, source in config.sources.items() if source.receipt
        ),
        audiences=MappingProxyType(
            {SourceId(name): source.audience for name, source in config.sources.items()}
        ),
        channels=MappingProxyType(
            {
                SourceId(name): source.channel
                for name, source in config.sources.items()
                if source.channel is not None
            }
        ),
        screens_by_zone=MappingProxyType(by_zone),
    )


def tolerances_of(config: Config, mappings: Mapping[str, MappingSection]) -> Tolerances:
    """Returns how far the store's devices may be off.

    Args:
        config: The configuration.
        mappings: Its mappings, which may have been loaded again since.
    """
    return Tolerances(
        everywhere=replace(DEFAULT, **config.devices.limits),  # type: ignore[arg-type] # the section's own types
        sources={name: each.limits for name, each in config.sources.items()},
        mappings={name: each.limits for name, each in mappings.items()},
    )


def line_of(text: str, place: tuple[int | str, ...]) -> int:
    r"""Returns the line of a key, or of the nearest table that is written down.

    Example:
        >>> line_of('store = "s"\n[state]\ndurability = "x"', ("state", "durability"))
        3
    """
    names = [str(step) for step in place]
    table: list[str] = []
    best, best_depth = 1, 0
    # As TOML counts them: other characters end a line for Python alone.
    for number, line in enumerate(text.replace("\r\n", "\n").split("\n"), start=1):
        header = _TABLE_LINE.match(line)
        if header is not None:
            table = [part.strip().strip("\"'") for part in header[1].split(".")]
            here = table
        else:
            key = line.partition("=")[0].strip().strip("\"'")
            here = [*table, *key.split(".")] if key and not key.startswith("#") else []
        depth = len(here)
        if here and here == names[:depth] and depth > best_depth:
            best, best_depth = number, depth
    return best


def _tuples(value: Any) -> Any:
    # TOML has arrays only; strict tuples want tuples.
    if isinstance(value, dict):
        return {key: _tuples(each) for key, each in value.items()}
    return tuple(_tuples(each) for each in value) if isinstance(value, list) else value


def _dangling(config: Config) -> list[tuple[tuple[str, ...], str]]:
    found: list[tuple[tuple[str, ...], str]] = []
    if config.ingest.hold_back_s >= config.policy.lateness_s:
        what = f"ingest.hold_back_s: must be below policy.lateness_s ({config.policy.lateness_s})"
        found.append((("ingest", "hold_back_s"), f"{what}, or what is held could not decide"))
    late_s = config.policy.correct_within_days * DAY_S + LONGEST_VISIT_S
    if config.retention.watermarks_days * DAY_S < late_s + config.policy.summary_period_s:
        what = "retention.watermarks_days: a late event may still change a period of before"
        found.append((("retention", "watermarks_days"), what))
    for name, screen in config.screens.items():
        if screen.zone not in config.zones:
            what = f"screens.{name}.zone: there is no zone {screen.zone!r}"
            found.append((("screens", name, "zone"), what))
    for name, register in config.registers.items():
        if register.zone is not None and register.zone not in config.zones:
            what = f"registers.{name}.zone: there is no zone {register.zone!r}"
            found.append((("registers", name, "zone"), what))
    return found
