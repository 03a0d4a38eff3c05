"""Structured logs: one JSON object a line on standard error, static names, values as fields."""

from __future__ import annotations

import json
import logging
import sys
from typing import Final

from typing_extensions import override

_STANDARD: Final = "edge_agent"


class _JsonFormatter(logging.Formatter):
    @override
    def format(self, record: logging.LogRecord) -> str:
        line: dict[str, object] = {"level": record.levelname.lower(), "event": record.getMessage()}
        fields = getattr(record, "fields", None)
        if isinstance(fields, dict):
            line.update(fields)
        if record.exc_info and record.exc_info[0] is not None:
            # The kind and place of an error; its text may quote what a device sent.
            line["error"] = record.exc_info[0].__name__
            trace = record.exc_info[2]
            while trace is not None and trace.tb_next is not None:
                trace = trace.tb_next
            if trace is not None:
                line["at"] = f"{trace.tb_frame.f_code.co_filename}:{trace.tb_lineno}"
        return json.dumps(line, default=str)


def set_up(level: str = "info") -> None:
    """Sends this package's logs to standard error; systemd adds the time."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_JsonFormatter())
    logger = logging.getLogger(_STANDARD)
    logger.handlers[:] = [handler]
    logger.setLevel(level.upper())
    logger.propagate = False
