"""A rotten disk: who must be left alone is left alone, whatever byte of whatever file changed."""

from __future__ import annotations

import shutil
import sqlite3
from contextlib import closing
from pathlib import Path
from secrets import randbits
from typing import Final

import pytest

from edge_agent.domain.time import DAY_MS, HOUR_MS, MINUTE_MS
from edge_agent.errors import StoreCorrupt, StoreError
from edge_agent.shell.opening import ENDS_OF_ROT
from tests.integration.driven_agent import TILL, told
from tests.integration.second_copy_trials import (
    CARDS,
    COMPLAINED,
    DATABASE,
    LATER,
    LOG,
    SECOND,
    WITHDREW,
    Outcome,
    at,
    card,
    make_store,
    phone,
    rot,
    running,
    start_in,
    started_on,
)

TRIALS: Final = 2
SOAK_TRIALS: Final = 100
"""Of each of the seven kinds: at full size, ten times the hundred starts that are promised."""
KINDS: Final = (
    (DATABASE,),
    (LOG,),
    (SECOND,),
    (DATABASE, LOG),
    (DATABASE, SECOND),
    (LOG, SECOND),
    (DATABASE, LOG, SECOND),
)


@pytest.fixture(scope="module")
def left(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The state folder of a store that was killed."""
    return make_store(tmp_path_factory.mktemp("store"))


def copied(left: Path, folder: Path) -> Path:
    """Returns a copy of a state folder."""
    shutil.copytree(left, folder)
    return folder


# --- any byte of any file -----------------------------------------------------------------------


def test_a_sound_disk_is_the_measure(left: Path, tmp_path: Path) -> None:
    """Without rot the same people are left alone, and the others get what they consented to."""
    outcome = started_on(left, tmp_path / "state")
    assert outcome.offers == ()
    assert outcome.n_others > 0
    assert outcome.n_personal > 0
    assert any(CARDS[-1] in each for each in outcome.receipts)
    assert not any(name.startswith("second_copy") for name in outcome.counters)


@pytest.mark.parametrize("names", KINDS, ids="+".join)
def test_whatever_rots_the_agent_starts_and_leaves_them_alone(
    left: Path, tmp_path: Path, names: tuple[str, ...], *, soak: bool
) -> None:
    """Random bytes of the database, its log and the second copy: it starts, and offers nothing."""
    first = randbits(32)
    print(f"first seed {first}")
    told_of: list[str] = []
    for seed in range(first, first + (SOAK_TRIALS if soak else TRIALS)):
        folder = copied(left, tmp_path / "state")
        # One byte is the least that is seen, many are what a dying card gives back.
        rot(folder, names, seed=seed, n_bytes=1 + seed % 3 * 20)
        outcome = start_in(folder)
        told_of += [f"seed {seed}: {offer}" for offer in outcome.offers]
        shutil.rmtree(folder)
    assert not told_of


# --- what is restored from what -----------------------------------------------------------------


def test_a_database_that_is_gone_comes_back_with_its_suppressions(
    left: Path, tmp_path: Path
) -> None:
    """Of a database that is no database any more, all that people stated is restored."""
    folder = copied(left, tmp_path / "state")
    (folder / LOG).unlink()
    (folder / DATABASE).write_bytes(b"no database" * 1_000)
    outcome = start_in(folder)
    assert outcome.offers == ()
    assert outcome.counters["databases_set_aside"] == 1
    assert outcome.counters["second_copy_restored"] == len(CARDS)
    assert "database_set_aside" in outcome.problems
    assert (folder / f"{DATABASE}.damaged").exists()
    again = start_in(folder, at_ms=LATER + 20 * MINUTE_MS)
    assert again.offers == ()
    assert "database_set_aside" not in again.problems


def test_a_link_from_the_second_copy_outlasts_a_basket_without_the_card(tmp_path: Path) -> None:
    """The app of whoever complained by card stays silent when it next comes without the card."""
    app, whose = {"kind": "app", "value": "app-77"}, {"visitor": card(COMPLAINED[0])}
    with running(tmp_path, LATER) as agent:
        consent = {**whose, "purposes": ["profiling"]}
        agent.take(told("desk", "consent.granted", LATER, "g", **consent))
        agent.take(told(TILL, "basket.opened", LATER + 1, "b1", basket="x", visitor=app))
        agent.take(told(TILL, "loyalty.scanned", LATER + 2, "b2", basket="x", **whose))
        agent.take(told("desk", "complaint.opened", LATER + 3, "c", **whose, complaint="c1"))
    (tmp_path / LOG).unlink(missing_ok=True)
    (tmp_path / DATABASE).write_bytes(b"no database" * 1_000)
    at_ms = LATER + MINUTE_MS
    with running(tmp_path, at_ms) as agent:
        item = {"basket": "y", "visitor": app, "product": "1029740", "quantity": 1}
        agent.take(told(TILL, "basket.opened", at_ms, "b3", basket="y", visitor=app))
        agent.take(told(TILL, "basket.item_added", at_ms + 1, "b4", **item, amount="1.00"))
        agent.take(told(TILL, "basket.item_added", at_ms + 2, "b5", **item, amount="1.00"))
        assert set(agent.rows("SELECT level FROM decision WHERE channel = 'receipt'")) == {
            ("silence",)
        }


def test_a_row_that_rot_turned_is_restored(left: Path, tmp_path: Path) -> None:
    """A complaint closed, a refusal granted, an identifier changed by no hand of ours."""
    folder = copied(left, tmp_path / "state")
    with closing(sqlite3.connect(folder / DATABASE)) as rotten:
        rotten.execute("UPDATE complaint SET closed_at_ms = opened_at_ms + 1")
        rotten.execute("UPDATE consent SET stated_at_ms = 0 WHERE NOT granted")
        rotten.execute("UPDATE link SET pseudonym = 'x' || substr(pseudonym, 2)")
        rotten.commit()
    outcome = start_in(folder)
    assert outcome.offers == ()
    assert outcome.counters["second_copy_restored"] == len(CARDS)


def test_a_text_that_is_none_any_more_ends_no_start(left: Path, tmp_path: Path) -> None:
    """Bytes that are no UTF-8, in a table that is read at the start: it is set aside."""
    folder = copied(left, tmp_path / "state")
    with closing(sqlite3.connect(folder / DATABASE)) as rotten:
        rotten.execute("UPDATE mark SET visit = CAST(x'ff' || substr(visit, 2) AS TEXT)")
        rotten.commit()
    outcome = start_in(folder)
    assert outcome.offers == ()
    assert outcome.counters["databases_set_aside"] == 1


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("egress", '{"day" "2026-03-02","kinds":{}}'),
        ("egress", '{"dax":"2026-03-02","kinds":{}}'),
        ("egress", '{"day":"2026-03-02","kinds":{"state":{"sent":1}}}'),
        ("now_ms", "17x"),
        ("watermark_ms", "17x"),
        ("counter.accepted", "x"),
        ("mapping_filters", "{"),
    ],
)
def test_a_note_of_ours_that_makes_no_sense_ends_no_start(
    left: Path, tmp_path: Path, key: str, value: str
) -> None:
    """What the agent noted for itself is read at the start: if it rots, a new database begins."""
    folder = copied(left, tmp_path / "state")
    with closing(sqlite3.connect(folder / DATABASE)) as rotten:
        rotten.execute("INSERT OR REPLACE INTO meta (key, value) VALUES (?, ?)", (key, value))
        rotten.commit()
    outcome = start_in(folder)
    assert outcome.offers == ()
    assert outcome.counters["databases_set_aside"] == 1


def test_a_row_out_of_order_cannot_hide_whose_telephone_it_is(left: Path, tmp_path: Path) -> None:
    """One byte of one key turns a page's order: what is put back beside it must not hide others.

    The file was once written anew from such a database, and then lacked the telephone of somebody
    who had complained.
    """
    folder = copied(left, tmp_path / "state")
    with closing(sqlite3.connect(folder / DATABASE)) as sound:
        # Found only after the comparison: the database is set aside then.
        sound.execute("UPDATE outbox SET topic = CAST(x'ff' || topic AS TEXT)")
        sound.commit()
        sound.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        phones = sound.execute("SELECT id FROM visitor WHERE kind = 'ble' ORDER BY id").fetchall()
    content = (folder / DATABASE).read_bytes()
    told_of = []
    for n, (owner,) in enumerate(phones):
        trial = copied(folder, tmp_path / f"trial-{n}")
        text = owner.encode()
        turned = text[:10] + b"\xc1" + text[11:]
        # The table's own row, and not the rows that refer to it.
        key = text + b"ble"
        assert key in content
        (trial / DATABASE).write_bytes(content.replace(key, turned + b"ble"))
        told_of += [f"{owner}: {offer}" for offer in start_in(trial).offers]
    assert not told_of


def ends_of(folder: Path, *, at_ms: int) -> BaseException | None:
    """Runs an agent's loop by hand for an hour of ticks, as `Agent.run` would; returns its end."""
    with running(folder, at_ms) as agent:
        try:
            for n in range(70):
                now_ms = at_ms + n * MINUTE_MS
                at(now_ms)
                here = {"visitor": phone(CARDS[n % 3]), "zone": "dairy"}
                agent.take(told("ble-gw-1", "zone.entered", now_ms, f"e-{now_ms}", **here))
        except (StoreError, sqlite3.Error) as error:
            agent.agent._opening.note_end(error)
            return error
        agent.agent._opening.note_end(None)
        return None


@pytest.mark.parametrize(("table", "column"), [("zone_stay", "zone"), ("decision", "items")])
def test_what_rots_while_it_runs_ends_it_once_and_not_for_ever(
    left: Path, tmp_path: Path, table: str, column: str
) -> None:
    """A text that is none any more is met when its period is summed up, and by no start."""
    folder = copied(left, tmp_path / "state")
    with closing(sqlite3.connect(folder / DATABASE)) as rotten:
        spoilt = f"UPDATE {table} SET {column} = CAST(x'ff' AS TEXT) WHERE {column} IS NOT NULL"  # noqa: S608
        assert rotten.execute(spoilt).rowcount > 0
        rotten.commit()
    ends = [ends_of(folder, at_ms=LATER + n * 2 * HOUR_MS) for n in range(ENDS_OF_ROT + 1)]
    assert ends[0] is not None
    assert ends[-1] is None
    assert (folder / f"{DATABASE}.damaged").exists()
    assert start_in(folder, at_ms=LATER + 9 * HOUR_MS).offers == ()


def test_one_end_by_sql_sets_nothing_aside_and_two_in_a_row_do(left: Path, tmp_path: Path) -> None:
    """An accident in our own SQL must not cost a sound database; an orderly end begins anew."""
    folder = copied(left, tmp_path / "state")
    accident = sqlite3.OperationalError("malformed JSON")
    accident.sqlite_errorname = "SQLITE_ERROR"
    for ends, is_set_aside in (
        ((accident,), False),
        ((accident, None, accident), False),
        ((accident, accident), True),
    ):
        with running(folder, LATER) as agent:
            agent.agent._opening.note_end(None)
            for end in ends:
                agent.agent._opening.note_end(end)
        with running(folder, LATER) as agent:
            assert bool(agent.agent._opening.found.set_aside) == is_set_aside


def test_an_end_that_cannot_be_noted_hides_no_error(left: Path, tmp_path: Path) -> None:
    """Where the note would stand is a folder: the agent's own end goes on as it was."""
    folder = copied(left, tmp_path / "state")
    with running(folder, LATER) as agent:
        (folder / f"{DATABASE}.rotten").mkdir()
        agent.agent._opening.note_end(StoreCorrupt("damaged"))


def test_a_message_that_meets_rot_is_not_acknowledged(left: Path, tmp_path: Path) -> None:
    """Not its fault: it waits for the agent that begins anew, and is no dead letter."""
    folder = copied(left, tmp_path / "state")
    with running(folder, LATER) as agent:
        agent.agent._db.execute("UPDATE visitor SET kind = CAST(x'ff' AS TEXT)")
        agent.agent._state.visitors._visitors.clear()
        agent.agent._state.visitors._ids.clear()
        complaint = {"visitor": card(WITHDREW[0]), "complaint": "case-9"}
        with pytest.raises((StoreError, sqlite3.Error)):
            agent.take(told("desk", "complaint.opened", LATER, "c-9", **complaint))
        assert not agent.rows("SELECT 1 FROM dead_letter WHERE reason = 'failed'")


@pytest.mark.parametrize(
    "change",
    ["visit = 'x' || substr(visit, 2)", "at_ms = at_ms + 4096", "zone = 'checkout-6'"],
)
def test_a_mark_that_rotted_tells_nothing(left: Path, tmp_path: Path, change: str) -> None:
    """Somebody's leaving of a till that is lost would make all who came after him strangers."""
    folder = copied(left, tmp_path / "state")
    with closing(sqlite3.connect(folder / DATABASE)) as rotten:
        sql = (
            f"UPDATE mark SET {change} WHERE id = (SELECT min(id) FROM mark WHERE kind = 'leave')"  # noqa: S608
        )
        assert rotten.execute(sql).rowcount == 1
        rotten.commit()
    outcome = start_in(folder)
    assert outcome.offers == ()
    assert outcome.counters["databases_set_aside"] == 1


@pytest.mark.parametrize("table", ["catalogue", "decision", "outbox", "device", "basket"])
def test_a_column_that_lost_its_name_ends_no_start(left: Path, tmp_path: Path, table: str) -> None:
    """One letter of the schema's own text is enough for SQL that was never wrong to be wrong."""
    folder = copied(left, tmp_path / "state")
    with closing(sqlite3.connect(folder / DATABASE)) as rotten:
        columns = [row[1] for row in rotten.execute(f"PRAGMA table_info({table})")]
        rotten.execute(f"ALTER TABLE {table} RENAME COLUMN {columns[-1]} TO imagf")
        rotten.commit()
    assert start_in(folder).offers == ()


@pytest.mark.parametrize("byte", [0xFF, ord("x")])
@pytest.mark.parametrize(
    ("table", "column"),
    [
        ("sale_line", "product"),
        ("outbox", "topic"),
        ("outbox", "message_id"),
        ("device", "record"),
        ("visitor", "profile"),
    ],
)
def test_no_text_that_cannot_be_read_ends_a_start_or_a_silence(
    left: Path, tmp_path: Path, table: str, column: str, byte: int
) -> None:
    """Wherever it is read: the agent starts, and leaves alone who is to be left alone."""
    folder = copied(left, tmp_path / "state")
    with closing(sqlite3.connect(folder / DATABASE)) as rotten:
        spoilt = f"UPDATE {table} SET {column} = CAST(? || {column} AS TEXT)"  # noqa: S608
        rotten.execute(spoilt, (bytes([byte]),))
        rotten.commit()
    assert start_in(folder).offers == ()


def test_rows_that_are_gone_are_restored(left: Path, tmp_path: Path) -> None:
    """Whole people missing from a database that is sound otherwise."""
    folder = copied(left, tmp_path / "state")
    with closing(sqlite3.connect(folder / DATABASE)) as rotten:
        rotten.execute("PRAGMA foreign_keys = ON")
        rotten.execute("DELETE FROM visitor WHERE id IN (SELECT visitor FROM complaint)")
        rotten.commit()
    outcome = start_in(folder)
    assert outcome.offers == ()
    assert outcome.counters["second_copy_restored"] >= len(COMPLAINED)


def test_a_grant_that_nothing_vouches_for_is_none(left: Path, tmp_path: Path) -> None:
    """A consent that turns up in the database, and in no copy, is not obeyed."""
    folder = copied(left, tmp_path / "state")
    with closing(sqlite3.connect(folder / DATABASE)) as forged:
        forged.execute(
            "INSERT INTO visitor (id, kind, first_seen_at_ms, last_seen_at_ms)"
            " VALUES ('stranger', 'loyalty', 0, 0)"
        )
        forged.execute(
            "INSERT INTO consent (visitor, purpose, stated_at_ms, granted, source)"
            " VALUES ('stranger', 'profiling', 0, 1, 'desk')"
        )
        forged.commit()
    with running(folder, LATER) as agent:
        assert agent.rows("SELECT 1 FROM consent WHERE visitor = 'stranger'") == []
        assert agent.road.counters["second_copy_refused"] == 1


def test_a_missing_second_copy_is_made_again(left: Path, tmp_path: Path) -> None:
    """With a sound database a lost file costs nothing, and is there again after the start."""
    folder = copied(left, tmp_path / "state")
    (folder / SECOND).unlink()
    outcome = start_in(folder)
    assert outcome.offers == ()
    assert outcome.n_personal > 0
    assert outcome.counters["second_copy_damaged"] == 1
    (folder / DATABASE).write_bytes(b"no database" * 1_000)
    assert start_in(folder, at_ms=LATER + 20 * MINUTE_MS).offers == ()


# --- both are rotten ----------------------------------------------------------------------------


def both_rotten(left: Path, folder: Path) -> Path:
    """Returns a folder of which neither file says what people stated."""
    copied(left, folder)
    (folder / LOG).unlink()
    (folder / DATABASE).write_bytes(b"no database" * 1_000)
    (folder / SECOND).write_bytes(b"nor a second copy")
    return folder


def test_when_nothing_is_known_everybody_identified_is_left_alone(
    left: Path, tmp_path: Path
) -> None:
    """Both files lost: no word to anybody known or just seen, at this start and at the next."""
    folder = both_rotten(left, tmp_path / "state")
    outcome = start_in(folder)
    assert_silent(outcome)
    assert_silent(start_in(folder, at_ms=LATER + 20 * MINUTE_MS))


def test_after_a_loss_a_database_that_rots_again_ends_no_start(left: Path, tmp_path: Path) -> None:
    """Nothing known but complaints and refusals, and then the database is gone as well."""
    folder = copied(left, tmp_path / "state")
    (folder / LOG).unlink()
    (folder / SECOND).write_bytes(b"no second copy")
    with closing(sqlite3.connect(folder / DATABASE)) as rotten:
        rotten.execute("UPDATE seal SET mac = x'00'")
        rotten.commit()
    assert_silent(start_in(folder))
    (folder / DATABASE).write_bytes(b"no database" * 1_000)
    assert_silent(start_in(folder, at_ms=LATER + 20 * MINUTE_MS))


def test_a_consent_stated_anew_ends_the_silence_for_its_person_alone(
    left: Path, tmp_path: Path
) -> None:
    """Weeks later: strangers are served again, and whoever stated a consent since; nobody else."""
    folder = both_rotten(left, tmp_path / "state")
    start_in(folder)
    at_ms = LATER + 14 * DAY_MS
    with running(folder, at_ms) as agent:
        grant = {"visitor": card(CARDS[-1]), "purposes": ["personal_recommendations"]}
        agent.take(told("desk", "consent.granted", at_ms, "anew", **grant))
    outcome = start_in(folder, at_ms=at_ms + MINUTE_MS)
    assert any(CARDS[-1] in each for each in outcome.receipts)
    assert not any(number in each for each in outcome.receipts for number in CARDS[:-1])
    assert outcome.n_others > outcome.n_personal == 0
    assert "statements_lost" in outcome.problems


def test_a_store_key_that_is_gone_is_told_as_a_loss(left: Path, tmp_path: Path) -> None:
    """Under another key nothing is vouched for: everybody fails closed."""
    folder = copied(left, tmp_path / "state")
    (folder / "keys" / "store.key").write_bytes(bytes(32))
    outcome = start_in(folder)
    assert outcome.offers == ()
    assert "statements_lost" in outcome.problems


def assert_silent(outcome: Outcome) -> None:
    """Asserts that nobody was told anything, and that the agent says why."""
    assert (outcome.offers, outcome.n_others, outcome.n_personal) == ((), 0, 0)
    assert "statements_lost" in outcome.problems


# --- in use -------------------------------------------------------------------------------------


def test_quiet_events_write_no_second_file(tmp_path: Path) -> None:
    """Only what people state is written twice, not where they go."""
    second = tmp_path / SECOND
    with running(tmp_path, LATER) as agent:
        before = second.read_bytes()
        agent.take(told("cam-1", "zone.entered", LATER, "e1", visitor=WALKER, zone="dairy"))
        assert second.read_bytes() == before
        data = {"visitor": card(WITHDREW[0])}
        agent.take(told("desk", "consent.withdrawn", LATER, "w1", **data))
        assert second.stat().st_size > len(before)


def test_whoever_is_purged_leaves_the_second_file_too(left: Path, tmp_path: Path) -> None:
    """A customer whose period is over is in neither file, and does not come back."""
    folder = copied(left, tmp_path / "state")
    at_ms = LATER + 401 * DAY_MS
    with running(folder, at_ms) as agent:
        for _ in range(20):
            agent.idle()
        kept = {visitor for (visitor,) in agent.rows("SELECT id FROM visitor")}
        assert kept == {v for (v,) in agent.rows("SELECT DISTINCT visitor FROM complaint")}
    persons = [line.split(b"\t") for line in (folder / SECOND).read_bytes().splitlines()]
    assert {line[2].decode() for line in persons if line[1] == b"p"} == kept


WALKER: Final = {"kind": "track", "value": "t1"}
