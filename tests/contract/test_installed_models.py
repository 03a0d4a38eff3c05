"""Installing and going back: nothing that is refused changes what decides, whatever is tried.

The attacks are those of The Update Framework: version rollback, wrong key, mix and match, endless
data, fast-forward, freeze.
"""

from __future__ import annotations

import io
import json
import os
import stat
import zipfile
from collections.abc import Callable
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edge_agent.errors import AgentUnreachable, BundleError
from edge_agent.shell.bundles import MANIFEST, PARTS, SIGNATURE, load_bundle
from edge_agent.shell.installed_models import LIVE, SHADOW, InstalledModels, InUse
from edge_agent.shell.model_store import CHOICE, CONFIGURED, ModelStore, numbers_of, stage
from tests.contract.sealed import CHAIN_KEY, FOREIGN_KEY, raw_public, release, sealed

KEY = raw_public(CHAIN_KEY)


class Gateway:
    """A state folder with what is installed there, and what decides."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir()
        self.folder = folder
        self.store = ModelStore(folder / "models")
        self.switched: list[InUse] = []
        self.today = date(2026, 6, 30)
        self.configured = release(folder.parent / "configured", "ranker-2026.1.1")
        self.start()

    def start(self) -> None:
        """Starts the agent's part of it anew."""
        self.models = InstalledModels(
            self.store, configured=self.configured, public_key=KEY, today=lambda: self.today
        )
        self.models.load()

    def install(self, bundle: Path, *, role: str = LIVE, key: bytes | None = KEY) -> None:
        """Does what the command and the agent do."""
        staged = stage(bundle, self.store.folder, public_key=key)
        self.models.install(staged, role=role, switch=self.switched.append)

    def roll_back(self) -> None:
        """Goes back."""
        self.models.roll_back(switch=self.switched.append)

    @property
    def live(self) -> str:
        """The version that decides."""
        assert self.models.in_use.live is not None
        return self.models.in_use.live.version

    @property
    def folders(self) -> set[str]:
        """The bundles that lie in the state folder."""
        found = self.store.folder.glob("*") if self.store.folder.exists() else ()
        return {path.name.rpartition("-")[0] for path in found if path.is_dir()}


@pytest.fixture
def gateway(tmp_path: Path) -> Gateway:
    """A gateway with a configured bundle of ranker-2026.1.1 and the chain's key."""
    return Gateway(tmp_path / "state")


@pytest.fixture
def make(tmp_path: Path) -> Callable[..., Path]:
    """Makes a sound bundle of a version."""

    def made(version: str, **options: Any) -> Path:
        n_before = sum(1 for _ in tmp_path.iterdir())
        return release(tmp_path / f"release-{n_before}", version, **options)

    return made


def test_an_installed_bundle_decides_now_and_after_a_restart(
    gateway: Gateway, make: Callable[..., Path]
) -> None:
    """It is switched to, lies in the state folder for the owner alone, and is found again."""
    gateway.install(make("ranker-2026.2.1"))
    assert gateway.live == "ranker-2026.2.1"
    assert gateway.switched[-1].live is gateway.models.in_use.live
    folder = gateway.store.path_of(gateway.models.choice.live)
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert {stat.S_IMODE(path.stat().st_mode) for path in folder.iterdir()} == {0o600}
    gateway.start()
    assert gateway.live == "ranker-2026.2.1"


def test_the_bundle_before_guards_the_new_one(gateway: Gateway, make: Callable[..., Path]) -> None:
    """After an install as live, the one before is compared with it."""
    gateway.install(make("ranker-2026.2.1"))
    assert gateway.switched[-1].role == "previous"
    assert gateway.switched[-1].other_name == CONFIGURED
    gateway.models.trust_live()
    assert gateway.models.in_use.other is None


def test_a_shadow_decides_nothing_until_it_is_installed_as_live(
    gateway: Gateway, make: Callable[..., Path]
) -> None:
    """The live bundle stays; the same bundle may become live later."""
    bundle = make("ranker-2026.2.1")
    gateway.install(bundle, role=SHADOW)
    assert gateway.live == "ranker-2026.1.1"
    assert gateway.models.in_use.role == SHADOW
    gateway.start()
    assert gateway.models.in_use.other is not None
    gateway.install(bundle)
    assert gateway.live == "ranker-2026.2.1"
    assert gateway.models.choice.shadow is None


def test_a_worse_shadow_is_withdrawn_for_good(gateway: Gateway, make: Callable[..., Path]) -> None:
    """The comparison's verdict ends it, and it cannot be installed again."""
    bundle = make("ranker-2026.2.1")
    gateway.install(bundle, role=SHADOW)
    gateway.models.withdraw_shadow(switch=gateway.switched.append)
    assert gateway.models.in_use.other is None
    assert gateway.live == "ranker-2026.1.1"
    with pytest.raises(BundleError, match="withdrawn"):
        gateway.install(bundle)


def test_rollback_goes_back_once_and_the_bad_one_stays_out(
    gateway: Gateway, make: Callable[..., Path]
) -> None:
    """The one before is live again, over a restart too; what was live is withdrawn."""
    bad = make("ranker-2026.2.1")
    gateway.install(bad)
    gateway.roll_back()
    assert gateway.live == "ranker-2026.1.1"
    with pytest.raises(BundleError, match="withdrawn"):
        gateway.install(bad)
    with pytest.raises(BundleError, match="no bundle before"):
        gateway.roll_back()
    gateway.start()
    assert gateway.live == "ranker-2026.1.1"
    gateway.install(make("ranker-2026.2.2"))
    assert gateway.live == "ranker-2026.2.2"


def test_only_bundles_in_use_are_kept(gateway: Gateway, make: Callable[..., Path]) -> None:
    """An SD card does not fill up with old models."""
    for number in range(2, 6):
        gateway.install(make(f"ranker-2026.{number}.1"))
    assert gateway.folders == {"ranker-2026.4.1", "ranker-2026.5.1"}


# --- attacks ----------------------------------------------------------------------------------


def refused(gateway: Gateway, bundle: Path, *, reason: str, key: bytes | None = KEY) -> None:
    """Sees a bundle refused with its reason, and nothing changed by it."""
    live, folders = gateway.live, gateway.folders
    n_switched = len(gateway.switched)
    with pytest.raises(BundleError, match=reason) as refusal:
        gateway.install(bundle, key=key)
    assert refusal.value.hint
    assert (gateway.live, gateway.folders) == (live, folders)
    assert len(gateway.switched) == n_switched


@pytest.mark.parametrize("version", ["ranker-2026.1.0", "ranker-2025.12.9", "ranker-2026.2.0"])
def test_an_older_version_is_refused(
    gateway: Gateway, make: Callable[..., Path], version: str
) -> None:
    """Rollback attack: a true signature on an old bundle does not help, also after a restart."""
    gateway.install(make("ranker-2026.2.1"))
    old = make(version)
    refused(gateway, old, reason="older")
    with pytest.raises(BundleError, match="older"):
        gateway.install(old, role=SHADOW)
    gateway.start()
    refused(gateway, old, reason="older")


def test_an_older_version_than_the_configured_bundle_is_refused(
    gateway: Gateway, make: Callable[..., Path]
) -> None:
    """What the gateway was delivered with counts as well."""
    refused(gateway, make("ranker-2025.1.1"), reason="older")


def test_two_bundles_of_one_version_are_not_both_taken(
    gateway: Gateway, make: Callable[..., Path]
) -> None:
    """One version is one bundle: who shows two shows different ones to different stores."""
    gateway.install(make("ranker-2026.2.1"))
    refused(gateway, make("ranker-2026.2.1", n_items=1), reason="another bundle")


def test_a_version_that_nothing_could_follow_is_refused(
    gateway: Gateway, make: Callable[..., Path]
) -> None:
    """Fast-forward attack: it would keep every true release out."""
    refused(gateway, make("ranker-9999.1.1"), reason="too far ahead")


def test_a_release_whose_time_is_over_is_not_installed_any_more(
    gateway: Gateway, make: Callable[..., Path]
) -> None:
    """Nobody can keep a chain on an old release by handing it out for ever; what runs goes on."""
    gateway.install(make("ranker-2026.2.1", install_by="2026-06-30"))
    gateway.today = date(2026, 7, 1)
    refused(gateway, make("ranker-2026.2.2", install_by="2026-06-30"), reason="by 2026-06-30")
    gateway.start()
    assert gateway.live == "ranker-2026.2.1"


def test_rollback_recovers_from_a_version_that_ran_ahead(
    gateway: Gateway, make: Callable[..., Path]
) -> None:
    """Fast-forward attack by a stolen key, within the plausible: going back lets true ones in."""
    gateway.install(make("ranker-2035.1.1"))
    refused(gateway, make("ranker-2026.2.1"), reason="older")
    gateway.roll_back()
    gateway.install(make("ranker-2026.2.1"))
    assert gateway.live == "ranker-2026.2.1"


@pytest.mark.parametrize("key", [FOREIGN_KEY, None], ids=["foreign", "unsigned"])
def test_another_key_than_the_configured_one_is_refused(
    gateway: Gateway, make: Callable[..., Path], key: Any
) -> None:
    """Wrong key: refused by the command, and by the agent when the command lets it through."""
    bundle = make("ranker-2026.2.1", key=key)
    refused(gateway, bundle, reason="signature|cannot be read")
    refused(gateway, bundle, reason="signature|cannot be read", key=None)


def test_without_a_configured_key_the_live_bundles_own_is_demanded(
    tmp_path: Path, make: Callable[..., Path]
) -> None:
    """Trust on first use: who signed the live bundle must have signed the next one."""
    gateway = Gateway(tmp_path / "trusting")
    gateway.models = InstalledModels(
        gateway.store,
        configured=gateway.configured,
        public_key=None,
        today=lambda: gateway.today,
    )
    gateway.models.load()
    foreign = make("ranker-2026.2.1", key=FOREIGN_KEY)
    refused(gateway, foreign, reason="signature", key=None)
    refused(gateway, make("ranker-2026.2.1", key=None), reason="cannot be read", key=None)
    gateway.install(make("ranker-2026.2.1"), key=None)
    assert gateway.live == "ranker-2026.2.1"


@pytest.mark.parametrize("name", sorted([*PARTS, SIGNATURE]))
def test_parts_of_two_releases_do_not_mix(
    gateway: Gateway, make: Callable[..., Path], name: str
) -> None:
    """Mix and match: each file is genuine, together they were never released."""
    new, old = make("ranker-2026.3.1"), make("ranker-2026.2.1")
    path = old / name
    if name in PARTS:
        path.write_bytes(path.read_bytes() + b"\n")
        sealed(old, version="ranker-2026.2.1")
    (new / name).write_bytes(path.read_bytes())
    refused(gateway, new, reason="signature|sha256|long")


def cut_off(bundle: Path, folder: Path, *, reason: str) -> None:
    """Sees a bundle refused where files are read: by the command's copy and by loading."""
    folder.mkdir()
    with pytest.raises(BundleError, match=reason):
        stage(bundle, folder / "models", public_key=KEY)
    with pytest.raises(BundleError, match=reason) as refusal:
        load_bundle(bundle, public_key=KEY)
    assert refusal.value.hint
    assert not list(folder.rglob("*"))


def endless_pipe(path: Path) -> None:
    """A file that never ends, or never begins."""
    path.unlink()
    os.mkfifo(path)


def endless_device(path: Path) -> None:
    """A link to a file without an end."""
    path.unlink()
    path.symlink_to("/dev/zero")


def endless_file(path: Path) -> None:
    """A file of a terabyte that takes no room."""
    with path.open("r+b") as file:
        file.truncate(10**12)


@pytest.mark.parametrize("name", sorted([*PARTS, MANIFEST, SIGNATURE]))
@pytest.mark.parametrize("harm", [endless_pipe, endless_device, endless_file])
def test_endless_data_is_cut_off_before_it_is_read(
    tmp_path: Path, make: Callable[..., Path], harm: Callable[[Path], None], name: str
) -> None:
    """Endless data: every file is capped before reading, and nothing but a file is read."""
    bundle = make("ranker-2026.2.1")
    harm(bundle / name)
    cut_off(bundle, tmp_path / "state", reason="longer than allowed|no file|is a link")


@pytest.mark.parametrize(
    "sizes",
    [
        {"tables.npz": 10**12},
        {"tables.npz": 10**12, "ranker.onnx": -(10**12)},
        {"tables.npz": "many"},
        {"tables.npz": True},
        {"tables.npz": 19_999_999, "ranker.onnx": 19_999_999},
    ],
)
def test_a_manifest_cannot_make_room_for_endless_data(
    tmp_path: Path, make: Callable[..., Path], sizes: dict[str, Any]
) -> None:
    """Sizes are bounded one by one and together before a part is opened, also with a true key."""
    bundle = make("ranker-2026.2.1")
    parts = json.loads((bundle / MANIFEST).read_text())["parts"]
    for name, size in sizes.items():
        parts[name]["size"] = size
    forged = sealed(bundle, parts=parts)
    cut_off(forged, tmp_path / "state", reason="possible size|exceeds")


def test_a_table_that_unpacks_to_more_than_any_memory_is_refused(
    gateway: Gateway, make: Callable[..., Path]
) -> None:
    """A header may promise a terabyte: nothing is allocated for it."""
    bundle = make("ranker-2026.2.1")
    header = io.BytesIO()
    promised = {"descr": "<f8", "fortran_order": False, "shape": (10**14,)}
    np.lib.format.write_array_header_1_0(header, promised)
    with zipfile.ZipFile(bundle / "tables.npz", "w") as archive:
        archive.writestr("pop_all.npy", header.getvalue())
    refused(gateway, sealed(bundle, version="ranker-2026.2.1"), reason="cannot be read")


@pytest.mark.parametrize(
    "changes",
    [
        {"version": "ranker"},
        {"version": "../../etc/ranker-1.1.1"},
        {"version": "ranker-99999.1.1"},
        {"tolerance": 1e9},
        {"tolerance": float("nan")},
        {"parts": []},
        {"parts": None},
        {"minimum_agent": "999.0.0"},
        {"install_by": "soon"},
        {"install_by": 20270101},
    ],
)
def test_a_signed_manifest_that_says_nonsense_is_refused(
    tmp_path: Path, make: Callable[..., Path], changes: dict[str, Any]
) -> None:
    """A true signature is no reason to believe everything."""
    bundle = sealed(make("ranker-2026.2.1"), **changes)
    cut_off(bundle, tmp_path / "state", reason="version|tolerance|parts|needs agent|install_by")


@pytest.mark.parametrize("stored", [b"", b"{}", b"[]", b"[1]", b'[{"request": {}}]', b"[[[["])
def test_examples_that_cannot_be_recomputed_are_refused(
    gateway: Gateway, make: Callable[..., Path], stored: bytes
) -> None:
    """Whatever the examples hold, loading ends with a reason."""
    bundle = make("ranker-2026.2.1")
    (bundle / "examples.json").write_bytes(stored)
    refused(gateway, sealed(bundle, version="ranker-2026.2.1"), reason="example")


def test_a_request_cannot_point_out_of_the_folder(gateway: Gateway) -> None:
    """The agent takes only names of staged copies."""
    for name in ("../outside", "incoming-../x", "incoming-A/B", "", CONFIGURED, "incoming-1"):
        with pytest.raises(BundleError):
            gateway.models.install(name, role=LIVE, switch=gateway.switched.append)
    assert gateway.switched == []


def test_when_the_core_cannot_switch_the_old_bundle_stays(
    gateway: Gateway, make: Callable[..., Path]
) -> None:
    """A core that does not answer leaves the choice on the disk as it was."""

    def busy(_in_use: InUse) -> None:
        raise AgentUnreachable("busy")

    staged = stage(make("ranker-2026.2.1"), gateway.store.folder, public_key=KEY)
    with pytest.raises(BundleError, match="could not be put to use"):
        gateway.models.install(staged, role=LIVE, switch=busy)
    assert gateway.live == "ranker-2026.1.1"
    gateway.start()
    assert gateway.live == "ranker-2026.1.1"


@pytest.mark.parametrize("harm", [b"", b"{", b"[]", b'{"live": "../../etc"}', b'{"live": 3}'])
def test_a_damaged_choice_falls_back_to_the_configured_bundle(
    gateway: Gateway, make: Callable[..., Path], harm: bytes
) -> None:
    """The agent starts, with a bundle that it knows to be sound."""
    gateway.install(make("ranker-2026.2.1"))
    (gateway.store.folder / CHOICE).write_bytes(harm)
    gateway.start()
    assert gateway.live == "ranker-2026.1.1"


def test_a_live_bundle_that_rots_is_replaced_by_the_one_before(
    gateway: Gateway, make: Callable[..., Path]
) -> None:
    """At the next start the previous one decides, and the rotten one is told with its reason."""
    gateway.install(make("ranker-2026.2.1"))
    gateway.install(make("ranker-2026.3.1"))
    name = gateway.models.choice.live
    path = gateway.store.path_of(name) / "tables.npz"
    path.write_bytes(path.read_bytes()[:-9])
    gateway.start()
    assert gateway.live == "ranker-2026.2.1"
    assert "tables.npz" in gateway.models.refused[name]


def test_what_a_killed_command_left_is_removed_at_the_start(
    gateway: Gateway, make: Callable[..., Path]
) -> None:
    """A staged copy that nobody took does not stay."""
    stage(make("ranker-2026.2.1"), gateway.store.folder, public_key=KEY)
    gateway.start()
    assert gateway.folders == set()


def test_versions_are_told_apart_by_number() -> None:
    """Ten is newer than nine."""
    assert numbers_of("ranker-2026.10.1") > numbers_of("ranker-2026.9.30")
    assert numbers_of("") < numbers_of("ranker-1")
