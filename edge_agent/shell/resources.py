"""Files that come with the package: the released model bundle."""

from __future__ import annotations

from importlib import resources
from pathlib import Path

_IN_WHEEL = "data/models/artifacts"
_IN_TREE = "models/artifacts"


def released_bundle() -> Path | None:
    """Returns the folder of the bundle that this version was released with; None without one."""
    package = Path(str(resources.files("edge_agent")))
    for folder in (package / _IN_WHEEL, package.parent / _IN_TREE):
        if (folder / "manifest.json").exists():
            return folder
    return None
