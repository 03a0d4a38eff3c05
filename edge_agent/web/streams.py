"""Who is listening, and what is news to each: a set of keys, never a queue.

A listener's mailbox holds the names of what changed, and the state is read when it is sent. So a
slow page gets the newest state, skips what it missed, and costs no more memory than a fast one.
"""

from __future__ import annotations

import asyncio
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

LISTENERS_MAX: Final = 256


class Mailbox:
    """What changed for one listener since it last looked."""

    def __init__(self, keys: frozenset[str] | None) -> None:
        self._keys = keys
        self._changed: set[str] = set()
        self._news = asyncio.Event()

    def put(self, changed: Iterable[str]) -> None:
        """Notes what changed, if it concerns this listener."""
        mine = set(changed) if self._keys is None else self._keys.intersection(changed)
        if mine:
            self._changed |= mine
            self._news.set()

    def wake(self) -> None:
        """Ends a wait, news or none."""
        self._news.set()

    async def take(self, *, timeout_s: float) -> frozenset[str]:
        """Returns what changed, empty when nothing did before the time was over."""
        try:
            async with asyncio.timeout(timeout_s):
                await self._news.wait()
        except TimeoutError:
            return frozenset()
        changed, self._changed = frozenset(self._changed), set()
        self._news.clear()
        return changed


class Listeners:
    """All open streams; belongs to one event loop."""

    def __init__(self) -> None:
        self._mailboxes: set[Mailbox] = set()
        self.is_closed = False

    def __len__(self) -> int:
        return len(self._mailboxes)

    @property
    def is_full(self) -> bool:
        """Whether another listener has to be refused."""
        return len(self._mailboxes) >= LISTENERS_MAX

    def tell(self, changed: Iterable[str]) -> None:
        """Tells every listener what changed."""
        keys = frozenset(changed)
        if keys:
            for mailbox in self._mailboxes:
                mailbox.put(keys)

    def close(self) -> None:
        """Ends every stream at its next look."""
        self.is_closed = True
        for mailbox in self._mailboxes:
            mailbox.wake()

    @contextmanager
    def listening(self, keys: frozenset[str] | None) -> Iterator[Mailbox]:
        """A mailbox for these keys (None: all), gone when the block ends."""
        mailbox = Mailbox(keys)
        if self.is_closed:
            mailbox.wake()
        self._mailboxes.add(mailbox)
        try:
            yield mailbox
        finally:
            self._mailboxes.discard(mailbox)
