"""HQ's commands to the stores: versioned, expiring, signed, sent.

A version is the time in milliseconds, or one more than the last of its kind and key when the
clock has not moved on; HQ's database remembers it, whichever process sends. It is counted over all
stores together, so that a command to `all` and one to a store compare rightly.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import re
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final, get_args

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from pydantic import ValidationError

from edge_agent.errors import BrokerError, HqError
from edge_agent.hq.clock import utc_now
from edge_agent.hq.store import HqStore
from edge_agent.shell.mqtt_client import LinkSettings, MqttLink, connect_or_raise
from edge_agent.shell.signing import DEMO_KEY_ID, sign_command
from edge_agent.wire import topics
from edge_agent.wire.base import Message
from edge_agent.wire.downlink import COMMAND, COMMAND_TYPES, AnyCommand

# As long as the broker keeps a store's session; a store that is away longer is sent it again.
VALID_FOR: Final = timedelta(days=7)
ALL_STORES: Final = "all"
DEFAULT_KEY: Final = "-"
ID_CHARACTERS: Final = 32
_STORE: Final = re.compile(r"[^/+#\x00-\x1f]{1,128}")
_KEY_PURPOSE: Final = b"edge-agent: versions of a customer's commands"

KINDS: Final[tuple[str, ...]] = tuple(
    str(get_args(each.model_fields["kind"].annotation)[0]) for each in COMMAND_TYPES
)
# The part of a body that its version counts. Absent: one count for the kind.
_KEY_FIELD: Final[Mapping[str, str]] = {
    "campaign": "campaign",
    "journey": "name",
    "segment": "name",
    "config": "name",
    "fact": "name",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Draft:
    """What HQ wants to say, before it has a version.

    Attributes:
        store: The store, or `all`.
        kind: One of `KINDS`.
        body: The kind's body as JSON values, or as its model.
        key: What the version counts; None for the kind's own rule.
    """

    store: str
    kind: str
    body: Mapping[str, Any] | Message
    key: str | None = None
    valid_for: timedelta = VALID_FOR


class CommandWriter:
    """Turns drafts into commands with versions that only rise.

    Args:
        store: HQ's database.
        signing_key: HQ's private key; it also hides loyalty numbers in a version's key.
        now: HQ's clock.
    """

    def __init__(
        self,
        store: HqStore,
        signing_key: Ed25519PrivateKey,
        *,
        now: Callable[[], datetime] = utc_now,
    ) -> None:
        self._store = store
        self._now = now
        secret = signing_key.private_bytes_raw()
        self._subject_key = hmac.digest(secret, _KEY_PURPOSE, hashlib.sha256)

    def commands(self, drafts: Sequence[Draft]) -> tuple[AnyCommand, ...]:
        """Returns the drafts as commands, noted in HQ's database.

        Raises:
            HqError: A body is not of its kind; nothing was noted.
        """
        now = self._now()
        # Once before a version is spent, so that a bad body leaves no gap and no half batch.
        checked = [_command(draft, key=DEFAULT_KEY, version=1, now=now) for draft in drafts]
        pairs = [
            (command.kind, draft.key or self._key_of(command))
            for draft, command in zip(drafts, checked, strict=True)
        ]
        at_least = int(now.timestamp() * 1000)
        versions = self._store.next_versions(pairs, at_least=at_least)
        commands = tuple(
            _command(draft, key=key, version=version, now=now)
            for draft, (_, key), version in zip(drafts, pairs, versions, strict=True)
        )
        self._store.note_commands(commands)
        return commands

    def _key_of(self, command: AnyCommand) -> str:
        visitor = getattr(command.body, "visitor", None)
        if visitor is not None:
            text = f"{visitor.kind}\x00{visitor.value}".encode()
            return hmac.digest(self._subject_key, text, hashlib.sha256).hex()[:ID_CHARACTERS]
        field = _KEY_FIELD.get(command.kind)
        return str(getattr(command.body, field)) if field else DEFAULT_KEY


def publish_commands(
    link: MqttLink,
    commands: Sequence[AnyCommand],
    *,
    signing_key: Ed25519PrivateKey,
    key_id: str = DEMO_KEY_ID,
) -> None:
    """Signs commands and hands them to a link; the broker forgets each when it expires."""
    for command in commands:
        lifetime = command.expires_at - command.issued_at
        link.publish(
            topics.hq_down(command.store, command.kind),
            sign_command(command, key=signing_key, key_id=key_id),
            expiry_s=max(1, int(lifetime.total_seconds())),
            token=command.command,
        )


def send_commands(
    settings: LinkSettings,
    commands: Sequence[AnyCommand],
    *,
    signing_key: Ed25519PrivateKey,
    key_id: str = DEMO_KEY_ID,
    timeout_s: float = 10.0,
) -> None:
    """Connects, sends commands and returns when the broker has them all.

    Raises:
        BrokerError: The broker is not there or does not take them in time.
    """
    missing = {command.command for command in commands}
    all_there = threading.Event()

    def note(token: object) -> None:
        missing.discard(str(token))
        if not missing:
            all_there.set()

    link = MqttLink(settings, on_published=note)
    connect_or_raise(link, settings, timeout_s=timeout_s)
    try:
        publish_commands(link, commands, signing_key=signing_key, key_id=key_id)
        if commands and not all_there.wait(timeout_s):
            raise BrokerError(
                f"the broker took {len(commands) - len(missing)} of {len(commands)} commands",
                hint="look at the broker's log, then send again: a repeat is harmless",
            )
    finally:
        link.stop()


def _command(draft: Draft, *, key: str, version: int, now: datetime) -> AnyCommand:
    if not _STORE.fullmatch(draft.store):
        raise HqError(f"{draft.store!r} is no store's name", hint="as in s42, or all")
    body = draft.body.model_dump(mode="json") if isinstance(draft.body, Message) else draft.body
    name = "\x00".join((draft.store, draft.kind, key, str(version)))
    content = {
        "command": hashlib.sha256(name.encode()).hexdigest()[:ID_CHARACTERS],
        "store": draft.store,
        "version": version,
        "key": key,
        "issued_at": now.isoformat(),
        "expires_at": (now + draft.valid_for).isoformat(),
        "kind": draft.kind,
        "body": body,
    }
    try:
        # Through JSON: strict models read instants from text nowhere else.
        return COMMAND.validate_json(json.dumps(content))
    except ValidationError as error:
        places = sorted(
            f"{'.'.join(str(part) for part in each['loc'][1:])}: {each['msg']}"
            for each in error.errors(include_input=False, include_url=False)
        )
        raise HqError(
            f"not a {draft.kind} command: {'; '.join(places)}",
            hint=f"the fields are in the schema: edge-agent schema down.{draft.kind}",
        ) from error
