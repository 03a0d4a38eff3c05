"""The released bundle loads, answers as a scorer must, and no damaged copy of it ever does."""

from __future__ import annotations

import hashlib
import json
import random
import shutil
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from edge_agent.cli.explain import with_place
from edge_agent.cli.explanation import WhyNot
from edge_agent.domain.ids import ProductId
from edge_agent.domain.scoring import FIRST_PLAN, PastBasket, PromotionPlan, ScoringRequest
from edge_agent.domain.time import ms_from_datetime
from edge_agent.errors import BundleError
from edge_agent.shell.bundles import MANIFEST, PARTS, SIGNATURE, Bundle, canonical, load_bundle

RELEASED = Path(__file__).parents[2] / "models" / "artifacts"
REASONS = {"bought_together", "you_often_buy", "on_offer", "popular_now", "popular"}
NOW = datetime(2017, 12, 2, 20, 15, tzinfo=UTC)
N_DAMAGED = 300
MAX_BYTES = 20_000_000


@pytest.fixture(scope="module")
def bundle() -> Bundle:
    """The released bundle, loaded once."""
    return load_bundle(RELEASED)


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """A copy of the released bundle to harm."""
    return Path(shutil.copytree(RELEASED, tmp_path / "bundle"))


def ask(**changes: object) -> ScoringRequest:
    """Returns a request of this Saturday, with the changes given."""
    values: dict[str, object] = {"now": NOW, "hour": 15, "weekday": 5, "week": 49, "limit": 10}
    return ScoringRequest(**{**values, **changes})  # type: ignore[arg-type]  # a test's shorthand


def some(bundle: Bundle, n: int) -> tuple[ProductId, ...]:
    """Returns the n most popular products."""
    return tuple(s.product for s in bundle.scorer.popular(ask(limit=n)))


def resealed(folder: Path, **changes: object) -> None:
    """Rewrites the manifest with changes and true digests, unsigned."""
    manifest = json.loads((folder / MANIFEST).read_text())
    manifest.update(changes, public_key=None)
    for name in PARTS:
        data = (folder / name).read_bytes()
        manifest["parts"][name] = {"size": len(data), "sha256": hashlib.sha256(data).hexdigest()}
    (folder / MANIFEST).write_bytes(canonical(manifest))


def test_released_bundle_is_small_and_signed(bundle: Bundle) -> None:
    """It fits a gateway, and its own key's signature holds."""
    size = sum(f.stat().st_size for f in RELEASED.iterdir())
    assert size <= MAX_BYTES
    key = bytes.fromhex(bundle.manifest["public_key"])
    assert load_bundle(RELEASED, public_key=key).version == bundle.version


def test_released_bundle_holds_no_household(bundle: Bundle) -> None:
    """No array is indexed by household, and no example names a person's purchases."""
    assert bundle.manifest["n_items"] > 0
    assert not any("household_id" in key for key in bundle.manifest)


def test_no_damaged_copy_is_accepted(copy: Path) -> None:
    """300 random harms to random files: flipped, cut, emptied, grown, deleted; 300 refusals."""
    rng = random.Random(300)
    names = sorted([*PARTS, MANIFEST, SIGNATURE])
    refused = 0
    for number in range(N_DAMAGED):
        path = copy / names[number % len(names)]
        good = path.read_bytes()
        at = rng.randrange(len(good))
        harm = rng.randrange(5)
        if harm == 0:
            path.write_bytes(
                good[:at] + bytes([good[at] ^ (1 << rng.randrange(8))]) + good[at + 1 :]
            )
        elif harm == 1:
            path.write_bytes(good[:at])
        elif harm == 2:
            path.write_bytes(good[:at] + bytes(8) + good[at + 8 :] + b"x")
        elif harm == 3:
            path.write_bytes(good + rng.randbytes(16))
        else:
            path.unlink()
        with pytest.raises(BundleError) as refusal:
            load_bundle(copy)
        assert refusal.value.hint
        refused += 1
        path.write_bytes(good)
    assert refused == N_DAMAGED
    load_bundle(copy)


def resident_kib(path: Path) -> int:
    """Returns how much of a mapped file is in this process's memory."""
    found, is_it = 0, False
    for line in Path("/proc/self/smaps").read_text().splitlines():
        if "-" in line.split(" ", 1)[0]:
            is_it = line.endswith(str(path))
        elif is_it and line.startswith("Rss:"):
            found += int(line.split()[1])
    return found


def test_loading_leaves_nothing_of_the_tables_in_memory(copy: Path) -> None:
    """What the check of all stores' examples touched is let go of; asking brings back a part."""
    path = copy / "tables.npz"
    loaded = load_bundle(copy)
    assert resident_kib(path) == 0
    assert len(loaded.scorer.rank(ask(basket=some(loaded, 3)))) == 10
    assert 0 < resident_kib(path) < path.stat().st_size / 2048


def test_foreign_key_is_refused() -> None:
    """A bundle signed by somebody else is no bundle of this chain."""
    foreign = Ed25519PrivateKey.generate().public_key()
    with pytest.raises(BundleError, match="signature"):
        load_bundle(RELEASED, public_key=foreign.public_bytes(Encoding.Raw, PublicFormat.Raw))


def test_unsigned_bundle_is_refused_when_a_key_is_asked_for(copy: Path) -> None:
    """Dropping signature and key does not help against a configured key."""
    key = bytes.fromhex(json.loads((copy / MANIFEST).read_text())["public_key"])
    resealed(copy)
    (copy / SIGNATURE).unlink()
    load_bundle(copy)
    with pytest.raises(BundleError):
        load_bundle(copy, public_key=key)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"format": 99}, "format"),
        ({"minimum_agent": "999.0.0"}, "needs agent"),
        ({"features": ["age", "income"]}, "features"),
        ({"opset": {"": 17}}, "opset"),
    ],
)
def test_manifest_of_another_agent_is_refused_with_the_reason(
    copy: Path, change: dict[str, object], reason: str
) -> None:
    """Format, minimum agent, feature order and opset are each checked, and named."""
    resealed(copy, **change)
    with pytest.raises(BundleError, match=reason):
        load_bundle(copy)


def test_external_data_is_refused(copy: Path) -> None:
    """A model that points at another file is not opened, even with true digests."""
    model = copy / "ranker.onnx"
    model.write_bytes(model.read_bytes() + b"\x72\x0alocation\x00\x00")
    resealed(copy)
    with pytest.raises(BundleError, match="external"):
        load_bundle(copy)


def test_bundle_that_scores_otherwise_than_stored_is_refused(copy: Path) -> None:
    """The stored examples are recomputed through the whole path."""
    path = copy / "examples.json"
    examples = json.loads(path.read_text())
    first = next(iter(examples[0]["scores"]))
    examples[0]["scores"][first] += 0.01
    path.write_text(json.dumps(examples))
    resealed(copy)
    with pytest.raises(BundleError, match="example"):
        load_bundle(copy)


def test_catalogue_names_products(bundle: Bundle) -> None:
    """Ranked products have a title to show; most have a department and a price."""
    entries = [bundle.catalogue[s.product] for s in bundle.scorer.popular(ask(limit=50))]
    assert all(entry.title for entry in entries)
    assert sum(bool(entry.department and entry.price) for entry in entries) >= 45
    assert ProductId("no such product") not in bundle.catalogue


def test_rank_is_deterministic_and_best_first(bundle: Bundle) -> None:
    """Twice the same, propensities fall, ties by product, reasons known."""
    request = ask(basket=some(bundle, 4), store="367")
    answer = bundle.scorer.rank(request)
    assert answer == bundle.scorer.rank(request)
    assert len(answer) == request.limit
    assert list(answer) == sorted(answer, key=lambda s: (-s.propensity, s.product))
    assert all(0.0 <= s.propensity <= 1.0 and s.reason in REASONS for s in answer)


def test_reasons_asked_for_later_are_those_of_the_ranking(bundle: Bundle) -> None:
    """Whoever asks for many and shows few is told of those what all would have been told."""
    first = tuple(bundle.catalogue)[:2]
    for basket in ((), first):
        whole = bundle.scorer.rank(ask(basket=basket))
        asked = ask(basket=basket, with_reasons=False)
        bare = bundle.scorer.rank(asked)
        assert [(each.product, each.propensity) for each in bare] == [
            (each.product, each.propensity) for each in whole
        ]
        assert {each.reason for each in bare} == {""}
        shown = tuple(each.product for each in bare[2:5])
        told = bundle.scorer.reasons(asked, shown)
        assert told == {each.product: each.reason for each in whole if each.product in shown}


def test_what_a_record_does_not_hold_is_placed_by_its_model(bundle: Bundle) -> None:
    """Why not this product: its place and propensity, or that others were likelier."""
    request = ask(limit=60)
    placed = bundle.scorer.rank(request)
    stored: dict[str, object] = {"hour": 15, "weekday": 5, "week": 49, "store": None}
    stored |= {"basket": [], "history": [], "zone_products": None, "limit": 15}
    record = {"now": ms_from_datetime(NOW), "model": bundle.version, "request": stored}
    last = placed[30]
    elsewhere = min(set(bundle.catalogue) - {each.product for each in placed})
    for wanted, said in (
        (last.product, f"the model placed it 31. with propensity {last.propensity:.6f}"),
        ("no such product", "the model does not know it"),
        (elsewhere, "others likelier"),
    ):
        unknown = WhyNot(wanted=wanted, outcome="unplaced", text="it is not there")
        assert said in with_place(unknown, record, bundle).text
        assert with_place(unknown, record, None) == unknown


@pytest.mark.parametrize("method", ["rank", "popular"])
def test_zone_exclude_limit_and_basket_are_honoured(bundle: Bundle, method: str) -> None:
    """No answer leaves the zone, is excluded, is in the basket or exceeds the limit."""
    known = some(bundle, 60)
    request = ask(
        zone_products=frozenset(known[:40]),
        exclude=frozenset(known[:10]),
        basket=known[10:12],
        limit=7,
    )
    answer = getattr(bundle.scorer, method)(request)
    assert len(answer) == request.limit
    assert {s.product for s in answer} <= set(known[12:40])


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"basket": (ProductId("nobody sells this"),)},
        {"store": "no such store", "week": 9999},
        {"hour": 99, "weekday": -3, "week": None},
        {"history": (PastBasket(at=NOW + timedelta(days=3), products=()),)},
        {"history": (PastBasket(at=NOW, products=(ProductId("unknown"),)),)},
    ],
)
def test_odd_requests_are_answered(bundle: Bundle, changes: dict[str, object]) -> None:
    """Unknown products, stores, weeks and empty histories degrade; nothing raises."""
    assert len(bundle.scorer.rank(ask(**changes))) == 10
    assert len(bundle.scorer.popular(ask(**changes))) == 10


def test_nothing_to_offer_is_an_empty_answer(bundle: Bundle) -> None:
    """An empty zone and a limit of nought give nothing."""
    assert bundle.scorer.rank(ask(zone_products=frozenset())) == ()
    assert bundle.scorer.rank(ask(limit=0)) == ()


def test_what_somebody_always_buys_comes_first_and_says_so(bundle: Bundle) -> None:
    """A product of each of twelve weekly baskets is ranked up, for that reason."""
    usual = some(bundle, 200)[150]
    history = tuple(
        PastBasket(at=NOW - timedelta(days=7 * (12 - i)), products=(usual,)) for i in range(12)
    )
    best = bundle.scorer.rank(ask(history=history))[0]
    assert best.product == usual
    assert best.reason == "you_often_buy"


def test_anonymous_answer_never_rests_on_history(bundle: Bundle) -> None:
    """Without a history no item is said to be often bought."""
    answer = bundle.scorer.rank(ask(basket=some(bundle, 5), limit=50))
    assert all(s.reason != "you_often_buy" for s in answer)


def test_answer_does_not_depend_on_what_was_asked_before(bundle: Bundle) -> None:
    """What is kept of one request is never used for the next one."""
    first, second = ask(basket=some(bundle, 3)), ask(basket=some(bundle, 9)[6:])
    alone = bundle.scorer.popular(second)
    bundle.scorer.rank(first)
    assert bundle.scorer.popular(second) == alone
    assert bundle.scorer.popular(first) != alone


def test_hqs_plan_of_promotions_moves_what_it_names(bundle: Bundle) -> None:
    """What it names is likelier than without it, and says why; its number alone says nothing."""
    plain = bundle.scorer.rank(ask(week=None, limit=300))
    unknown = bundle.scorer.rank(ask(week=FIRST_PLAN, limit=300))
    assert unknown == plain
    named = frozenset(each.product for each in plain[20:60])
    plan = PromotionPlan(
        number=FIRST_PLAN + 1,
        from_day="2017-11-27",
        until_day="2017-12-04",
        displayed=named,
        mailed=named,
    )
    bundle.scorer.use_plans((plan,))
    planned = bundle.scorer.rank(ask(week=plan.number, limit=300))
    before = {each.product: each.propensity for each in plain}
    after = {each.product: each for each in planned}
    both = [product for product in named if product in after]
    likelier = [product for product in both if after[product].propensity > before[product]]
    assert len(likelier) > 0.9 * len(named)
    assert "on_offer" in {after[product].reason for product in both}
    assert bundle.scorer.rank(ask(week=None, limit=300)) == plain
