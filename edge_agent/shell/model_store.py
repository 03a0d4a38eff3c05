"""Where installed bundles lie: a folder each in the state folder, and one file that says which.

`installed.json` names the live bundle, the shadow and the one before; it is written to a temporary
name, synced, renamed, and the folder synced, so that a power cut leaves the old choice or the new
one. The newest version that was ever installed is kept in it: an older one is refused, whatever
its signature says. Only the running agent writes here, but for `stage`, which lays a verified copy
beside the others for the agent to take.
"""

from __future__ import annotations

import json
import logging
import os
import re
import shutil
from contextlib import suppress
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from edge_agent.errors import BundleError
from edge_agent.shell.bundles import (
    MANIFEST,
    MAX_SIGNATURE_BYTES,
    SIGNATURE,
    canonical,
    read_bounded,
    read_manifest,
    read_parts,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

log = logging.getLogger(__name__)

CONFIGURED: Final = "configured"
"""The bundle that the configuration names; it lies where that says, not here."""
CHOICE: Final = "installed.json"
INCOMING: Final = "incoming-"
MAX_CHOICE_BYTES: Final = 64 * 1024
# A version may not run so far ahead that no true one could ever follow it.
MAX_STEP: Final = 10
KEPT_WITHDRAWN: Final = 50
DIGEST_DIGITS: Final = 16
OWNER_ONLY: Final = 0o600
OWNER_FOLDER: Final = 0o700
NEWER: Final = "Only `edge-agent model rollback` goes back; a fix is released under a new version."


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """Which bundle is what.

    Attributes:
        live: Decides; a folder's name, or `configured`.
        shadow: Scores beside it and decides nothing.
        previous: Was live before; `rollback` takes it.
        highest: The newest version that was installed.
        highest_digest: The digest of its manifest: one version is one bundle.
        withdrawn: Digests of bundles that were rolled back or found worse.
    """

    live: str = CONFIGURED
    shadow: str | None = None
    previous: str | None = None
    highest: str = ""
    highest_digest: str = ""
    withdrawn: tuple[str, ...] = ()


def numbers_of(version: str) -> tuple[int, ...]:
    """Returns the numbers of a version, by which newer is told from older.

    Example:
        >>> numbers_of("ranker-2026.11.2")
        (2026, 11, 2)
    """
    found = re.findall(r"[0-9]+", version.rpartition("-")[2])
    return tuple(int(each) for each in found)


def check_version(choice: Choice, version: str, digest: str) -> None:
    """Refuses a bundle that would be a step back, or a leap that nothing could follow.

    Raises:
        BundleError: It is older than what was installed, another one of the same version,
            withdrawn, or implausibly far ahead.
    """
    if digest in choice.withdrawn:
        raise BundleError(f"{version} was withdrawn on this gateway", hint=NEWER)
    if not choice.highest or digest == choice.highest_digest:
        return
    new, highest = numbers_of(version), numbers_of(choice.highest)
    if new < highest:
        raise BundleError(f"{version} is older than {choice.highest}", hint=NEWER)
    if new == highest:
        raise BundleError(f"another bundle was installed as {choice.highest}", hint=NEWER)
    if new[0] > highest[0] + MAX_STEP:
        raise BundleError(
            f"{version} runs too far ahead of {choice.highest}",
            hint="No true release could follow it: who signed it?",
        )


class ModelStore:
    """The folder `models` in the state folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def read(self) -> Choice:
        """Returns the choice on the disk; the configured bundle when there is none."""
        path = self.folder / CHOICE
        try:
            with path.open("rb") as file:
                found = json.loads(file.read(MAX_CHOICE_BYTES))
            return _choice(found)
        except FileNotFoundError:
            return Choice()
        except (OSError, ValueError, TypeError, KeyError) as error:
            log.error("model_choice_unreadable", extra={"fields": {"error": str(error)}})  # noqa: TRY400 - told in our words
            return Choice()

    def write(self, choice: Choice) -> None:
        """Puts a choice on the disk, whole or not at all."""
        self.folder.mkdir(mode=OWNER_FOLDER, exist_ok=True)
        new = self.folder / f"{CHOICE}.new"
        document = {"schema_version": 1, **asdict(choice)}
        _write(new, (json.dumps(document, indent=1) + "\n").encode())
        new.rename(self.folder / CHOICE)
        _sync_folder(self.folder)

    def path_of(self, name: str) -> Path:
        """Returns where a bundle of the choice lies."""
        return self.folder / name

    def adopt(self, incoming: str, manifest: Mapping[str, Any]) -> str:
        """Gives a staged copy its own name, which its digest is part of, and returns that."""
        name = f"{manifest['version']}-{str(manifest['digest'])[:DIGEST_DIGITS]}"
        target = self.folder / name
        if target.exists():
            shutil.rmtree(self.folder / incoming)
        else:
            (self.folder / incoming).rename(target)
        _sync_folder(self.folder)
        return name

    def staged(self, incoming: str) -> Path:
        """Returns a staged copy's folder.

        Raises:
            BundleError: It is no name of one.
        """
        is_name = re.fullmatch(rf"{INCOMING}[0-9a-z-]+", incoming) is not None
        path = self.folder / incoming
        if not is_name or path.is_symlink() or not path.is_dir():
            raise BundleError("no copy of a bundle waits under that name", hint="Install it anew.")
        return path

    def discard(self, incoming: str) -> None:
        """Removes a staged copy that was refused."""
        shutil.rmtree(self.staged(incoming), ignore_errors=True)

    def prune(self, choice: Choice, *, staged: bool) -> None:
        """Removes bundles that the choice does not name; staged copies too, when asked."""
        kept = {choice.live, choice.shadow, choice.previous}
        for path in self.folder.glob("*") if self.folder.is_dir() else ():
            if path.is_dir() and path.name not in kept:
                if not staged and path.name.startswith(INCOMING):
                    continue
                shutil.rmtree(path, ignore_errors=True)


def stage(source: Path, folder: Path, *, public_key: bytes | None) -> str:
    """Copies a bundle beside the installed ones and returns the copy's name.

    What is written is what was verified: each file is read once, up to the size it may have.
    The copy belongs to the state folder's owner, so that root may install for the agent.

    Raises:
        BundleError: The bundle is damaged, or the copy cannot be written.
    """
    manifest = read_manifest(source, public_key=public_key)
    files = dict(read_parts(source, manifest))
    files[MANIFEST] = canonical(manifest)
    if (source / SIGNATURE).exists():
        files[SIGNATURE] = read_bounded(source / SIGNATURE, MAX_SIGNATURE_BYTES)
    name = f"{INCOMING}{str(manifest['digest'])[:DIGEST_DIGITS]}-{os.getpid()}"
    copy = folder / name
    try:
        owner = folder.parent.stat()
        for made in (folder, copy):
            if not made.exists():
                made.mkdir(mode=OWNER_FOLDER)
                _give(made, owner)
        for file, data in files.items():
            _write(copy / file, data)
            _give(copy / file, owner)
        _sync_folder(copy)
        _sync_folder(folder)
    except OSError as error:
        shutil.rmtree(copy, ignore_errors=True)
        raise BundleError(
            f"the copy in {folder} cannot be written: {error.strerror}",
            hint="run this as the agent's user or as root, with space on the disk",
        ) from error
    return name


def _choice(document: Any) -> Choice:
    if not isinstance(document, dict):
        msg = "it is no object"
        raise TypeError(msg)
    known = {field.name for field in fields(Choice)}
    values = {key: value for key, value in document.items() if key in known}
    values["withdrawn"] = tuple(str(each) for each in values.get("withdrawn", ()))
    for key, value in values.items():
        if key != "withdrawn" and not isinstance(value, str | None):
            msg = f"{key} is no text"
            raise TypeError(msg)
    for name in (values.get("live"), values.get("shadow"), values.get("previous")):
        if name is not None and Path(name).name != name:
            msg = "a bundle lies in no other folder"
            raise ValueError(msg)
    return Choice(**values)


def _give(path: Path, owner: os.stat_result) -> None:
    if os.geteuid() != owner.st_uid:
        os.chown(path, owner.st_uid, owner.st_gid, follow_symlinks=False)


def _write(path: Path, data: bytes) -> None:
    flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC
    with os.fdopen(os.open(path, flags, OWNER_ONLY), "wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())


def _sync_folder(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        # Some file systems cannot sync a folder; the rename is as durable there as it gets.
        with suppress(OSError):
            os.fsync(handle)
    finally:
        os.close(handle)
