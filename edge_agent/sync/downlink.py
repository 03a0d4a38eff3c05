"""Whether a command whose signature holds is obeyed: for us, in time, newer than the last."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from edge_agent.domain.time import ms_from_datetime

if TYPE_CHECKING:
    from edge_agent.wire.downlink import AnyCommand

ALL_STORES: Final = "all"


def refusal_of(
    command: AnyCommand, *, store: str, topic_kind: str, now_ms: int, last_version: int | None
) -> str | None:
    """Returns why a command is refused; None when it is to be obeyed.

    Args:
        command: The command, its signature verified.
        store: This store.
        topic_kind: Last level of the topic it came on.
        now_ms: The agent's present.
        last_version: Highest version taken of the same kind and key; acks have none, because
            deleting a row twice does nothing.
    """
    if command.store not in {store, ALL_STORES}:
        return "for another store"
    if command.kind != topic_kind:
        return "came on the topic of another kind"
    if ms_from_datetime(command.expires_at) <= now_ms:
        return "expired"
    if last_version is not None and command.version <= last_version:
        return "not newer than the last one"
    return None
