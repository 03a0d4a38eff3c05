"""When Python looks for cycles of objects: at the ends of batches, where nobody waits for it.

By itself it looks after every 700 new objects, in the midst of a decision as well: one decision in
fifty took a fifth longer. What is looked through at the end of a batch is the same. Within a
batch it still begins by itself where very much is new, so that no flood fills the memory.
"""

from __future__ import annotations

import gc
from typing import Final

# Of new objects, and of looks at the youngest: Python's own numbers.
_DUE: Final = (700, 10)
_WITHIN_A_BATCH: Final = 50_000


def leave_to_batches() -> None:
    """Lets it look by itself only in a flood, and never through what is there already."""
    # A full look through it all would take 20 to 70 ms.
    gc.collect()
    gc.freeze()
    gc.set_threshold(_WITHIN_A_BATCH)


def collect_due() -> None:
    """Looks through what is new, at the end of a batch, if that is much."""
    young, middle, _ = gc.get_count()
    if young >= _DUE[0]:
        gc.collect(1 if middle >= _DUE[1] else 0)


def collect_all() -> None:
    """Looks through everything since the start; for an idle moment now and then."""
    gc.collect()
