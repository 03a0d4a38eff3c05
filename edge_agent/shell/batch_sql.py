"""The SQL that a batch's rows are written with, by the name that they are queued under."""

from __future__ import annotations

from typing import Final

SQL: Final = {
    "inbox": "INSERT OR IGNORE INTO inbox (mark, day) VALUES (?, ?)",
    "visitor": (
        "INSERT INTO visitor (id, kind, first_seen_at_ms, last_seen_at_ms, profile)"
        " VALUES (?, ?, ?, ?, ?) ON CONFLICT (id) DO UPDATE SET"
        " first_seen_at_ms = min(first_seen_at_ms, excluded.first_seen_at_ms),"
        " last_seen_at_ms = max(last_seen_at_ms, excluded.last_seen_at_ms),"
        " profile = excluded.profile"
    ),
    "link": (
        "INSERT INTO link (kind, pseudonym, visitor, since_ms, until_ms, basis, ended_by, source,"
        " confidence) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)"
        " ON CONFLICT (kind, pseudonym, visitor, since_ms, basis) DO UPDATE SET"
        " until_ms = excluded.until_ms, ended_by = excluded.ended_by, source = excluded.source,"
        " confidence = excluded.confidence"
    ),
    # The basket that it was seen with turned out to be another's: there is no such evidence.
    "link_moved": (
        "DELETE FROM link WHERE kind = 'visitor' AND pseudonym = ? AND visitor = ?"
        " AND since_ms = ? AND basis = ?"
    ),
    "consent": (
        "INSERT OR IGNORE INTO consent (visitor, purpose, stated_at_ms, granted, source,"
        " text_version, channel, expires_at_ms, basis, only_on)"
        " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
    ),
    "complaint": (
        "INSERT INTO complaint (visitor, case_hash, opened_at_ms, closed_at_ms)"
        " VALUES (?, ?, ?, ?) ON CONFLICT (visitor, case_hash) DO UPDATE SET"
        " opened_at_ms = excluded.opened_at_ms, closed_at_ms = excluded.closed_at_ms"
    ),
    "visit_delete": "DELETE FROM visit WHERE id = ?",
    "stay_delete": "DELETE FROM zone_stay WHERE visit = ?",
    "mark_delete": "DELETE FROM mark WHERE id = ?",
    "visit": (
        "INSERT INTO visit (id, visitor, started_at_ms, last_at_ms, ended_at_ms, ended_by,"
        " has_paid, trail) VALUES (?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (id) DO UPDATE SET"
        " last_at_ms = excluded.last_at_ms, ended_at_ms = excluded.ended_at_ms,"
        " ended_by = excluded.ended_by, has_paid = excluded.has_paid, trail = excluded.trail"
    ),
    "mark": (
        "INSERT INTO mark (id, visit, at_ms, tie, kind, zone, product, dwell_ms, checksum)"
        " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)"
    ),
    "stay": (
        "INSERT OR REPLACE INTO zone_stay (visit, entered_at_ms, zone, left_at_ms, visitor)"
        " VALUES (?, ?, ?, ?, ?)"
    ),
    "basket": (
        "INSERT INTO basket (id, day, register, first_at_ms, last_at_ms, opened_at_ms, carrier,"
        " shared, member, voided_at_ms, paid_mark_at_ms, cards)"
        " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
        " ON CONFLICT (id) DO UPDATE SET first_at_ms = excluded.first_at_ms,"
        " last_at_ms = excluded.last_at_ms, opened_at_ms = excluded.opened_at_ms,"
        " carrier = excluded.carrier, shared = excluded.shared, member = excluded.member,"
        " voided_at_ms = excluded.voided_at_ms, paid_mark_at_ms = excluded.paid_mark_at_ms,"
        " cards = excluded.cards"
    ),
    "basket_line": (
        "INSERT OR IGNORE INTO basket_line (basket, at_ms, tie, product, quantity)"
        " VALUES (?, ?, ?, ?, ?)"
    ),
    "sale": (
        "INSERT OR REPLACE INTO sale (basket, completed_at_ms, currency, total, revision, event)"
        " VALUES (?, ?, ?, ?, ?, ?)"
    ),
    "sale_line_delete": "DELETE FROM sale_line WHERE basket = ?",
    "sale_line": (
        "INSERT INTO sale_line (basket, position, product, quantity, amount, discount)"
        " VALUES (?, ?, ?, ?, ?, ?)"
    ),
    "return": (
        "INSERT OR IGNORE INTO sale_return (id, at_ms, currency, total, lines)"
        " VALUES (?, ?, ?, ?, ?)"
    ),
    "showing": (
        "INSERT INTO showing (screen, decision, visitor, valid_until_ms, audience,"
        " is_shared) VALUES (?, ?, ?, ?, ?, ?)"
        " ON CONFLICT (screen) DO UPDATE SET decision = excluded.decision,"
        " visitor = excluded.visitor, valid_until_ms = excluded.valid_until_ms,"
        " audience = excluded.audience, is_shared = excluded.is_shared"
    ),
    "decision": (
        "INSERT OR IGNORE INTO decision (id, at_ms, moment, visitor, visit, channel, place, zone,"
        " level, items, popular, record, campaigns, missed, tried, member, spent_us, terms, goods,"
        " digest) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
    ),
    "tried": (
        "INSERT INTO tried (what, shown, answered) VALUES (?, 1, 0)"
        " ON CONFLICT (what) DO UPDATE SET shown = shown + 1"
    ),
    # The first holds: a unit is in its arm from the first moment on that it could have mattered.
    "exposure": (
        "INSERT OR IGNORE INTO exposure (visitor, campaign, unit, member, arm, share, goal, at_ms)"
        " VALUES (?, ?, ?, ?, ?, ?, ?, ?)"
    ),
    "told": "UPDATE exposure SET told_ms = ? WHERE visitor = ? AND campaign = ?",
    "trial": "INSERT OR REPLACE INTO trial (period_start_ms, cells) VALUES (?, ?)",
    "goal": "INSERT OR IGNORE INTO goal (id, products, at_ms) VALUES (?, ?, ?)",
    "help_call": (
        "INSERT INTO help_call (id, kind, zone, teams, cause, visitor, is_signed, concern,"
        " dwell_ms, presses, opened_at_ms, ends_at_ms, escalates_at_ms, acknowledged_at_ms,"
        " closed_at_ms, outcome, is_lasting)"
        " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
        " ON CONFLICT (id) DO UPDATE SET teams = excluded.teams, presses = excluded.presses,"
        " ends_at_ms = excluded.ends_at_ms, escalates_at_ms = excluded.escalates_at_ms,"
        " acknowledged_at_ms = excluded.acknowledged_at_ms,"
        " closed_at_ms = excluded.closed_at_ms, outcome = excluded.outcome,"
        " is_lasting = excluded.is_lasting"
    ),
    "alert": "INSERT OR IGNORE INTO alert (cause, zone, at_ms) VALUES (?, ?, ?)",
    "outcome": (
        "INSERT OR IGNORE INTO outcome (decision, kind, product, at_ms) VALUES (?, ?, ?, ?)"
    ),
    "contacts_delete": "DELETE FROM contact WHERE visitor = ? AND id GLOB 'hq/*'",
    "contacts_told_delete": "DELETE FROM campaign_told WHERE visitor = ? AND id GLOB 'hq/*'",
    "contact": (
        # Told again, it is known no later than before.
        "INSERT INTO contact (visitor, id, at_ms, channel, products, campaigns, outcome, missed,"
        " known_at_ms) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (visitor, id) DO UPDATE SET"
        " at_ms = excluded.at_ms, channel = excluded.channel, products = excluded.products,"
        " campaigns = excluded.campaigns, outcome = excluded.outcome, missed = excluded.missed"
    ),
    # Whoever no sensor noticed has no row of his own.
    "offer": (
        "INSERT OR IGNORE INTO offer (mark, campaign, products, given_at_ms, valid_until_ms,"
        " decision, visitor) VALUES (?, ?, ?, ?, ?, ?, (SELECT id FROM visitor WHERE id = ?))"
    ),
    "offer_redeemed": (
        "UPDATE offer SET redeemed_at_ms = ?, redeemed_by = ?, basket = ?"
        " WHERE mark = ? AND redeemed_at_ms IS NULL"
    ),
    "promotion_plan": (
        "INSERT OR REPLACE INTO promotion_plan (number, from_day, until_day, displayed, mailed)"
        " VALUES (?, ?, ?, ?, ?)"
    ),
    "campaign_over": "DELETE FROM campaign WHERE ends_at_ms <= ?",
    "campaign": "INSERT OR REPLACE INTO campaign (id, section, ends_at_ms) VALUES (?, ?, ?)",
    "campaign_use": (
        "INSERT INTO campaign_use (campaign, day, given, redeemed) VALUES (?, ?, ?, ?)"
        " ON CONFLICT (campaign, day) DO UPDATE SET given = given + excluded.given,"
        " redeemed = redeemed + excluded.redeemed"
    ),
    "fact": (
        "INSERT INTO fact (name, value, valid_until_ms) VALUES (?, ?, ?)"
        " ON CONFLICT (name) DO UPDATE SET value = excluded.value,"
        " valid_until_ms = excluded.valid_until_ms"
    ),
    "people": (
        "INSERT INTO people_count (source, zone, period_start_ms, entries, exits)"
        " VALUES (?, ?, ?, ?, ?) ON CONFLICT (period_start_ms, source, zone) DO UPDATE SET"
        " entries = entries + excluded.entries, exits = exits + excluded.exits"
    ),
    "level": (
        "INSERT INTO zone_level (kind, zone, at_ms, value) VALUES (?, ?, ?, ?)"
        " ON CONFLICT (kind, zone) DO UPDATE SET at_ms = excluded.at_ms, value = excluded.value"
        " WHERE excluded.at_ms >= zone_level.at_ms"
    ),
    "stock": (
        "INSERT INTO stock (product, quantity) VALUES (?, ?)"
        " ON CONFLICT (product) DO UPDATE SET quantity = excluded.quantity"
    ),
    "catalogue": (
        "INSERT INTO catalogue (product, title, price, currency, department, image, brand,"
        " minimum_age, since) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)"
        " ON CONFLICT (product) DO UPDATE SET title = excluded.title, price = excluded.price,"
        " currency = excluded.currency, department = excluded.department, image = excluded.image,"
        " brand = excluded.brand, minimum_age = excluded.minimum_age,"
        # What no decision rests on makes it no other product: a trigger keeps what it was.
        " since = iif(department IS excluded.department AND brand IS excluded.brand"
        " AND minimum_age = excluded.minimum_age, since, excluded.since)"
    ),
    "outbox": (
        "INSERT INTO outbox (id, link, topic, payload, retain, expires_at_ms, correlation,"
        " message_id, kind, visitor) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
    ),
    "outbox_sent": "DELETE FROM outbox WHERE id = ?",
    "outbox_acked": "DELETE FROM outbox WHERE message_id = ? AND link = 'hq'",
    "dead_letter": (
        "INSERT OR IGNORE INTO dead_letter (id, at_ms, reason, detail, topic, source, event,"
        " payload, form) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)"
    ),
    "dead_letter_delete": "DELETE FROM dead_letter WHERE id = ?",
    "mapping_state": (
        "INSERT INTO mapping_state (key, value, is_sealed, until_ms, updated_at_ms)"
        " VALUES (?, ?, ?, ?, ?) ON CONFLICT (key) DO UPDATE SET value = excluded.value,"
        " is_sealed = excluded.is_sealed, until_ms = excluded.until_ms,"
        " updated_at_ms = excluded.updated_at_ms"
    ),
    "mapped_message": (
        "INSERT OR REPLACE INTO mapped_message (slot, number, mark) VALUES (?, ?, ?)"
    ),
    "mapping": (
        "INSERT OR REPLACE INTO mapping (name, text, loaded_at_ms, problem) VALUES (?, ?, ?, ?)"
    ),
    "mapping_delete": "DELETE FROM mapping WHERE name = ?",
    "rule_set": (
        "INSERT OR REPLACE INTO rule_set (version, digest, text, since_ms) VALUES (?, ?, ?, ?)"
    ),
    "rule_set_until": "UPDATE rule_set SET until_ms = ? WHERE version = ?",
    "device": "INSERT OR REPLACE INTO device (source, last_at_ms, record) VALUES (?, ?, ?)",
    "dirty": "UPDATE summary_watermark SET is_dirty = 1 WHERE period_start_ms = ?",
    "summary": (
        "INSERT OR REPLACE INTO summary_watermark (kind, period_start_ms, revision, cells,"
        " is_dirty) VALUES (?, ?, ?, ?, 0)"
    ),
    "command": (
        "INSERT INTO command (kind, key, version, command, reason, at_ms)"
        " VALUES (?, ?, ?, ?, ?, ?) ON CONFLICT (kind, key) DO UPDATE SET"
        " version = excluded.version, command = excluded.command, reason = excluded.reason,"
        " at_ms = excluded.at_ms"
    ),
    "tombstone": "INSERT OR REPLACE INTO tombstone (mark, at_ms) VALUES (?, ?)",
    "audit": "INSERT INTO audit (at_ms, uid, act, outcome) VALUES (?, ?, ?, ?)",
    "customer_sent": (
        "INSERT OR REPLACE INTO customer_sent (visitor, at_ms, message_id, payload)"
        " VALUES (?, ?, ?, ?)"
    ),
    "customer_unsent": "DELETE FROM customer_sent WHERE message_id = ?",
    "meta": "INSERT OR REPLACE INTO meta (key, value) VALUES (?, ?)",
}
# Deletions before insertions of the same table, parents before what refers to them.
ORDER: Final = (
    "inbox",
    "visitor",
    "link_moved",
    "link",
    "consent",
    "complaint",
    "visit_delete",
    "stay_delete",
    "mark_delete",
    "visit",
    "mark",
    "stay",
    "basket",
    "basket_line",
    "sale",
    "sale_line_delete",
    "sale_line",
    "return",
    "showing",
    "decision",
    "tried",
    "exposure",
    "told",
    "trial",
    "goal",
    "help_call",
    "alert",
    "outcome",
    "contacts_delete",
    "contacts_told_delete",
    "contact",
    "promotion_plan",
    "campaign",
    "campaign_over",
    "offer",
    "offer_redeemed",
    "campaign_use",
    "fact",
    "people",
    "level",
    "stock",
    "catalogue",
    "outbox_sent",
    "outbox_acked",
    "outbox",
    "dead_letter_delete",
    "dead_letter",
    "mapping_state",
    "mapped_message",
    "mapping_delete",
    "mapping",
    "rule_set",
    "rule_set_until",
    "device",
    "summary",
    "dirty",
    "command",
    "tombstone",
    "audit",
    "customer_sent",
    "customer_unsent",
    "meta",
)
