"""The gateway's own environment: what its lock file names, and nothing else; built once."""

from __future__ import annotations

import hashlib
import subprocess
import sys
from pathlib import Path
from typing import Final

from tests.bench.setting import CACHE, ROOT, Setting

LOCK: Final = ROOT / "provisioning" / "requirements-gateway.txt"


def gateway_python(setting: Setting) -> str:
    """Returns the interpreter of an environment that holds the gateway's packages alone."""
    folder = CACHE / "gateway-venv"
    python, stamp = folder / "bin" / "python", folder / "lock.sha256"
    digest = hashlib.sha256(LOCK.read_bytes()).hexdigest()
    if not stamp.exists() or stamp.read_text(encoding="ascii") != digest:
        setting.say("building the gateway's environment")
        _build(folder, python)
        stamp.write_text(digest, encoding="ascii")
    return str(python)


def _build(folder: Path, python: Path) -> None:
    subprocess.run([sys.executable, "-m", "venv", "--clear", str(folder)], check=True)
    pip = [str(python), "-m", "pip", "--disable-pip-version-check", "--no-input", "-qq"]
    locked = ["install", "--no-deps", "--require-hashes", "-r", str(LOCK)]
    subprocess.run([*pip, *locked], check=True)
