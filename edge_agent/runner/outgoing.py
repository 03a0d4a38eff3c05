"""Messages that the open batch sends: rows of the outbox, which leave once they are committed."""

from __future__ import annotations

from typing import TYPE_CHECKING

from edge_agent.domain.effects import Publish, SendToHq
from edge_agent.wire import topics
from edge_agent.wire.summaries import Confirmation

if TYPE_CHECKING:
    from edge_agent.ports import UnitOfWork
    from edge_agent.runner.present import Present
    from edge_agent.runner.settings import RoadSettings


class Outgoing:
    """Queues messages for the store's broker or HQ.

    Attributes:
        messages: One for each row of the outbox, in order; None for what goes to HQ.
        is_urgent: Whether something in the open batch must not wait for company.
    """

    def __init__(self, settings: RoadSettings, unit: UnitOfWork, present: Present) -> None:
        self._settings = settings
        self._unit = unit
        self._present = present
        self.messages: list[Publish | None] = []
        self.is_urgent = False

    def begin_batch(self) -> None:
        """Starts a batch: it sends nothing yet."""
        self.messages.clear()
        self.is_urgent = False

    def send_to_store(self, message: Publish) -> None:
        """Queues a message for the store, which may wait for company."""
        row = (
            "store",
            message.topic,
            message.payload,
            int(message.retain),
            message.expires_at_ms,
            message.correlation,
            None,
            "publish",
            message.about,
        )
        self._unit.add("outbox", row)
        self.messages.append(message)

    def send_to_store_soon(self, message: Publish) -> None:
        """Queues a message for the store that somebody waits for."""
        self.is_urgent = True
        self.send_to_store(message)

    def send_to_hq(self, message: SendToHq) -> None:
        """Queues a message for HQ, if there is one."""
        if not self._settings.has_hq:
            return
        row = ("hq", message.topic, message.payload, 0, None, None)
        self._unit.add("outbox", (*row, message.message_id, message.kind, message.visitor))
        if message.visitor is not None:
            now_ms = self._present.now_ms
            sent = (message.visitor, now_ms, message.message_id, message.payload)
            self._unit.add("customer_sent", sent)
        self.messages.append(None)

    def confirm(self, command: str, reason: str | None) -> None:
        """Tells HQ what became of its command.

        Args:
            command: Its id.
            reason: Why it was refused; None when it was taken.
        """
        store = self._settings.store
        outcome = "taken" if reason is None else "refused"
        confirmation = Confirmation(
            confirm_id=f"{command}.{outcome}"[:128],
            store=store,
            command=command,
            outcome="taken" if reason is None else "refused",
            reason=reason or "",
        )
        self.is_urgent = True
        self.send_to_hq(
            SendToHq(
                message_id=confirmation.confirm_id,
                topic=topics.hq_up(store, "confirm"),
                payload=confirmation.model_dump_json().encode(),
                kind="confirm",
            )
        )
