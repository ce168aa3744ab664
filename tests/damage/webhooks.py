"""Damages to webhooks out: deliveries and their attempts (17, 18, 21, 23)."""

from damage.finds import PARTNER, Damage

SUCCEEDED = """
SELECT min(d.id::text) FROM delivery AS d
WHERE d.state = 'succeeded' AND d.event_id IS NOT NULL AND d.series = 1 AND d.attempts = 1
"""
REPLAYED = "SELECT min(id::text) FROM delivery WHERE series = 2"
EXHAUSTED = "SELECT min(id::text) FROM delivery WHERE failed_for = 'exhausted'"
REFUSED = "SELECT min(id::text) FROM delivery WHERE failed_for = 'refused'"
WAITING = "SELECT min(id::text) FROM delivery WHERE state = 'pending' AND attempts = 1"
ATTEMPT = "format('%s %s %s', delivery_id, series, number)"
AN_ATTEMPT = (
    f"SELECT {ATTEMPT} FROM delivery_attempt WHERE delivery_id::text = ({{}}) AND number = "
)
LATE_EVENT = """
SELECT max(d.event_id) FROM delivery AS d
INNER JOIN event AS e ON d.event_id = e.id
INNER JOIN webhook_endpoint AS w ON d.endpoint_id = w.id
WHERE e.recorded_at > w.updated_at + interval '2 minutes' AND w.is_active
"""

WEBHOOKS = (
    # -- 17
    Damage(
        "a delivery of something else",
        17,
        "delivery",
        SUCCEEDED,
        ("UPDATE delivery SET type = 'contract.completed' WHERE id::text = ':row'",),
    ),
    Damage(
        "a delivery of nothing",
        17,
        "delivery",
        SUCCEEDED,
        (
            (
                "UPDATE delivery SET event_id = NULL, contract_id = NULL, seq = NULL"
                " WHERE id::text = ':row'"
            ),
        ),
    ),
    Damage(
        "a second delivery of an event",
        17,
        "delivery",
        # The greater id of two is named: no id is greater than this one.
        "SELECT 'ffffffff-ffff-4fff-bfff-ffffffffffff'",
        (
            "DROP INDEX delivery_once",
            (
                "INSERT INTO delivery (id, endpoint_id, business_id, event_id, contract_id, seq,"
                " type, state, attempts, next_attempt_at, created_at)"
                " SELECT ':row', endpoint_id, business_id, event_id, contract_id, seq, type,"
                f" 'pending', 0, now(), created_at FROM delivery WHERE id::text = ({SUCCEEDED})"
            ),
        ),
    ),
    Damage(
        "an event that nobody hears of",
        17,
        "event",
        LATE_EVENT,
        (
            (
                "DELETE FROM delivery_attempt WHERE delivery_id ="
                " (SELECT id FROM delivery WHERE event_id = :row)"
            ),
            "DELETE FROM delivery WHERE event_id = :row",
        ),
    ),
    Damage(
        "a partner who knew it before it happened",
        17,
        "delivery_attempt",
        AN_ATTEMPT.format(SUCCEEDED) + "1",
        (
            (
                "UPDATE delivery_attempt SET created_at = created_at - interval '1 day'"
                f" WHERE {ATTEMPT} = ':row'"
            ),
        ),
    ),
    # -- 18
    Damage(
        "an attempt that is gone",
        18,
        "delivery",
        EXHAUSTED,
        ("DELETE FROM delivery_attempt WHERE delivery_id::text = ':row' AND number = 3",),
    ),
    Damage(
        "attempts of a series that never began",
        18,
        "delivery",
        REPLAYED,
        ("UPDATE delivery SET series = 1 WHERE id::text = ':row'",),
    ),
    Damage(
        "an attempt that does not count",
        18,
        "delivery",
        WAITING,
        ("UPDATE delivery SET attempts = 0 WHERE id::text = ':row'",),
    ),
    Damage(
        "an attempt before its time",
        18,
        "delivery_attempt",
        AN_ATTEMPT.format(EXHAUSTED) + "5",
        (
            (
                "UPDATE delivery_attempt SET created_at = created_at - interval '60 seconds'"
                f" WHERE {ATTEMPT} = ':row'"
            ),
        ),
    ),
    Damage(
        "a success without a 2xx answer",
        18,
        "delivery_attempt",
        AN_ATTEMPT.format(SUCCEEDED) + "1",
        (f"UPDATE delivery_attempt SET http_status = 302 WHERE {ATTEMPT} = ':row'",),
    ),
    Damage(
        "an attempt after a refusal",
        18,
        "delivery_attempt",
        AN_ATTEMPT.format(EXHAUSTED) + "4",
        (
            (
                "UPDATE delivery_attempt SET http_status = 404 WHERE number = 3"
                " AND delivery_id::text = split_part(':row', ' ', 1)"
            ),
        ),
    ),
    Damage(
        "a success that nobody confirmed",
        18,
        "delivery",
        WAITING,
        (
            (
                "UPDATE delivery SET state = 'succeeded', next_attempt_at = NULL, done_at = now()"
                " WHERE id::text = ':row'"
            ),
        ),
    ),
    Damage(
        "a delivery that was given up too early",
        18,
        "delivery",
        WAITING,
        (
            (
                "UPDATE delivery SET state = 'failed', failed_for = 'exhausted',"
                " next_attempt_at = NULL, done_at = now() WHERE id::text = ':row'"
            ),
        ),
    ),
    Damage(
        "a refusal that was none",
        18,
        "delivery",
        REFUSED,
        (
            (
                "UPDATE delivery_attempt SET http_status = 503 WHERE delivery_id::text = ':row'"
                " AND number = 1"
            ),
        ),
    ),
    # -- 21, 23
    Damage(
        "attempts that can be rewritten",
        21,
        "pg_class",
        "SELECT 'delivery_attempt'",
        ("GRANT UPDATE ON delivery_attempt TO earnest_app",),
    ),
    Damage(
        "attempts without their guard",
        21,
        "pg_trigger",
        "SELECT 'delivery_attempt'",
        ("DROP TRIGGER delivery_attempt_append_only ON delivery_attempt",),
    ),
    Damage(
        "an attempt of another business",
        23,
        "delivery",
        SUCCEEDED,
        (
            PARTNER,
            "UPDATE delivery_attempt SET business_id = 99 WHERE delivery_id::text = ':row'",
        ),
    ),
)
