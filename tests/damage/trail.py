"""Damages to commits, chains, privileges, businesses, ids: invariants 17 to 25."""

from damage.finds import (
    A_WALLET,
    CREATED,
    OPEN_PAYMENT,
    PARTNER,
    RELEASE_OUT,
    RELEASED,
    REQUESTED,
    SECOND_EVENT,
    THIS_EVENT,
    Damage,
)

TRAIL = (
    # -- 17: what commits tell
    Damage(
        "a release that no event tells of",
        17,
        "transfer",
        RELEASE_OUT,
        ("UPDATE event SET type = 'contract.admired' WHERE type = 'contract.released'",),
    ),
    Damage(
        "an event of a release that never was",
        17,
        "event",
        "SELECT min(id) FROM event WHERE type = 'contract.released'",
        ("DELETE FROM transfer WHERE commit_id = (SELECT commit_id FROM event WHERE id = :row)",),
    ),
    Damage(
        "a consumed event that nothing tells of",
        17,
        "provider_event",
        "SELECT min(format('%s %s', provider, event_id)) FROM provider_event"
        " WHERE outcome = 'ignored'",
        (
            (
                "DELETE FROM event WHERE id ="
                f" (SELECT commit_id FROM provider_event WHERE {THIS_EVENT})"
            ),
        ),
    ),
    # -- 19: chains
    Damage(
        "an event with another body",
        19,
        "event",
        SECOND_EVENT,
        ("UPDATE event SET body = replace(body, '99.99', '99.98') WHERE id = :row",),
    ),
    Damage(
        "an event by somebody else",
        19,
        "event",
        SECOND_EVENT,
        ("UPDATE event SET actor = 'admin:1' WHERE id = :row",),
    ),
    Damage(
        "an event of another time",
        19,
        "event",
        SECOND_EVENT,
        ("UPDATE event SET recorded_at = recorded_at + interval '1 us' WHERE id = :row",),
    ),
    Damage(
        "an event that is gone",
        19,
        "event",
        f"SELECT id FROM event WHERE contract_id = ({RELEASED}) AND seq = 4",
        (f"DELETE FROM event WHERE contract_id = ({RELEASED}) AND seq = 3",),
    ),
    Damage(
        "a last event that is gone",
        19,
        "contract",
        RELEASED,
        (
            (
                "DELETE FROM event WHERE contract_id = :row"
                " AND seq = (SELECT event_seq FROM contract WHERE id = :row)"
            ),
        ),
    ),
    Damage(
        "a chain in another order",
        19,
        "event",
        f"SELECT id FROM event WHERE contract_id = ({RELEASED}) AND seq = 4",
        (
            "DROP INDEX event_chain",
            f"UPDATE event SET seq = 7 - seq WHERE contract_id = ({RELEASED}) AND seq IN (3, 4)",
        ),
    ),
    Damage(
        "another head",
        19,
        "contract",
        RELEASED,
        ("UPDATE contract SET event_head = sha256('x') WHERE id = :row",),
    ),
    Damage(
        "terms with another title",
        19,
        "contract",
        CREATED,
        (
            (
                "UPDATE contract_terms SET terms = replace(terms, 'bakery', 'castle')"
                " WHERE contract_id = :row"
            ),
        ),
    ),
    Damage(
        "terms that are gone",
        19,
        "contract",
        CREATED,
        ("DELETE FROM contract_terms WHERE contract_id = :row",),
    ),
    Damage(
        "another seller",
        19,
        "contract",
        CREATED,
        (
            (
                "UPDATE contract SET seller_id = (SELECT id FROM party WHERE name = 'Mallet')"
                " WHERE id = :row"
            ),
        ),
    ),
    Damage(
        "a change without an event",
        19,
        "contract",
        CREATED,
        ("UPDATE contract SET version = version + 1 WHERE id = :row",),
    ),
    Damage(
        "an event of a contract that is gone",
        19,
        "event",
        f"SELECT min(id) FROM event WHERE contract_id = ({CREATED})",
        (f"DELETE FROM contract WHERE id = ({CREATED})",),
    ),
    # -- 21: nobody can rewrite the books
    Damage(
        "a privilege to rewrite transfers",
        21,
        "pg_class",
        "SELECT 'transfer'",
        ("GRANT UPDATE ON transfer TO earnest_app",),
    ),
    Damage(
        "a privilege to rewrite one column of events",
        21,
        "pg_class",
        "SELECT 'event'",
        ("GRANT UPDATE (body) ON event TO earnest_app",),
    ),
    Damage(
        "a privilege to delete that everybody has",
        21,
        "pg_class",
        "SELECT 'provider_event'",
        ("GRANT DELETE ON provider_event TO PUBLIC",),
    ),
    Damage(
        "a privilege to delete balances",
        21,
        "pg_class",
        "SELECT 'balance'",
        ("GRANT DELETE ON balance TO earnest_app",),
    ),
    Damage(
        "a trigger that is gone",
        21,
        "pg_trigger",
        "SELECT 'contract_terms'",
        ("DROP TRIGGER contract_terms_append_only ON contract_terms",),
    ),
    Damage(
        "a trigger that is off",
        21,
        "pg_trigger",
        "SELECT 'event'",
        ("ALTER TABLE event DISABLE TRIGGER event_append_only",),
    ),
    Damage(
        "a trigger that lets through",
        21,
        "pg_trigger",
        "SELECT 'contract_terms'",
        (
            (
                "CREATE OR REPLACE FUNCTION refuse_rewrite() RETURNS trigger LANGUAGE plpgsql"
                " AS 'BEGIN RETURN NULL; END'"
            ),
        ),
    ),
    Damage(
        "a table of the application's own",
        21,
        "pg_roles",
        "SELECT 'earnest_app'",
        ("ALTER TABLE job OWNER TO earnest_app",),
    ),
    Damage(
        "a transfer that was reversed twice",
        21,
        "transfer",
        "SELECT 2000000000",
        (
            (
                "INSERT INTO transfer (id, commit_id, movement, debit, credit, amount_minor,"
                " reverses_id, occurred_at, recorded_at, xid)"
                " SELECT 1999999999 + n, t.commit_id, 'reversed', t.credit, t.debit,"
                " t.amount_minor, t.id, t.occurred_at, t.recorded_at, t.xid"
                f" FROM transfer AS t, generate_series(0, 1) AS n WHERE t.id = ({RELEASE_OUT})"
            ),
        ),
    ),
    Damage(
        "a reversal that is no mirror",
        21,
        "transfer",
        RELEASE_OUT,
        ("UPDATE transfer SET reverses_id = (SELECT max(id) FROM transfer) WHERE id = :row",),
    ),
    # -- 23: businesses
    Damage(
        "a contract in another business",
        23,
        "contract",
        CREATED,
        (PARTNER, "UPDATE contract SET business_id = 99 WHERE id = :row"),
    ),
    Damage(
        "a payment in another business",
        23,
        "payment",
        OPEN_PAYMENT,
        (PARTNER, "UPDATE payment SET business_id = 99 WHERE id = :row"),
    ),
    Damage(
        "a job in another business",
        23,
        "job",
        "SELECT min(id) FROM job WHERE NOT EXISTS"
        " (SELECT FROM contract WHERE job_id = job.id)"
        " AND NOT EXISTS (SELECT FROM payment WHERE job_id = job.id)",
        (PARTNER, "UPDATE job SET business_id = 99 WHERE id = :row"),
    ),
    Damage(
        "an application from another business",
        23,
        "application",
        "SELECT min(id) FROM application WHERE freelancer_id ="
        " (SELECT id FROM party WHERE name = 'Mallet')",
        (
            PARTNER,
            (
                "UPDATE party SET business_id = 99, platform_ref = 'USR_1', phone = '966500000001',"
                " first_name = 'Mallet', last_name = '' WHERE name = 'Mallet'"
            ),
        ),
    ),
    # -- 24: the trial balance
    Damage(
        "money out of nowhere",
        24,
        "balance",
        "SELECT 356",
        (f"UPDATE balance SET amount_minor = amount_minor + 1 WHERE account = ({A_WALLET})",),
    ),
    # -- 25: ids
    Damage(
        "a public id of another row",
        25,
        "objects",
        f"SELECT format('contract %s', ({CREATED}))",
        (
            (
                f"UPDATE contract SET public_id = overlay(public_id PLACING 'ffffffffff' FROM 9)"
                f" WHERE id = ({CREATED})"
            ),
        ),
    ),
    Damage(
        "a public id in capitals",
        25,
        "objects",
        "SELECT format('party %s', id) FROM party WHERE name = 'Bob'",
        ("UPDATE party SET public_id = 'F' || substr(public_id, 2) WHERE name = 'Bob'",),
    ),
    Damage(
        "two objects with one key",
        25,
        "objects",
        CREATED,
        (
            (
                "INSERT INTO skill (id, public_id, name)"
                " SELECT id, public_id, 'Forgery' FROM contract WHERE id = :row"
            ),
        ),
    ),
    Damage(
        "an event and a transfer with one key",
        25,
        "event",
        "SELECT max(id) FROM event",
        ("UPDATE transfer SET id = :row WHERE id = (SELECT max(id) FROM transfer)",),
    ),
    Damage(
        "a number that is used twice",
        25,
        "contract",
        "SELECT max(id) FROM contract WHERE business_id = 1",
        (
            "ALTER TABLE contract DROP CONSTRAINT contract_number_unique",
            (
                f"UPDATE contract SET number = (SELECT number FROM contract WHERE id = ({CREATED}))"
                " WHERE id = :row"
            ),
        ),
    ),
    Damage(
        "a number that is none",
        25,
        "contract",
        CREATED,
        ("UPDATE contract SET number = 'CON01234567' WHERE id = :row",),
    ),
    Damage(
        "two live contracts of one job",
        25,
        "contract",
        REQUESTED,
        (
            "DROP INDEX contract_one_live_per_job",
            (
                f"UPDATE contract SET job_id = (SELECT job_id FROM contract WHERE id = ({CREATED}))"
                " WHERE id = :row"
            ),
        ),
    ),
    Damage(
        "two payments under way for one job",
        25,
        "payment",
        "SELECT max(id) FROM payment WHERE state <> 'open'",
        (
            "DROP INDEX payment_one_open_per_job",
            (
                "UPDATE payment SET state = 'processing', job_id = (SELECT job_id FROM payment"
                f" WHERE id = ({OPEN_PAYMENT})) WHERE id = :row"
            ),
        ),
    ),
)
