"""The validators that run on node; without them a test fails with the command to install them."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
SETUP = "sh tests/tools/setup.sh"
STOP_WITHIN_S = 10


def node(package: str) -> str:
    """Returns the path of node, when it and a package of tests/tools/package.json are there."""
    found = shutil.which("node")
    if found is None or not (ROOT / ".cache/tools/node_modules" / package).is_dir():
        pytest.fail(f"node or its package {package} is missing; run: {SETUP}")
    return found


def asyncapi_faults(documents: list[Path]) -> list[list[str]]:
    """Returns what the AsyncAPI project's own parser has against each document."""
    command = [node("@asyncapi/parser"), "tests/tools/asyncapi.mjs", *map(str, documents)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    faults: list[list[str]] = [json.loads(line) for line in done.stdout.splitlines()]
    assert len(faults) == len(documents), done.stderr
    assert done.returncode == int(any(faults)), done.stderr
    return faults


class SchemaValidator:
    """A running validator that knows some schemas by name."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process

    def faults(self, urn: str, value: Any) -> str:
        """Returns what a schema has against a value; empty when it is valid."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps([urn, value]) + "\n")
        self._process.stdin.flush()
        answer = self._process.stdout.readline().rstrip("\n")
        assert answer, "the validator has ended"
        return "" if answer == "valid" else answer


@contextmanager
def schema_validator(folder: Path) -> Iterator[SchemaValidator]:
    """Yields a validator that has read every schema and AsyncAPI document of a folder."""
    files = sorted(str(path) for path in folder.glob("*.json"))
    command = [node("ajv"), str(ROOT / "tests/contract/json_schema.mjs"), *files]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, cwd=ROOT, stdin=pipe, stdout=pipe, text=True) as process:
        yield SchemaValidator(process)
        assert process.stdin is not None
        process.stdin.close()
        process.wait(timeout=STOP_WITHIN_S)
