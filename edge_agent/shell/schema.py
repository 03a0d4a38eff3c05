"""The database's tables, as an append-only list of migrations.

Ids of visits and decisions begin with their time, so that what is written together lies
together: on an SD card each touched page is a page written.
"""

from __future__ import annotations

import zlib
from typing import TYPE_CHECKING, Final

from sqlite_utils import Database
from sqlite_utils.migrations import Migrations

if TYPE_CHECKING:
    import sqlite3

migrations: Final = Migrations("edge-agent")

_FIRST: Final = """
CREATE TABLE meta (key TEXT PRIMARY KEY, value TEXT NOT NULL) STRICT, WITHOUT ROWID;

-- (source, id) of every event taken in, as a 63-bit mark.
CREATE TABLE inbox (mark INTEGER PRIMARY KEY, day INTEGER NOT NULL) STRICT;

CREATE TABLE visitor (
    id TEXT PRIMARY KEY,
    kind TEXT NOT NULL,
    first_seen_at_ms INTEGER NOT NULL,
    last_seen_at_ms INTEGER NOT NULL,
    profile TEXT
) STRICT, WITHOUT ROWID;

-- Identifier (or anonymous visitor, kind 'visitor') to visitor, ended by `until_ms`, never moved.
CREATE TABLE link (
    kind TEXT NOT NULL,
    pseudonym TEXT NOT NULL,
    visitor TEXT NOT NULL REFERENCES visitor (id) ON DELETE CASCADE,
    since_ms INTEGER NOT NULL,
    until_ms INTEGER,
    basis TEXT NOT NULL,
    PRIMARY KEY (kind, pseudonym, visitor)
) STRICT, WITHOUT ROWID;
CREATE INDEX link_visitor ON link (visitor);

CREATE TABLE consent (
    visitor TEXT NOT NULL REFERENCES visitor (id) ON DELETE CASCADE,
    purpose TEXT NOT NULL,
    stated_at_ms INTEGER NOT NULL,
    granted INTEGER NOT NULL,
    source TEXT NOT NULL,
    text_version TEXT,
    channel TEXT,
    expires_at_ms INTEGER,
    PRIMARY KEY (visitor, purpose, stated_at_ms, granted, source)
) STRICT, WITHOUT ROWID;

CREATE TABLE complaint (
    visitor TEXT NOT NULL REFERENCES visitor (id) ON DELETE CASCADE,
    case_hash TEXT NOT NULL,
    opened_at_ms INTEGER,
    closed_at_ms INTEGER,
    PRIMARY KEY (visitor, case_hash)
) STRICT, WITHOUT ROWID;

-- `trail` holds a closed visit's marks, so that a late one can be folded in.
CREATE TABLE visit (
    id TEXT PRIMARY KEY,
    visitor TEXT NOT NULL,
    started_at_ms INTEGER NOT NULL,
    last_at_ms INTEGER NOT NULL,
    ended_at_ms INTEGER,
    ended_by TEXT,
    has_paid INTEGER NOT NULL,
    trail TEXT
) STRICT, WITHOUT ROWID;
CREATE INDEX visit_visitor ON visit (visitor, started_at_ms);

-- Journal of the open visits' marks: appended, and emptied as visits close.
CREATE TABLE mark (
    id INTEGER PRIMARY KEY,
    visit TEXT NOT NULL,
    at_ms INTEGER NOT NULL,
    tie INTEGER NOT NULL,
    kind TEXT NOT NULL,
    zone TEXT,
    product TEXT,
    dwell_ms INTEGER NOT NULL
) STRICT;

CREATE TABLE zone_stay (
    visit TEXT NOT NULL,
    entered_at_ms INTEGER NOT NULL,
    zone TEXT NOT NULL,
    left_at_ms INTEGER NOT NULL,
    visitor TEXT NOT NULL,
    PRIMARY KEY (visit, entered_at_ms, zone)
) STRICT, WITHOUT ROWID;

CREATE TABLE basket (
    id TEXT PRIMARY KEY,
    day TEXT NOT NULL,
    register TEXT NOT NULL,
    first_at_ms INTEGER NOT NULL,
    last_at_ms INTEGER NOT NULL,
    opened_at_ms INTEGER,
    carrier TEXT,
    shared TEXT,
    member TEXT,
    voided_at_ms INTEGER,
    paid_mark_at_ms INTEGER
) STRICT, WITHOUT ROWID;
CREATE INDEX basket_carrier ON basket (carrier);

CREATE TABLE basket_line (
    basket TEXT NOT NULL REFERENCES basket (id) ON DELETE CASCADE,
    at_ms INTEGER NOT NULL,
    tie INTEGER NOT NULL,
    product TEXT NOT NULL,
    quantity TEXT NOT NULL,
    PRIMARY KEY (basket, at_ms, tie)
) STRICT, WITHOUT ROWID;

CREATE TABLE sale (
    basket TEXT PRIMARY KEY REFERENCES basket (id) ON DELETE CASCADE,
    completed_at_ms INTEGER NOT NULL,
    currency TEXT NOT NULL,
    total TEXT NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX sale_completed ON sale (completed_at_ms);

CREATE TABLE sale_line (
    basket TEXT NOT NULL REFERENCES basket (id) ON DELETE CASCADE,
    position INTEGER NOT NULL,
    product TEXT NOT NULL,
    quantity TEXT NOT NULL,
    amount TEXT NOT NULL,
    discount TEXT NOT NULL,
    PRIMARY KEY (basket, position)
) STRICT, WITHOUT ROWID;

CREATE TABLE sale_return (
    id INTEGER PRIMARY KEY,
    at_ms INTEGER NOT NULL,
    currency TEXT NOT NULL,
    total TEXT NOT NULL,
    lines TEXT NOT NULL
) STRICT;

CREATE TABLE decision (
    id TEXT PRIMARY KEY,
    at_ms INTEGER NOT NULL,
    moment TEXT NOT NULL,
    visitor TEXT,
    visit TEXT,
    channel TEXT NOT NULL,
    place TEXT,
    zone TEXT,
    level TEXT NOT NULL,
    items TEXT NOT NULL,
    popular TEXT NOT NULL,
    record TEXT NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX decision_visitor ON decision (visitor, at_ms) WHERE visitor IS NOT NULL;

CREATE TABLE outcome (
    decision TEXT NOT NULL,
    kind TEXT NOT NULL,
    product TEXT NOT NULL,
    at_ms INTEGER NOT NULL,
    PRIMARY KEY (decision, kind, product)
) STRICT, WITHOUT ROWID;

-- Staff alerts, by what caused them: one stay is told once.
CREATE TABLE alert (
    cause TEXT PRIMARY KEY,
    zone TEXT NOT NULL,
    at_ms INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE showing (
    screen TEXT PRIMARY KEY,
    decision TEXT NOT NULL,
    visitor TEXT,
    valid_until_ms INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE people_count (
    source TEXT NOT NULL,
    zone TEXT NOT NULL,
    period_start_ms INTEGER NOT NULL,
    entries INTEGER NOT NULL,
    exits INTEGER NOT NULL,
    PRIMARY KEY (period_start_ms, source, zone)
) STRICT, WITHOUT ROWID;

CREATE TABLE zone_level (
    kind TEXT NOT NULL,
    zone TEXT NOT NULL,
    at_ms INTEGER NOT NULL,
    value INTEGER NOT NULL,
    PRIMARY KEY (kind, zone)
) STRICT, WITHOUT ROWID;

CREATE TABLE outbox (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    link TEXT NOT NULL,
    topic TEXT NOT NULL,
    payload BLOB NOT NULL,
    retain INTEGER NOT NULL,
    expires_at_ms INTEGER,
    correlation BLOB,
    message_id TEXT,
    kind TEXT NOT NULL,
    visitor TEXT
) STRICT;
CREATE INDEX outbox_message ON outbox (message_id) WHERE message_id IS NOT NULL;

CREATE TABLE dead_letter (
    id TEXT PRIMARY KEY,
    at_ms INTEGER NOT NULL,
    reason TEXT NOT NULL,
    detail TEXT NOT NULL,
    topic TEXT NOT NULL,
    source TEXT,
    event TEXT,
    payload BLOB
) STRICT, WITHOUT ROWID;

-- How far summaries were made, what the last revision said, and what must be made again.
CREATE TABLE summary_watermark (
    kind TEXT NOT NULL,
    period_start_ms INTEGER NOT NULL,
    revision INTEGER NOT NULL,
    cells TEXT NOT NULL,
    is_dirty INTEGER NOT NULL,
    PRIMARY KEY (kind, period_start_ms)
) STRICT, WITHOUT ROWID;

CREATE TABLE command (
    kind TEXT NOT NULL,
    key TEXT NOT NULL,
    version INTEGER NOT NULL,
    command TEXT NOT NULL,
    reason TEXT,
    at_ms INTEGER NOT NULL,
    PRIMARY KEY (kind, key)
) STRICT, WITHOUT ROWID;

CREATE TABLE stock (product TEXT PRIMARY KEY, quantity REAL NOT NULL) STRICT, WITHOUT ROWID;

CREATE TABLE catalogue (
    product TEXT PRIMARY KEY,
    title TEXT NOT NULL,
    price TEXT,
    currency TEXT,
    department TEXT,
    image TEXT
) STRICT, WITHOUT ROWID;
"""


@migrations()
def m001_first(database: Database) -> None:
    """Creates every table of the first version."""
    for statement in _FIRST.split(";"):
        if statement.strip():
            database.execute(statement)
    database.execute("INSERT INTO meta (key, value) VALUES ('schema_version', '1')")


_MAPPINGS: Final = """
-- What mappings remember between messages, under keyed hashes. Text in it is sealed.
CREATE TABLE mapping_state (
    key TEXT PRIMARY KEY,
    value BLOB NOT NULL,
    is_sealed INTEGER NOT NULL,
    until_ms INTEGER NOT NULL,
    updated_at_ms INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- The last good text of each mapping, and what is wrong with the newest one.
CREATE TABLE mapping (
    name TEXT PRIMARY KEY,
    text TEXT NOT NULL,
    loaded_at_ms INTEGER NOT NULL,
    problem TEXT
) STRICT, WITHOUT ROWID;

-- When each device was last heard, how often, and how wrong its clock is.
CREATE TABLE device (
    source TEXT PRIMARY KEY,
    last_at_ms INTEGER NOT NULL,
    record TEXT NOT NULL
) STRICT, WITHOUT ROWID;

-- 1: topic and payload are sealed together, and `topic` shows the mapping's filter alone.
ALTER TABLE dead_letter ADD COLUMN form INTEGER NOT NULL DEFAULT 0;

UPDATE meta SET value = '2' WHERE key = 'schema_version'
"""


@migrations()
def m002_mappings(database: Database) -> None:
    """Adds what devices' own messages need."""
    for statement in _MAPPINGS.split(";"):
        if statement.strip():
            database.execute(statement)


@migrations()
def m003_mapped_messages(database: Database) -> None:
    """Adds the ring of devices' messages that were taken in of late."""
    database.execute(
        "CREATE TABLE mapped_message (slot INTEGER PRIMARY KEY, number INTEGER NOT NULL,"
        " mark INTEGER NOT NULL) STRICT"
    )
    database.execute("UPDATE meta SET value = '3' WHERE key = 'schema_version'")


_LINKS: Final = (
    # A link that ended and one that began later between the same two are two links.
    """CREATE TABLE link_of_4 (
    kind TEXT NOT NULL,
    pseudonym TEXT NOT NULL,
    visitor TEXT NOT NULL REFERENCES visitor (id) ON DELETE CASCADE,
    since_ms INTEGER NOT NULL,
    until_ms INTEGER,
    basis TEXT NOT NULL,
    ended_by TEXT,
    source TEXT NOT NULL,
    confidence REAL NOT NULL,
    PRIMARY KEY (kind, pseudonym, visitor, since_ms, basis)
) STRICT, WITHOUT ROWID""",
    "INSERT INTO link_of_4 SELECT kind, pseudonym, visitor, since_ms, NULL, basis, NULL, '', 1.0"
    " FROM link WHERE until_ms IS NULL",
    "DROP TABLE link",
    "ALTER TABLE link_of_4 RENAME TO link",
    "CREATE INDEX link_visitor ON link (visitor, kind)",
    # Evidence about somebody goes with him, on whichever side of it he stands.
    "CREATE TRIGGER visitor_gone AFTER DELETE ON visitor BEGIN"
    " DELETE FROM link WHERE kind = 'visitor' AND pseudonym = OLD.id; END",
    "ALTER TABLE basket ADD COLUMN cards TEXT NOT NULL DEFAULT '[]'",
    "UPDATE meta SET value = '4' WHERE key = 'schema_version'",
)


@migrations()
def m004_links(database: Database) -> None:
    """Makes a link evidence with a source and an end, and keeps every reading of a card."""
    for statement in _LINKS:
        database.execute(statement)


@migrations()
def m005_revised_sales(database: Database) -> None:
    """Adds which of a till's statements of a sale holds."""
    database.execute("ALTER TABLE sale ADD COLUMN revision INTEGER NOT NULL DEFAULT 0")
    database.execute("UPDATE meta SET value = '5' WHERE key = 'schema_version'")


@migrations()
def m006_seals(database: Database) -> None:
    """Adds the MAC of what each person stated; the first comparison makes those of today."""
    database.execute(
        "CREATE TABLE seal (visitor TEXT PRIMARY KEY REFERENCES visitor (id) ON DELETE CASCADE,"
        " mac BLOB NOT NULL) STRICT, WITHOUT ROWID"
    )
    database.execute("UPDATE meta SET value = '6' WHERE key = 'schema_version'")


_RIGHTS: Final = """
-- Whom the store had to forget: keyed marks that keep late messages from bringing him back.
CREATE TABLE tombstone (
    mark TEXT PRIMARY KEY,
    at_ms INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- What was done with somebody's data at his wish: by which user, and never whose it was.
CREATE TABLE audit (
    id INTEGER PRIMARY KEY,
    at_ms INTEGER NOT NULL,
    uid INTEGER NOT NULL,
    act TEXT NOT NULL,
    outcome TEXT NOT NULL
) STRICT;

-- What HQ was sent of a consenting customer, so that he can be told.
CREATE TABLE customer_sent (
    visitor TEXT NOT NULL REFERENCES visitor (id) ON DELETE CASCADE,
    at_ms INTEGER NOT NULL,
    message_id TEXT NOT NULL,
    payload BLOB NOT NULL,
    PRIMARY KEY (visitor, message_id)
) STRICT, WITHOUT ROWID;

UPDATE meta SET value = '7' WHERE key = 'schema_version'
"""


@migrations()
def m007_rights(database: Database) -> None:
    """Adds what people's rights need."""
    for statement in _RIGHTS.split(";"):
        if statement.strip():
            database.execute(statement)


_CHANNELS: Final = (
    # At one instant the same may be said of several channels.
    """CREATE TABLE consent_of_8 (
    visitor TEXT NOT NULL REFERENCES visitor (id) ON DELETE CASCADE,
    purpose TEXT NOT NULL,
    stated_at_ms INTEGER NOT NULL,
    granted INTEGER NOT NULL,
    source TEXT NOT NULL,
    text_version TEXT,
    channel TEXT,
    expires_at_ms INTEGER,
    basis TEXT NOT NULL DEFAULT 'dpv:Consent',
    only_on TEXT NOT NULL DEFAULT '',
    PRIMARY KEY (visitor, purpose, stated_at_ms, granted, source, only_on)
) STRICT, WITHOUT ROWID""",
    "INSERT INTO consent_of_8 SELECT visitor, purpose, stated_at_ms, granted, source,"
    " text_version, channel, expires_at_ms, 'dpv:Consent', '' FROM consent",
    "DROP TABLE consent",
    "ALTER TABLE consent_of_8 RENAME TO consent",
    "UPDATE meta SET value = '8' WHERE key = 'schema_version'",
)


@migrations()
def m008_channels(database: Database) -> None:
    """Gives each statement its legal basis and the channel that it is about; none is all."""
    for statement in _CHANNELS:
        database.execute(statement)


@migrations()
def m009_events_of_sales(database: Database) -> None:
    """Adds the source and id of the event that told of a sale: what a profile gives as reason."""
    database.execute("ALTER TABLE sale ADD COLUMN event TEXT")
    database.execute("UPDATE meta SET value = '9' WHERE key = 'schema_version'")


@migrations()
def m010_brands(database: Database) -> None:
    """Adds the brand of a product that HQ's feed told."""
    database.execute("ALTER TABLE catalogue ADD COLUMN brand TEXT")
    database.execute("UPDATE meta SET value = '10' WHERE key = 'schema_version'")


_SURROUNDINGS: Final = """
-- Whose words a decision said: what caps over all channels count.
ALTER TABLE decision ADD COLUMN campaigns TEXT NOT NULL DEFAULT '[]';

-- What HQ says was said to a customer by a channel of its own.
CREATE TABLE contact (
    visitor TEXT NOT NULL REFERENCES visitor (id) ON DELETE CASCADE,
    id TEXT NOT NULL,
    at_ms INTEGER NOT NULL,
    channel TEXT NOT NULL,
    products TEXT NOT NULL,
    campaigns TEXT NOT NULL,
    outcome TEXT NOT NULL,
    PRIMARY KEY (visitor, id)
) STRICT, WITHOUT ROWID;

-- How often a campaign was said and redeemed on a store-local day: what its budget counts.
CREATE TABLE campaign_use (
    campaign TEXT NOT NULL,
    day TEXT NOT NULL,
    given INTEGER NOT NULL,
    redeemed INTEGER NOT NULL,
    PRIMARY KEY (campaign, day)
) STRICT, WITHOUT ROWID;

-- What HQ says of the day, each with its end.
CREATE TABLE fact (
    name TEXT PRIMARY KEY,
    value TEXT NOT NULL,
    valid_until_ms INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

UPDATE meta SET value = '11' WHERE key = 'schema_version'
"""


@migrations()
def m011_surroundings(database: Database) -> None:
    """Adds what decisions rest on beside the visit: contacts, campaigns' uses, facts."""
    for statement in _SURROUNDINGS.split(";"):
        if statement.strip():
            database.execute(statement)


_EXPOSURES: Final = (
    # Who was in which arm of which campaign from when on; `told_ms` is the day whose summary has
    # counted the unit, NULL until one has.
    """CREATE TABLE exposure (
    visitor TEXT NOT NULL,
    campaign TEXT NOT NULL,
    unit TEXT NOT NULL,
    member TEXT,
    arm TEXT NOT NULL,
    share REAL NOT NULL,
    goal TEXT NOT NULL,
    at_ms INTEGER NOT NULL,
    told_ms INTEGER,
    PRIMARY KEY (visitor, campaign)
) STRICT, WITHOUT ROWID""",
    "CREATE INDEX exposure_told ON exposure (told_ms, at_ms)",
    "CREATE INDEX exposure_unit ON exposure (campaign, unit)",
    # Products whose purchase is a campaign's outcome, under a digest of them.
    "CREATE TABLE goal (id TEXT PRIMARY KEY, products TEXT NOT NULL, at_ms INTEGER NOT NULL)"
    " STRICT, WITHOUT ROWID",
    "UPDATE meta SET value = '12' WHERE key = 'schema_version'",
)


@migrations()
def m012_exposures(database: Database) -> None:
    """Adds who is in which arm of a campaign with a control group."""
    for statement in _EXPOSURES:
        database.execute(statement)


@migrations()
def m013_minimum_ages(database: Database) -> None:
    """Adds the age from which one may be sold a product, as HQ's feed told it."""
    database.execute("ALTER TABLE catalogue ADD COLUMN minimum_age INTEGER NOT NULL DEFAULT 0")
    database.execute("UPDATE meta SET value = '13' WHERE key = 'schema_version'")


@migrations()
def m014_rule_sets(database: Database) -> None:
    """Adds each policy that was in force, as it was written, under its version and digest."""
    database.execute(
        "CREATE TABLE rule_set (version TEXT PRIMARY KEY, digest TEXT NOT NULL,"
        " text TEXT NOT NULL, since_ms INTEGER NOT NULL) STRICT, WITHOUT ROWID"
    )
    database.execute("UPDATE meta SET value = '14' WHERE key = 'schema_version'")


@migrations()
def m015_trials(database: Database) -> None:
    """Adds what was told of campaigns' arms: sums over k visitors and more, by day."""
    database.execute(
        "CREATE TABLE trial (period_start_ms INTEGER PRIMARY KEY, cells TEXT NOT NULL) STRICT"
    )
    database.execute("UPDATE meta SET value = '15' WHERE key = 'schema_version'")


@migrations()
def m016_audiences_of_showings(database: Database) -> None:
    """Adds who may see what a screen shows; of what it shows already, its visitor alone."""
    database.execute("ALTER TABLE showing ADD COLUMN audience TEXT NOT NULL DEFAULT 'private'")
    database.execute("ALTER TABLE showing ADD COLUMN is_shared INTEGER NOT NULL DEFAULT 0")
    database.execute("UPDATE meta SET value = '16' WHERE key = 'schema_version'")


_CALLS: Final = """
-- Calls for a person's help: whom each was made to, who answered and what came of it.
CREATE TABLE help_call (
    id TEXT PRIMARY KEY,
    kind TEXT NOT NULL,
    zone TEXT NOT NULL,
    teams TEXT NOT NULL,
    cause TEXT NOT NULL,
    visitor TEXT,
    is_signed INTEGER NOT NULL,
    concern TEXT NOT NULL,
    dwell_ms INTEGER NOT NULL,
    presses INTEGER NOT NULL,
    opened_at_ms INTEGER NOT NULL,
    ends_at_ms INTEGER NOT NULL,
    escalates_at_ms INTEGER,
    acknowledged_at_ms INTEGER,
    closed_at_ms INTEGER,
    outcome TEXT,
    is_lasting INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX help_call_live ON help_call (id) WHERE closed_at_ms IS NULL OR is_lasting;

UPDATE meta SET value = '17' WHERE key = 'schema_version'
"""


@migrations()
def m017_calls(database: Database) -> None:
    """Adds calls for help that are followed up."""
    for statement in _CALLS.split(";"):
        if statement.strip():
            database.execute(statement)


_OFFERS: Final = (
    # Under a keyed digest of its code; `redeemed_by` says which request or event used it.
    """CREATE TABLE offer (
    mark TEXT PRIMARY KEY,
    campaign TEXT NOT NULL,
    products TEXT NOT NULL,
    given_at_ms INTEGER NOT NULL,
    valid_until_ms INTEGER NOT NULL,
    decision TEXT,
    visitor TEXT REFERENCES visitor (id) ON DELETE SET NULL,
    redeemed_at_ms INTEGER,
    redeemed_by TEXT,
    basket TEXT
) STRICT, WITHOUT ROWID""",
    "CREATE INDEX offer_visitor ON offer (visitor) WHERE visitor IS NOT NULL",
    "UPDATE meta SET value = '18' WHERE key = 'schema_version'",
)


@migrations()
def m018_offers(database: Database) -> None:
    """Adds limited offers, which a till of the store takes once."""
    for statement in _OFFERS:
        database.execute(statement)


_TRIED: Final = (
    # How often an action stood first on a store-local day and was answered, where the store
    # explores: the day, a blank, the action.
    "CREATE TABLE tried (what TEXT PRIMARY KEY, shown INTEGER NOT NULL,"
    " answered INTEGER NOT NULL) STRICT, WITHOUT ROWID",
    "ALTER TABLE decision ADD COLUMN tried TEXT",
    # Its first answer counts, whichever came first; joins of purchases pass here too. Where
    # nothing was ever tried nothing is looked up: 10 us an answer, against 25.
    """CREATE TRIGGER outcome_of_tried AFTER INSERT ON outcome
WHEN NEW.kind IN ('bought', 'redeemed', 'tapped') AND EXISTS (SELECT 1 FROM tried) BEGIN
    UPDATE tried SET answered = answered + 1 WHERE what = (
        SELECT tried FROM decision WHERE id = NEW.decision
        AND instr(substr(tried, 12) || ' ', NEW.product || ' ') = 1)
    AND NOT EXISTS (SELECT 1 FROM outcome WHERE decision = NEW.decision
        AND product = NEW.product AND kind IN ('bought', 'redeemed', 'tapped')
        AND kind <> NEW.kind);
END""",
    "UPDATE meta SET value = '19' WHERE key = 'schema_version'",
)


@migrations()
def m019_tried(database: Database) -> None:
    """Adds what exploration learns from: what stood first, and whether it was answered."""
    for statement in _TRIED:
        database.execute(statement)


@migrations()
def m020_campaigns(database: Database) -> None:
    """Adds HQ's campaigns, as the sections of a policy that they are."""
    database.execute(
        "CREATE TABLE campaign (id TEXT PRIMARY KEY, section TEXT NOT NULL,"
        " ends_at_ms INTEGER NOT NULL) STRICT, WITHOUT ROWID"
    )
    database.execute("UPDATE meta SET value = '20' WHERE key = 'schema_version'")


@migrations()
def m021_checksums(database: Database) -> None:
    """Adds a checksum to each mark of an open visit; 0 is none, of before."""
    database.execute("ALTER TABLE mark ADD COLUMN checksum INTEGER NOT NULL DEFAULT 0")
    database.execute("UPDATE meta SET value = '21' WHERE key = 'schema_version'")


@migrations()
def m022_promotion_plans(database: Database) -> None:
    """Adds HQ's plans of promotions; one is never changed, so that records keep their meaning."""
    database.execute(
        "CREATE TABLE promotion_plan (number INTEGER PRIMARY KEY, from_day TEXT NOT NULL,"
        " until_day TEXT NOT NULL, displayed TEXT NOT NULL, mailed TEXT NOT NULL) STRICT"
    )
    database.execute("UPDATE meta SET value = '22' WHERE key = 'schema_version'")


_MEMBERS: Final = (
    # Whom a visitor was taken for when something was said to him, where that is another: caps
    # count it to both.
    "ALTER TABLE decision ADD COLUMN member TEXT",
    "UPDATE decision SET member = json_extract(record, '$.member') WHERE CASE"
    " WHEN json_valid(record) THEN json_extract(record, '$.member') END <> visitor",
    "CREATE INDEX decision_member ON decision (member, at_ms) WHERE member IS NOT NULL",
    "UPDATE meta SET value = '23' WHERE key = 'schema_version'",
)


@migrations()
def m023_members_told(database: Database) -> None:
    """Adds whom a visitor was taken for, so that what was said to him counts to that person."""
    for statement in _MEMBERS:
        database.execute(statement)


@migrations()
def m024_time_spent(database: Database) -> None:
    """Adds how long a decision took, beside its record; of those before nobody knows."""
    database.execute("ALTER TABLE decision ADD COLUMN spent_us INTEGER")
    database.execute("UPDATE meta SET value = '24' WHERE key = 'schema_version'")


@migrations()
def m025_campaigns_missed(database: Database) -> None:
    """Adds in place of which campaigns what sells best stood, which caps of a visitor count."""
    database.execute("ALTER TABLE decision ADD COLUMN missed TEXT NOT NULL DEFAULT '[]'")
    database.execute("UPDATE meta SET value = '25' WHERE key = 'schema_version'")


@migrations()
def m026_campaigns_missed_together(database: Database) -> None:
    """Adds the same of what a screen said to several people, which caps of each count."""
    database.execute("ALTER TABLE contact ADD COLUMN missed TEXT NOT NULL DEFAULT '[]'")
    database.execute("UPDATE meta SET value = '26' WHERE key = 'schema_version'")


_REDEEMED: Final = (
    # An offer outlives its decision's outcomes, so it says what each redemption was of. A code
    # that was taken along with another is no answer. The trigger counts what was tried.
    """INSERT OR IGNORE INTO outcome (decision, kind, product, at_ms)
SELECT o.decision, 'redeemed', j.value, o.redeemed_at_ms FROM offer o
JOIN outcome x ON x.decision = o.decision AND x.kind = 'redeemed' AND x.product = '',
json_each(o.products) j
WHERE o.redeemed_at_ms IS NOT NULL AND (o.redeemed_by <> '' OR o.redeemed_at_ms = x.at_ms)""",
    """DELETE FROM outcome WHERE kind = 'redeemed' AND product = '' AND EXISTS
(SELECT 1 FROM outcome y WHERE y.decision = outcome.decision AND y.kind = 'redeemed'
AND y.product <> '')""",
    "UPDATE meta SET value = '27' WHERE key = 'schema_version'",
)


@migrations()
def m027_redeemed_products(database: Database) -> None:
    """Names the products of redeemed offers in what came of their decisions."""
    for statement in _REDEEMED:
        database.execute(statement)


_TOLD: Final = (
    # Who was told of which campaign with a limit for each visitor, once the decision is purged.
    # `whose` says for whom it was decided; NULL for what HQ told of, and for what was said to
    # several at once.
    """CREATE TABLE campaign_told (
    visitor TEXT NOT NULL REFERENCES visitor (id) ON DELETE CASCADE,
    campaign TEXT NOT NULL,
    id TEXT NOT NULL,
    at_ms INTEGER NOT NULL,
    is_missed INTEGER NOT NULL,
    whose TEXT,
    PRIMARY KEY (visitor, campaign, id)
) STRICT, WITHOUT ROWID""",
    "CREATE INDEX campaign_told_whose ON campaign_told (whose) WHERE whose <> visitor",
    # The day on which a campaign was last in force, and with a limit for each visitor.
    """CREATE TABLE campaign_run (
    campaign TEXT PRIMARY KEY,
    in_force_ms INTEGER NOT NULL,
    capped_ms INTEGER
) STRICT, WITHOUT ROWID""",
    "DROP TRIGGER visitor_gone",
    # What was said to somebody who, as was told later, is not the person he was taken for, stays
    # none of that person's once nobody knows of the mistake any more.
    """CREATE TRIGGER visitor_gone AFTER DELETE ON visitor BEGIN
    UPDATE decision SET member = NULL WHERE visitor = OLD.id AND member IN (
        SELECT visitor FROM link WHERE kind = 'visitor' AND pseudonym = OLD.id GROUP BY visitor
        HAVING NOT max(basis <> 'unlink' AND coalesce(ended_by, '') <> 'unlink'));
    DELETE FROM campaign_told WHERE whose = OLD.id AND whose <> visitor AND visitor IN (
        SELECT visitor FROM link WHERE kind = 'visitor' AND pseudonym = OLD.id GROUP BY visitor
        HAVING NOT max(basis <> 'unlink' AND coalesce(ended_by, '') <> 'unlink'));
    UPDATE campaign_told SET whose = visitor WHERE whose = OLD.id AND whose <> visitor;
    DELETE FROM link WHERE kind = 'visitor' AND pseudonym = OLD.id;
END""",
    "UPDATE meta SET value = '28' WHERE key = 'schema_version'",
)


@migrations()
def m028_campaigns_told(database: Database) -> None:
    """Adds what caps of a campaign count when the decisions themselves are purged."""
    for statement in _TOLD:
        database.execute(statement)


_RULE_SETS: Final = """CREATE TABLE rule_set_of_29 (
    version TEXT PRIMARY KEY,
    digest TEXT NOT NULL,
    text BLOB NOT NULL,
    since_ms INTEGER NOT NULL,
    until_ms INTEGER
) STRICT, WITHOUT ROWID"""
# Up to when a decision may name one that is not in force: the newest that there is.
_UNTIL: Final = (
    "UPDATE rule_set SET until_ms = max(since_ms, coalesce((SELECT at_ms FROM decision"
    " ORDER BY id DESC LIMIT 1), 0))"
    " WHERE version NOT IN (SELECT value FROM meta WHERE key = 'rules_in_force')"
)


@migrations()
def m029_rule_sets_in_use(database: Database) -> None:
    """Adds up to when decisions name a policy, to be kept as long as they; packs its text."""
    kept = database.execute("SELECT version, digest, text, since_ms FROM rule_set").fetchall()
    database.execute(_RULE_SETS)
    for version, digest, text, since_ms in kept:
        database.execute(
            "INSERT INTO rule_set_of_29 VALUES (?, ?, ?, ?, NULL)",
            (version, digest, zlib.compress(text.encode()), since_ms),
        )
    database.execute("DROP TABLE rule_set")
    database.execute("ALTER TABLE rule_set_of_29 RENAME TO rule_set")
    database.execute(_UNTIL)
    database.execute("UPDATE meta SET value = '29' WHERE key = 'schema_version'")


_RECEIPTS: Final = (
    # Which of `terms` held when it was decided, how often HQ had changed the goods by then, and
    # a digest of the row. Those of before have none of them.
    "ALTER TABLE decision ADD COLUMN terms INTEGER",
    "ALTER TABLE decision ADD COLUMN goods INTEGER",
    "ALTER TABLE decision ADD COLUMN digest BLOB",
    # The agent's own settings that decisions rest on, each kind once.
    "CREATE TABLE terms (id INTEGER PRIMARY KEY, text TEXT NOT NULL UNIQUE) STRICT",
    # The number of the change that made a product what it is, and what it was before.
    "ALTER TABLE catalogue ADD COLUMN since INTEGER NOT NULL DEFAULT 0",
    """CREATE TABLE catalogue_before (
    product TEXT NOT NULL,
    since INTEGER NOT NULL,
    until INTEGER NOT NULL,
    department TEXT,
    brand TEXT,
    minimum_age INTEGER NOT NULL,
    PRIMARY KEY (product, until)
) STRICT, WITHOUT ROWID""",
    """CREATE TRIGGER catalogue_changed AFTER UPDATE OF since ON catalogue
WHEN NEW.since <> OLD.since BEGIN
    INSERT OR IGNORE INTO catalogue_before (product, since, until, department, brand, minimum_age)
    VALUES (OLD.product, OLD.since, NEW.since, OLD.department, OLD.brand, OLD.minimum_age);
END""",
    "UPDATE meta SET value = '30' WHERE key = 'schema_version'",
)


@migrations()
def m030_receipts(database: Database) -> None:
    """Adds what a decision was taken on beside its record, and a digest of its row."""
    for statement in _RECEIPTS:
        database.execute(statement)


@migrations()
def m031_contacts_known(database: Database) -> None:
    """Adds from when on a contact of HQ's was known, which is later than it happened."""
    database.execute("ALTER TABLE contact ADD COLUMN known_at_ms INTEGER")
    database.execute("UPDATE meta SET value = '31' WHERE key = 'schema_version'")


_MISTAKEN: Final = (
    # Of a visitor who is gone: that he was not the person who he was taken for (`member`), which
    # his link said. It stands in no digest: the row stays what was decided.
    "ALTER TABLE decision ADD COLUMN is_mistaken INTEGER NOT NULL DEFAULT 0",
    "DROP TRIGGER visitor_gone",
    """CREATE TRIGGER visitor_gone AFTER DELETE ON visitor BEGIN
    UPDATE decision SET is_mistaken = 1 WHERE visitor = OLD.id AND member IN (
        SELECT visitor FROM link WHERE kind = 'visitor' AND pseudonym = OLD.id GROUP BY visitor
        HAVING NOT max(basis <> 'unlink' AND coalesce(ended_by, '') <> 'unlink'));
    DELETE FROM campaign_told WHERE whose = OLD.id AND whose <> visitor AND visitor IN (
        SELECT visitor FROM link WHERE kind = 'visitor' AND pseudonym = OLD.id GROUP BY visitor
        HAVING NOT max(basis <> 'unlink' AND coalesce(ended_by, '') <> 'unlink'));
    UPDATE campaign_told SET whose = visitor WHERE whose = OLD.id AND whose <> visitor;
    DELETE FROM link WHERE kind = 'visitor' AND pseudonym = OLD.id;
END""",
    "UPDATE meta SET value = '32' WHERE key = 'schema_version'",
)


@migrations()
def m032_mistaken_links(database: Database) -> None:
    """Leaves decisions as written when a visitor goes who was mistaken for somebody else."""
    for statement in _MISTAKEN:
        database.execute(statement)


def migrate(connection: sqlite3.Connection) -> None:
    """Applies what is not applied yet, each migration in one transaction with its record."""
    migrations.apply(Database(connection))
