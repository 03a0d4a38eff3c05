"""Files that come with the package: the released model bundle and the device mappings."""

from __future__ import annotations

from importlib import resources
from pathlib import Path

_IN_WHEEL = "data/models/artifacts"
_IN_TREE = "models/artifacts"
_MAPPINGS_IN_WHEEL = "data/hardware"
_MAPPINGS_IN_TREE = "hardware"


def released_bundle() -> Path | None:
    """Returns the folder of the bundle that this version was released with; None without one."""
    package = Path(str(resources.files("edge_agent")))
    for folder in (package / _IN_WHEEL, package.parent / _IN_TREE):
        if (folder / "manifest.json").exists():
            return folder
    return None


def shipped_mapping(name: str) -> Path | None:
    """Returns the mapping of a device folder that this version came with; None without one."""
    package = Path(str(resources.files("edge_agent")))
    for folder in (package / _MAPPINGS_IN_WHEEL, package.parent / _MAPPINGS_IN_TREE):
        file = folder / name / "mapping.toml"
        if file.exists():
            return file
    return None


def shipped_mappings() -> tuple[str, ...]:
    """Returns the names of all device folders that this version came with."""
    package = Path(str(resources.files("edge_agent")))
    for folder in (package / _MAPPINGS_IN_WHEEL, package.parent / _MAPPINGS_IN_TREE):
        names = sorted(each.parent.name for each in folder.glob("*/mapping.toml"))
        if names:
            return tuple(names)
    return ()
