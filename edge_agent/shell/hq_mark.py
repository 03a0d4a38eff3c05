"""When HQ was last heard, in a small file beside the database: what is left when that is lost.

Written once a day at most, so it may be a day older than the database's, never newer. A file that
is damaged, missing or from the future says nothing: HQ then counts as never heard.
"""

from __future__ import annotations

import logging
import os
from contextlib import suppress
from typing import TYPE_CHECKING, Final

from edge_agent.domain.time import DAY_MS

if TYPE_CHECKING:
    from pathlib import Path

log = logging.getLogger(__name__)

NEVER_MS: Final = 0


class HqMark:
    """The file.

    Args:
        path: Where it lies.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._kept_ms = NEVER_MS

    def read(self, *, now_ms: int) -> int:
        """Returns the instant, epoch milliseconds; `NEVER_MS` where it is not known.

        Args:
            now_ms: The present; 0 where it is not known yet.
        """
        with suppress(OSError, ValueError):
            # Twice: a changed byte must not make it newer.
            first, second = map(int, self._path.read_bytes().split())
            if first == second and NEVER_MS < first <= (now_ms or first):
                return first
        return NEVER_MS

    def keep(self, at_ms: int) -> None:
        """Writes the instant down, unless one of that day is."""
        if at_ms // DAY_MS == self._kept_ms // DAY_MS:
            return
        self._kept_ms = at_ms
        partial = self._path.with_name(f"{self._path.name}.partial")
        try:
            with partial.open("wb") as file:
                file.write(b"%d %d\n" % (at_ms, at_ms))
                file.flush()
                os.fsync(file.fileno())
            partial.rename(self._path)
        except OSError as error:
            # The older one stands: HQ counts as heard less lately than it was.
            log.warning("hq_mark_not_kept", extra={"fields": {"error": str(error)}})
