"""Periods that are over: their summaries, and the gateway's own state with them, go to HQ."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from edge_agent.domain.effects import SendToHq
from edge_agent.wire import topics

if TYPE_CHECKING:
    from collections.abc import Callable

    from edge_agent.runner.commits import Commits
    from edge_agent.runner.road import Road
    from edge_agent.runner.summarise import Summariser
    from edge_agent.runner.taking import Taking
    from edge_agent.wire.summaries import GatewayState


class Periods:
    """Closes periods, each in a batch of its own."""

    def __init__(
        self,
        *,
        road: Road,
        summariser: Summariser,
        taking: Taking,
        commits: Commits,
        state_of: Callable[[int], GatewayState],
    ) -> None:
        self._present = road.present
        self._outgoing = road.outgoing
        self._summariser = summariser
        self._taking = taking
        self._commits = commits
        self._state_of = state_of
        self._present.closed_until_ms = summariser.closed_until_ms

    @property
    def is_due(self) -> bool:
        """Whether a period is over that was not closed yet."""
        return self._summariser.is_due(self._present.now_ms)

    def close(self) -> None:
        """Closes what is over."""
        starts = self._summariser.due(self._present.now_ms)
        for start_ms in starts:
            # The gateway's own state goes with the last of them, in one transaction: an end in
            # between must leave neither without the other.
            is_last = start_ms == starts[-1]
            self._summarise(start_ms, with_state=is_last)
            self._commits.commit(partial(self._summarise, start_ms, with_state=is_last), [])
        if self._present.closed_until_ms != self._summariser.closed_until_ms:
            self._present.closed_until_ms = self._summariser.closed_until_ms
            self._present.set_now(self._present.now_ms)

    def _summarise(self, start_ms: int, *, with_state: bool) -> None:
        self._taking.begin()
        if with_state:
            self._report()
        for summary in self._summariser.make(start_ms):
            self._outgoing.send_to_hq(
                SendToHq(
                    message_id=summary.summary_id,
                    topic=self._summariser.topic(summary),
                    payload=summary.model_dump_json().encode(),
                    kind=summary.kind,
                )
            )

    def _report(self) -> None:
        """Queues the gateway's own state for HQ, once a period."""
        state = self._state_of(self._summariser.closed_until_ms)
        self._outgoing.send_to_hq(
            SendToHq(
                message_id=state.state_id,
                topic=topics.hq_up(state.store, "state"),
                payload=state.model_dump_json().encode(),
                kind="state",
            )
        )
