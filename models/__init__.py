"""Training and evaluation of the ranker; run from the repository, not installed."""

from __future__ import annotations

import sys
from types import TracebackType


def _tell(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    """Says what to run where a library of training's is not there; else as Python does."""
    missing = error.name if isinstance(error, ModuleNotFoundError) else None
    if missing is None or missing.partition(".")[0] == __name__:
        sys.__excepthook__(kind, error, trace)
        return
    advice = "run `make train-env`, then this command with .venv/bin/python"
    sys.stderr.write(f"{missing} is not installed here: {advice}\n")


# As `python -m models.train` this is imported before any of its libraries is.
if sys.argv[0] == "-m":
    sys.excepthook = _tell
